"""Applies a trained model to photos; each becomes a PNG with the photo's name, size and EXIF.

Does not depend on training. `photos` finds them, `picture` reads and writes them, `render` applies the model, `memory`
determines whether they fit into memory, and `batch` runs all of it concurrently.
"""

from tinystyle.stylize.batch import stylize_photos
from tinystyle.stylize.render import Model, open_model, stylize_image

__all__ = ["Model", "open_model", "stylize_image", "stylize_photos"]

"""Applies a trained model to photos; each becomes a file with the photo's size, transparency and metadata.

Does not depend on training. `photos` finds them, `targets` says where results go, `picture`, `metadata` and `formats`
read and write them, `render` applies the model, `fitting` and `memory` determine whether they fit into memory, `tiles`
stylizes those that do not, and `batch` runs all of it concurrently.
"""

from tinystyle.stylize.batch import stylize_photos
from tinystyle.stylize.render import Model, open_model, stylize_image

__all__ = ["Model", "open_model", "stylize_image", "stylize_photos"]

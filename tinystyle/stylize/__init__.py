"""Photos through a trained model, each to a PNG with the photo's name, size and EXIF. Knows nothing of training.

`photos` finds them, `picture` reads and writes them, `render` applies the model, `memory` says whether it fits, `batch`
overlaps it all.
"""

from tinystyle.stylize.batch import stylize_photos
from tinystyle.stylize.render import Model, open_model, stylize_image

__all__ = ["Model", "open_model", "stylize_image", "stylize_photos"]

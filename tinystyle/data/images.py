"""Reads any image file as upright 8-bit RGB. Does not depend on where files are stored or what they are for."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tinystyle.errors import UserError

__all__ = ["FORMATS", "open_rgb", "to_rgb", "upright_transpose"]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names (JPEG includes MPO). Its other formats start programs (EPS) or are stubs."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KINDS = "JPEG, PNG, WebP or TIFF"


def open_rgb(data: bytes, what: str) -> Image.Image:
    """Decode an image file to 8-bit RGB, upright by its EXIF orientation; an animation gives its first frame.

    Args:
        data: content of the file, in one of `FORMATS`.
        what: name of the image in errors, e.g. "style paintings/a.jpg".

    Raises:
        UserError: it is empty, not an image, damaged, or too large to decode; one sentence that begins with `what`.
    """
    if not data:
        raise UserError(f"{what} is an empty file; give a {_KINDS} image")
    # Pillow warns about odd metadata in files that it reads well, and about large images that it does not reject yet.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
            if image.format == "PNG":  # decoding alone does not detect all damage
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            rgb = to_rgb(image)
            turn = upright_transpose(image)
        except UnidentifiedImageError as error:
            raise UserError(f"{what} is not an image that can be read; give a {_KINDS} file") from error
        except Image.DecompressionBombError as error:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise UserError(f"{what} has more than {limit} million pixels; scale it down first") from error
        except Exception as error:  # damage makes decoders raise nearly any exception, from OSError to struct.error
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise UserError(f"{what} is truncated or damaged ({reason}); give a whole file") from error
    return rgb if turn is None else rgb.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to 8-bit RGB, with transparency laid on white.

    16-bit grayscale is divided by 257. Grayscale of 32 bits or floats can have any range: white is the lowest of 1
    (floats only), 255 and 65535 that no value exceeds. If a value exceeds 65535 or is below 0, the range of the values
    is stretched to 0..255.
    """
    if image.mode.startswith("I;16"):
        image = _narrow(np.asarray(image), whites=(65535,))
    elif image.mode == "I":
        image = _narrow(np.asarray(image), whites=(255, 65535))
    elif image.mode == "F":
        image = _narrow(np.asarray(image), whites=(1, 255, 65535))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
    return image.convert("RGB")


def upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transpose that turns a loaded image upright, or None.

    Call it after loading, because some formats turn themselves upright then.
    """
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata, of which there are many kinds, is no reason to reject a good picture
        return None


def _narrow(values: NDArray[np.generic], whites: tuple[int, ...]) -> Image.Image:
    """Convert grayscale of more than 8 bits to mode L. Pillow's own conversion would clip at 255."""
    grey = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    white = float(next((white for white in whites if high <= white), 0))
    if low < 0 or not white:
        grey, white = grey - low, max(high - low, 1e-30)
    return Image.fromarray(np.rint(grey * (255 / white)).astype(np.uint8))

"""Decode any image file to upright 8-bit RGB. Does not depend on where files are or what they are for.

The only decoder of photos and style images. Runs in worker processes that start often, so it imports nothing heavy. The
size in the header is checked before pixels are decoded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tinystyle.errors import UserError

__all__ = ["EMPTY", "FORMATS", "NO_IMAGE", "Unusable", "decode", "open_rgb", "to_rgb"]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names (JPEG includes MPO). Others run external programs (EPS) or are stubs."""
EMPTY, NO_IMAGE = "empty file", "not an image"
"""Two of the reasons of `Unusable`."""

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
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_TRUNCATED = ("truncated", "premature end", "but only got", "reached eof", "not enough image data")

Target = Callable[[tuple[int, int]], tuple[int, int]]


class Unusable(ValueError):  # noqa: N818  an expected outcome, not a bug
    """A file that cannot be used as a picture; the message is the reason, short enough for a list."""


def open_rgb(data: bytes, what: str) -> Image.Image:
    """Decode an image file at its full size, as `decode` does.

    Args:
        data: content of the file, in one of `FORMATS`.
        what: name of the image in error messages, such as "style paintings/a.jpg".

    Raises:
        UserError: the file is empty, not an image, damaged, or too large to decode; the message begins with `what`.
    """
    try:
        return decode(data)
    except Unusable as error:
        reason = str(error)
        if reason == EMPTY:
            raise UserError(f"{what} is an empty file; give a {_KINDS} image") from error
        if reason == NO_IMAGE:
            raise UserError(f"{what} is not an image that can be read; give a {_KINDS} file") from error
        if isinstance(error.__cause__, Image.DecompressionBombError | MemoryError):
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise UserError(f"{what} has more than {limit} million pixels; scale it down first") from error
        reason = reason.removeprefix("corrupt: ")
        raise UserError(f"{what} is truncated or damaged ({reason}); give a whole file") from error


def decode(data: bytes, target: Target | None = None) -> Image.Image:
    """Decode an image file to RGB, 8 bits per channel, upright by its EXIF orientation.

    Transparent images are composited over white, only the first frame of an animation is decoded, and images with more
    than 8 bits per channel are scaled to 8 bits (see `to_rgb`).

    Args:
        data: content of the file, in one of `FORMATS`.
        target: called with the (width, height) in the header, before the image is turned upright; returns the size to
            scale to, or raises `Unusable`. Without it the image keeps its size.

    Raises:
        Unusable: the file is empty, damaged or not an image; the message is the reason.
    """
    if not data:
        raise Unusable(EMPTY)
    # Pillow warns of odd metadata in files that it reads well, and of large images before the size that it refuses.
    with warnings.catch_warnings(), _reasons(data):
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        size = target(image.size) if target else None
        if size and image.format in ("JPEG", "MPO"):
            turn = _upright_transpose(image)
            rgb = _decode_jpeg(data, image, size)
        else:
            image.load()
            if image.format == "PNG":  # decoding alone lets some bit rot pass
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            turn = _upright_transpose(image)  # some formats turn themselves as they load
            size = target(image.size) if target else None
            rgb = to_rgb(image)
        if size:
            rgb = rgb.resize(size, Image.Resampling.BICUBIC)
        return rgb if turn is None else rgb.transpose(turn)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to 8-bit RGB, composited over white if it is transparent.

    16-bit grayscale is divided by 257. 32-bit and floating-point grayscale have no fixed range: white is the lowest of
    1 (floating point only), 255 and 65535 that is not below the maximum. If the maximum is above 65535 or the minimum
    below 0, the range from minimum to maximum is scaled to 0..255.

    Raises:
        Unusable: the mode cannot be converted.
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
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise Unusable(f"unsupported colors: {image.mode}") from error


def _narrow(values: NDArray[np.generic], whites: tuple[int, ...]) -> Image.Image:
    """Convert grayscale of over 8 bits to mode L. Pillow's own conversion would clip at 255."""
    gray = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(gray.min()), float(gray.max())
    white = float(next((white for white in whites if high <= white), 0))
    if low < 0 or not white:
        gray, white = gray - low, max(high - low, 1e-30)
    return Image.fromarray(np.rint(gray * (255 / white)).astype(np.uint8))


def _decode_jpeg(data: bytes, image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """Decode at the smallest n/8 of the full size that is not below `target`; n = 7 is slower than 8, and is not used."""
    if image.mode in ("RGB", "L"):
        width, height = target if 8 * target[0] <= 6 * image.width else (0, 0)
        try:
            return Image.fromarray(
                simplejpeg.decode_jpeg(
                    data, "RGB", fastdct=False, fastupsample=False, min_width=width, min_height=height
                )
            )
        except ValueError as error:
            # Warnings of libjpeg arrive here as errors. Some tell of damage; a merely unusual file is left to Pillow.
            if "Premature end" in str(error) or "Corrupt JPEG data" in str(error):
                raise
    image.draft(None, target)
    return to_rgb(image)


def _upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns an image upright by its EXIF orientation; None if it is upright."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata, in any of many ways, is no reason to refuse a good picture
        return None


@contextmanager
def _reasons(data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises into a reason: they fail on hostile bytes with nearly every built-in exception."""
    try:
        yield
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable(f"decompression bomb: {_claimed_size(data)}") from error
    except UnidentifiedImageError as error:
        raise Unusable(_why_unidentified(data)) from error
    except MemoryError as error:
        raise Unusable("too large for the memory") from error
    except Exception as error:
        text = " ".join(str(error).split()).removeprefix("Corrupt JPEG data: ") or type(error).__name__
        if any(sign in text.lower() for sign in _TRUNCATED) or _is_short_riff(data):
            raise Unusable("truncated") from error
        raise Unusable(f"corrupt: {text[:100]}") from error


def _why_unidentified(data: bytes) -> str:
    if not (data.startswith(_SIGNATURES) or data[8:12] == b"WEBP" or data[4:12] == b"ftypavif"):
        return NO_IMAGE
    return "truncated" if len(data) < 1024 or _is_short_riff(data) else "corrupt: unreadable header"


def _is_short_riff(data: bytes) -> bool:
    """Tell whether a WebP file is shorter than its header says (its decoder gives no reason)."""
    return data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _claimed_size(data: bytes) -> str:
    """Read the size in a bomb's header, which Pillow tells only with its guard lifted. No pixel is decoded."""
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
        return f"{width}x{height}"
    except Exception:  # the bomb was inside (an embedded image), not in the outer header
        return "inside the file"
    finally:
        Image.MAX_IMAGE_PIXELS = guard

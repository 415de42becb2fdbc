"""One photograph's bytes to pixels of the dataset's size, or the reason why not. Knows nothing of sources or shards.

Runs in worker processes that start often, so it imports nothing heavy. The header is judged before pixels are decoded.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PreparedPhoto", "Unusable", "decode_photo", "prepare_photo"]

MAX_PIXELS = 178_956_970
"""A photo whose header claims more is a decompression bomb; the same limit as Pillow's."""
MAX_BYTES = 2**29
"""A larger file is no photograph; it is not read."""

_MAX_SIDE = 65_500  # of a JPEG
_JPEG_QUALITY = 95
# Photographs only: some of Pillow's other formats start programs (EPS) or are mere stubs. JPEG covers MPO.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_TRUNCATED = ("truncated", "premature end", "but only got", "reached eof", "not enough image data")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unusable(ValueError):  # noqa: N818 - it is an answer, not an error of anyone's
    """A photo that cannot be used; the message is the reason, short enough for a list."""


@dataclass(frozen=True, slots=True)
class PreparedPhoto:
    """A photo as shards hold it."""

    jpeg: bytes
    """Quality 95, no chroma subsampling: close to the pixels, a third of their size as PNG."""
    sha256: str
    """Hexadecimal, of b"{height}x{width}" and the RGB pixels before they became JPEG."""
    width: int
    height: int


def prepare_photo(data: bytes, size: int) -> PreparedPhoto:
    """Decode a photo and make what a shard holds of it.

    Raises:
        Unusable: as `decode_photo`.
    """
    pixels = decode_photo(data, size)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels.data)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=_JPEG_QUALITY, colorsubsampling="444", fastdct=False)
    return PreparedPhoto(jpeg, digest.hexdigest(), width, height)


def decode_photo(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decode an image file, upright by its EXIF orientation, to RGB of a given short side.

    Transparency is laid on white, an animation gives its first frame, deep images are scaled to 8 bits.

    Args:
        data: the file.
        size: short side of the result in pixels; the aspect is kept.

    Returns:
        (H, W, 3) uint8, 0..255, C-contiguous, min(H, W) == size.

    Raises:
        Unusable: it is damaged, no image, under half of `size`, or too large; the message is the reason.
    """
    if not data:
        raise Unusable("empty file")
    if len(data) > MAX_BYTES:
        raise Unusable(f"too large: {len(data)} bytes")
    with warnings.catch_warnings(), _as_unusable(data):
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        target = _target_size(image.size, size)
        if image.format in ("JPEG", "MPO"):
            orientation = _orientation(image)
            rgb = _decode_jpeg(data, image, target)
        else:
            image.load()
            if image.format == "PNG":  # decoding alone lets some bit rot pass
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            orientation = _orientation(image)  # only now: some formats turn themselves while loading
            target = _target_size(image.size, size)
            rgb = _to_rgb(image)
        upright = rgb.resize(target, Image.Resampling.BICUBIC)
        if orientation in _UPRIGHT:
            upright = upright.transpose(_UPRIGHT[orientation])
        return np.ascontiguousarray(np.asarray(upright))


def _target_size(claimed: tuple[int, int], size: int) -> tuple[int, int]:
    """(width, height) with the short side at `size`; refuses what the header alone condemns."""
    width, height = claimed
    short = min(width, height)
    if width * height > MAX_PIXELS:
        raise Unusable(f"decompression bomb: {width}x{height}")
    if short < size / 2:
        raise Unusable(f"too small: {width}x{height}, the short side must be at least {(size + 1) // 2}")
    target = (max(size, round(width * size / short)), max(size, round(height * size / short)))
    if max(target) > _MAX_SIDE:
        raise Unusable(f"too long: {width}x{height}")
    return target


def _decode_jpeg(data: bytes, image: Image.Image, target: tuple[int, int]) -> Image.Image:
    """RGB at the smallest n/8 of the full size that is not below `target`; n = 7 decodes slower than 8, and is not used."""
    if image.mode in ("RGB", "L"):
        width, height = target if 8 * target[0] <= 6 * image.width else (0, 0)
        try:
            return Image.fromarray(
                simplejpeg.decode_jpeg(
                    data, "RGB", fastdct=False, fastupsample=False, min_width=width, min_height=height
                )
            )
        except ValueError as error:
            # libjpeg's warnings arrive here as errors. Some tell of damage; a merely unusual file goes on to Pillow.
            if "Premature end" in str(error) or "Corrupt JPEG data" in str(error):
                raise
    image.draft(None, target)
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _to_8_bit(np.asarray(image), ceilings=(65535,))
    elif image.mode == "I":
        image = _to_8_bit(np.asarray(image), ceilings=(255, 65535))
    elif image.mode == "F":
        image = _to_8_bit(np.asarray(image), ceilings=(1, 255, 65535))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise Unusable(f"unsupported colours: {image.mode}") from error


def _to_8_bit(values: NDArray[np.generic], ceilings: tuple[int, ...]) -> Image.Image:
    """Greyscale from deep values: white is the lowest ceiling that none exceeds; without one, lowest..highest value."""
    grey = np.nan_to_num(values.astype(np.float32))
    low, high = float(grey.min()), float(grey.max())
    fitting = [ceiling for ceiling in ceilings if low >= 0 and high <= ceiling]
    black, white = (0.0, float(fitting[0])) if fitting else (low, high)
    return Image.fromarray(np.rint((grey - black) * (255 / max(white - black, 1e-30))).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF, in any of many ways: the pixels may still be good
        return 1


@contextmanager
def _as_unusable(data: bytes) -> Iterator[None]:
    """Whatever a decoder raises, as the reason: decoders fail on hostile bytes with nearly every built-in exception."""
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
        return "not an image"
    return "truncated" if len(data) < 1024 or _is_short_riff(data) else "corrupt: unreadable header"


def _is_short_riff(data: bytes) -> bool:
    """Whether a WebP file is shorter than its header says (its decoder gives no reason)."""
    return data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _claimed_size(data: bytes) -> str:
    """What the header of a bomb says, which Pillow tells only with its guard lifted. No pixel is decoded."""
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        width, height = Image.open(io.BytesIO(data), formats=_FORMATS).size
        return f"{width}x{height}"
    except Exception:  # the bomb was inside (an embedded image), not in the outer header
        return "inside the file"
    finally:
        Image.MAX_IMAGE_PIXELS = guard

"""Decodes one photo to pixels of the dataset's size, or says why it cannot. Does not depend on sources or shards.

Runs in worker processes that start often, so it imports nothing heavy. Checks the header before decoding any pixels.
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

from tinystyle.data.images import FORMATS, to_rgb, upright_transpose

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PreparedPhoto", "Unusable", "decode_photo", "prepare_photo"]

MAX_PIXELS = 178_956_970
"""Maximum number of pixels; a header that claims more is treated as a decompression bomb. Pillow has the same limit."""
MAX_BYTES = 2**29
"""Maximum size of a photo's file in bytes; larger files are not read."""

_MAX_SIDE = 65_500  # limit of the JPEG format
_JPEG_QUALITY = 95
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_TRUNCATED = ("truncated", "premature end", "but only got", "reached eof", "not enough image data")


class Unusable(ValueError):  # noqa: N818 - expected outcome, not a bug (hence no Error suffix)
    """A photo that cannot be used; the message is the reason, short enough for a list."""


@dataclass(frozen=True, slots=True)
class PreparedPhoto:
    """A photo in the form that shards store."""

    jpeg: bytes
    """JPEG of quality 95 without chroma subsampling: close to the original pixels, at a third of the size of a PNG."""
    sha256: str
    """Hexadecimal SHA-256 of b"{height}x{width}" and the RGB pixels before JPEG compression."""
    width: int
    height: int


def prepare_photo(data: bytes, size: int) -> PreparedPhoto:
    """Decode a photo and convert it to the form that shards store.

    Raises:
        Unusable: as in `decode_photo`.
    """
    pixels = decode_photo(data, size)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels.data)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=_JPEG_QUALITY, colorsubsampling="444", fastdct=False)
    return PreparedPhoto(jpeg, digest.hexdigest(), width, height)


def decode_photo(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decode an image file to RGB, upright by its EXIF orientation, with a given short side.

    Transparency is laid on white, an animation gives its first frame, and deep images are scaled to 8 bits.

    Args:
        data: content of the file.
        size: short side of the result in pixels; the aspect ratio is kept.

    Returns:
        (H, W, 3) uint8, 0..255, C-contiguous, min(H, W) == size.

    Raises:
        Unusable: it is damaged, not an image, under half of `size`, or too large; the message is the reason.
    """
    if not data:
        raise Unusable("empty file")
    if len(data) > MAX_BYTES:
        raise Unusable(f"too large: {len(data)} bytes")
    with warnings.catch_warnings(), _as_unusable(data):
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        target = _target_size(image.size, size)
        if image.format in ("JPEG", "MPO"):
            turn = upright_transpose(image)
            rgb = _decode_jpeg(data, image, target)
        else:
            image.load()
            if image.format == "PNG":  # decoding alone does not detect all damage
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            turn = upright_transpose(image)
            target = _target_size(image.size, size)
            rgb = _to_rgb(image)
        upright = rgb.resize(target, Image.Resampling.BICUBIC)
        if turn is not None:
            upright = upright.transpose(turn)
        return np.ascontiguousarray(np.asarray(upright))


def _target_size(claimed: tuple[int, int], size: int) -> tuple[int, int]:
    """Return (width, height) with the short side at `size`; raise Unusable if the header alone rules the photo out."""
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
    """Decode to RGB at the smallest n/8 of the full size that is at least `target`. Skips n = 7, slower than n = 8."""
    if image.mode in ("RGB", "L"):
        width, height = target if 8 * target[0] <= 6 * image.width else (0, 0)
        try:
            return Image.fromarray(
                simplejpeg.decode_jpeg(
                    data, "RGB", fastdct=False, fastupsample=False, min_width=width, min_height=height
                )
            )
        except ValueError as error:
            # libjpeg's warnings arrive here as errors. Some indicate damage; a merely unusual file is left to Pillow.
            if "Premature end" in str(error) or "Corrupt JPEG data" in str(error):
                raise
    image.draft(None, target)
    return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    try:
        return to_rgb(image)
    except ValueError as error:
        raise Unusable(f"unsupported colours: {image.mode}") from error


@contextmanager
def _as_unusable(data: bytes) -> Iterator[None]:
    """Turn any error of a decoder into Unusable: on hostile bytes, decoders raise nearly every built-in exception."""
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
    """Return whether a WebP file is shorter than its header says (its decoder gives no reason)."""
    return data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data)


def _claimed_size(data: bytes) -> str:
    """Return the size in the header of a decompression bomb, without decoding pixels.

    Pillow reads that size only while its guard is lifted.
    """
    guard, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        width, height = Image.open(io.BytesIO(data), formats=FORMATS).size
        return f"{width}x{height}"
    except Exception:  # the bomb is an embedded image, not the outer header
        return "inside the file"
    finally:
        Image.MAX_IMAGE_PIXELS = guard

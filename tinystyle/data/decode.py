"""Prepares a photo for a dataset: decodes it to the dataset's size, or gives the reason why it cannot be used.

Runs in worker processes that start often, so it imports nothing heavy.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tinystyle.data.color_signals import Note
from tinystyle.data.images import decode
from tinystyle.data.reasons import Unusable

__all__ = ["MAX_BYTES", "MAX_PIXELS", "PreparedPhoto", "Unusable", "decode_photo", "prepare_photo"]

MAX_PIXELS = 178_956_970
"""A photo whose header claims more pixels is a decompression bomb; the same limit as Pillow's."""
MAX_BYTES = 2**29
"""A larger file is not a photograph, and is not read."""

_MAX_SIDE = 65_500  # of a JPEG
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class PreparedPhoto:
    """A photo as it is stored in a shard."""

    jpeg: bytes
    """JPEG file of quality 95 without chroma subsampling: close to the pixels, at a third of their size as PNG."""
    sha256: str
    """Hexadecimal SHA-256 of b"{height}x{width}" and the RGB pixels before they became JPEG."""
    width: int
    height: int
    note: str = ""
    """What is odd about a photo that is used nevertheless, as a part of a sentence; "" is nothing."""


def prepare_photo(data: bytes, size: int) -> PreparedPhoto:
    """Decode a photo with `decode_photo`, hash its pixels, and encode them as JPEG.

    Raises:
        Unusable: as in `decode_photo`.
    """
    notes: list[str] = []
    pixels = decode_photo(data, size, notes.append)
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}".encode())
    digest.update(pixels.data)
    jpeg = simplejpeg.encode_jpeg(pixels, quality=_JPEG_QUALITY, colorsubsampling="444", fastdct=False)
    return PreparedPhoto(jpeg, digest.hexdigest(), width, height, "; ".join(notes))


def decode_photo(data: bytes, size: int, note: Note = lambda _: None) -> NDArray[np.uint8]:
    """Decode an image file, as `images.decode` does, and scale it to a given short side.

    Args:
        data: content of the file.
        size: short side of the result in pixels; the aspect ratio is kept.
        note: called with what is odd about a photo that is decoded nevertheless.

    Returns:
        (H, W, 3) uint8, 0..255, C-contiguous, min(H, W) == size.

    Raises:
        Unusable: the file is damaged or not an image, its short side is under half of `size`, or it is too large; the
            message is the reason.
    """
    if len(data) > MAX_BYTES:
        raise Unusable(f"too large: {len(data)} bytes")
    return np.ascontiguousarray(np.asarray(decode(data, lambda claimed: _target_size(claimed, size), note)))


def _target_size(claimed: tuple[int, int], size: int) -> tuple[int, int]:
    """Compute (width, height) with the short side at `size`; refuse what the header alone rules out."""
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

"""Decodes JPEG strictly: what libjpeg only warns of, and Pillow does not tell, is an error."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

__all__ = ["damage_in_jpeg", "strict_pixels"]

_SPACES = {"RGB": "RGB", "L": "RGB", "CMYK": "CMYK"}
_DAMAGE = ("Premature end", "Corrupt JPEG data")
_SMALLEST = (1, 1)


def strict_pixels(data: bytes, mode: str, least: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode a JPEG at the smallest n/8 of its size that is not below `least`.

    Args:
        data: content of the file.
        mode: Pillow's mode of the image.
        least: (width, height) in pixels; (0, 0) for the full size.

    Returns:
        (H, W, 3) RGB, or (H, W, 4) as stored for CMYK; None if it is merely unusual, which is left to Pillow.

    Raises:
        ValueError: libjpeg warns of damage; the message is the warning.
    """
    space = _SPACES.get(mode)
    if space is None:
        return None
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, space, fastdct=False, fastupsample=False, min_width=least[0], min_height=least[1]
        )
    except ValueError as error:
        if any(sign in str(error) for sign in _DAMAGE):
            raise
        return None
    return pixels


def damage_in_jpeg(data: bytes, mode: str) -> str | None:
    """Return what libjpeg warns of in a JPEG; None for a whole one. It is decoded at an eighth of its size."""
    try:
        strict_pixels(data, mode, _SMALLEST)
    except ValueError as error:
        return " ".join(str(error).split()).removeprefix("Corrupt JPEG data: ")
    return None

"""Style images: from a path, a URI or the built-in catalogue to pixels. Knows nothing of training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.data import storage
from tinystyle.data.images import open_rgb
from tinystyle.errors import UserError
from tinystyle.styles.builtin import BUILTIN_STYLES, draw_style

__all__ = [
    "BUILTIN", "BUILTIN_STYLES", "builtin_name", "draw_style", "image_name", "load_style", "load_style_sizes", "style_sha256",
]  # fmt: skip

BUILTIN = "builtin:"
"""What the names of built-in styles begin with."""
_MAX_ENLARGEMENT = 2
_MAX_ASPECT = 4
_MIN_DEVIATION = 2.0


def image_name(uri: str) -> str:
    """The name of a style image: its file's without folder and suffix, or that of a built-in one."""
    return PurePosixPath(uri.removeprefix(BUILTIN)).stem


def builtin_name(uri: str) -> str | None:
    """The name of a built-in style; None where `uri` says another image."""
    return uri.removeprefix(BUILTIN) if uri.startswith(BUILTIN) else None


def load_style(uri: str, size: int) -> NDArray[np.uint8]:
    """The style image with its short side at `size` px: RGB, (H, W, 3), 0..255.

    Args:
        uri: local path, any URI that `tinystyle.data.storage` reads, or `builtin:NAME` with a name from `BUILTIN_STYLES`.
        size: short side in pixels.

    Raises:
        ValueError: the image cannot be read or decoded, would be enlarged more than 2 times, has an aspect over 4, or
            is of one colour; one sentence that names it.
    """
    if (name := builtin_name(uri)) is not None:
        return np.array(draw_style(name, size))
    return _at_size(_open(uri), uri, size)


def load_style_sizes(uri: str, sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The style image at each of the short sides `sizes` for which it need not be enlarged more than 2 times.

    Args:
        uri: as for `load_style`.
        sizes: in pixels, ascending.

    Returns:
        At least one; of an image that is too small for all of them, at its own size.

    Raises:
        ValueError: as `load_style`.
    """
    if builtin_name(uri) is not None:
        return [load_style(uri, size) for size in sizes]
    image = _open(uri)
    short = min(image.size)
    return [_at_size(image, uri, size) for size in sizes if size <= _MAX_ENLARGEMENT * short] or [
        _at_size(image, uri, short)
    ]


def _at_size(image: Image.Image, uri: str, size: int) -> NDArray[np.uint8]:
    width, height = image.size
    short, long = sorted(image.size)
    if long > _MAX_ASPECT * short:
        raise UserError(
            f"style {uri} is {width}x{height}, an aspect over {_MAX_ASPECT}; crop the part that shows the style best"
        )
    if size > _MAX_ENLARGEMENT * short:
        raise UserError(
            f"style {uri} is only {width}x{height}, too small for a style size of {size}; give a larger image or "
            f"a style size of at most {_MAX_ENLARGEMENT * short}"
        )
    target = (round(width * size / short), round(height * size / short))
    pixels = np.array(image.resize(target, Image.Resampling.LANCZOS))
    deviation = float(pixels.std(axis=(0, 1)).max())
    if deviation < _MIN_DEVIATION:
        raise UserError(
            f"style {uri} is one flat colour (deviation {deviation:.1f} of 255); give an image that has texture"
        )
    return pixels


def style_sha256(uri: str) -> str:
    """Hexadecimal SHA-256 of the style image's size and pixels, whatever its name and file format.

    A built-in style is hashed as drawn at its default size.

    Raises:
        ValueError: the image cannot be read or decoded.
    """
    name = builtin_name(uri)
    image = _open(uri) if name is None else draw_style(name)
    return hashlib.sha256(f"{image.width}x{image.height} RGB\n".encode() + image.tobytes()).hexdigest()


def _open(uri: str) -> Image.Image:
    try:
        data = storage.read_bytes(uri)
    except OSError as error:
        # Backends word a missing file in many ways, some with the path alone.
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise UserError(
            f"style {uri} cannot be read ({reason}); give an image file or URI, or one of "
            f"{', '.join(BUILTIN + name for name in sorted(BUILTIN_STYLES))}"
        ) from error
    return open_rgb(data, f"style {uri}")

"""Loads style images from a path, a URI or the built-in catalog as pixels. Does not depend on training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.data import storage
from tinystyle.data.addresses import public, shown
from tinystyle.data.images import open_rgb
from tinystyle.errors import UserError
from tinystyle.styles import pretrained
from tinystyle.styles.builtin import BUILTIN_STYLES, check_builtin, draw_style

__all__ = ["BUILTIN", "BUILTIN_STYLES", "Style", "builtin_name", "draw_style", "image_name", "load_style"]

BUILTIN = "builtin:"
"""Prefix of the URIs of built-in styles."""
LIMIT = (64_000_000, 60.0)
"""Largest style image in bytes, and the time in seconds that a web server has to send it."""
_MAX_ENLARGEMENT = 2
_MAX_ASPECT = 4
_MIN_DEVIATION = 2.0


def image_name(uri: str) -> str:
    """Return the name of a style image: its file name without folder and suffix, or the name of a built-in style."""
    return PurePosixPath(public(uri).removeprefix(BUILTIN)).stem


def builtin_name(uri: str) -> str | None:
    """Return the name of a built-in style; None if `uri` is another image."""
    return uri.removeprefix(BUILTIN) if uri.startswith(BUILTIN) else None


class Style:
    """A style image, read and decoded once.

    Attributes:
        uri: where the image was loaded from, without password and query.
        name: file name without folder and suffix, or the name of a built-in style.
    """

    def __init__(self, uri: str, image: Image.Image | None) -> None:
        self.uri = public(uri)
        self.name = image_name(uri)
        self._image = image
        """The decoded image; None for a built-in style, which is drawn at each size."""

    @classmethod
    def load(cls, style: str | Style) -> Style:
        """Load a style image; a `Style` is returned as it is.

        Args:
            style: local path, any URI that `tinystyle.data.storage` reads, or `builtin:NAME` with a name from
                `BUILTIN_STYLES`.

        Raises:
            UserError: the image cannot be read or decoded, or there is no such built-in style.
        """
        if isinstance(style, Style):
            return style
        name = builtin_name(style)
        if name is not None:
            check_builtin(name)
        return cls(style, None if name is not None else _open(style))

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the size and pixels, independent of the file's name and format.

        A built-in style is hashed as drawn at its default size.
        """
        image = self._image or draw_style(str(builtin_name(self.uri)))
        return hashlib.sha256(f"{image.width}x{image.height} RGB\n".encode() + image.tobytes()).hexdigest()

    def at(self, size: int) -> NDArray[np.uint8]:
        """Return the image with its short side at `size` pixels: RGB, (H, W, 3), 0..255.

        Raises:
            UserError: the image would be enlarged more than 2 times, has an aspect ratio over 4, or has only one color.
        """
        if self._image is None:
            return np.array(draw_style(str(builtin_name(self.uri)), size))
        return _at_size(self._image, shown(self.uri), size)

    def at_sizes(self, sizes: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return the image at those of the short sides `sizes`, in pixels, that enlarge it at most 2 times.

        Returns:
            At least one image; if it is too small for all sizes, the image at its own size.

        Raises:
            UserError: as in `at`.
        """
        if self._image is None:
            return [self.at(size) for size in sizes]
        short = min(self._image.size)
        return [self.at(size) for size in sizes if size <= _MAX_ENLARGEMENT * short] or [self.at(short)]


def load_style(uri: str, size: int) -> NDArray[np.uint8]:
    """Return the style image with its short side at `size` pixels; see `Style`."""
    return Style.load(uri).at(size)


def _at_size(image: Image.Image, uri: str, size: int) -> NDArray[np.uint8]:
    width, height = image.size
    short, long = sorted(image.size)
    if long > _MAX_ASPECT * short:
        raise UserError(
            f"style {uri} is {width}x{height}, an aspect ratio over {_MAX_ASPECT}; crop the part that shows the style best"
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
            f"style {uri} is a single flat color (standard deviation {deviation:.1f} of 255); "
            "give an image that has texture"
        )
    return pixels


def _open(uri: str) -> Image.Image:
    if not storage.is_remote(uri) and storage.local_path(uri).is_fifo():
        raise UserError(f"style {shown(uri)} is a pipe, and a run reads its style more than once; give a file")
    if pretrained.is_pretrained(uri):
        raise UserError(
            f"style {uri} is a trained network; a style is an image, such as the painting it was trained on"
        )
    try:
        data = storage.read_bytes(uri, LIMIT)
    except OSError as error:
        # Backends report a missing file in many ways, some with the path alone.
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        if uri in BUILTIN_STYLES:
            reason = f"{reason}; did you mean {BUILTIN}{uri}?"
        raise storage.unreadable(
            uri,
            error,
            f"style {shown(uri)} cannot be read ({reason}); give an image file or URI, or one of "
            f"{', '.join(BUILTIN + name for name in sorted(BUILTIN_STYLES))}",
        ) from error
    return open_rgb(data, f"style {shown(uri)}")

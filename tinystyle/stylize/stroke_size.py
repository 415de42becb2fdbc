"""Strokes larger than in training: the network runs on a smaller photo, and its output gets the photo's edges back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.errors import UserError

__all__ = ["add_edges", "check_stroke_size", "reduced_size", "with_edges"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
EDGE = 6.0
"""Threshold in gray levels: fainter detail of the photo is grain or texture, which a painting's strokes cover."""
RANGE = (0.25, 16.0)


def check_stroke_size(stroke_size: float) -> None:
    """Raise UserError unless the factor is in range."""
    if not RANGE[0] <= stroke_size <= RANGE[1]:
        raise UserError(
            f"`stroke_size` {stroke_size:g}: give a factor from {RANGE[0]:g} to {RANGE[1]:g}; 1 is as trained"
        )


def reduced_size(size: tuple[int, int], stroke_size: float) -> tuple[int, int]:
    """Return the (width, height) to which an image of `size` is resized for the network to get strokes of this size.

    Args:
        size: (width, height) of the image in pixels.
        stroke_size: size of the strokes relative to training; both sides are divided by it.
    """
    width, height = (max(1, round(side / stroke_size)) for side in size)
    return width, height


def with_edges(stylized: Image.Image, seen: Image.Image, photo: Image.Image) -> Image.Image:
    """Enlarge the stylized version of a smaller copy of a photo to the photo's size, and add the edges that it lost.

    The difference between the luma of the photo and that of the enlarged copy, shrunk toward 0 by EDGE gray levels, is
    added to the enlarged stylized image. This is the finest level of a Laplacian pyramid (Burt & Adelson 1983) with
    coring (soft thresholding): contours are as sharp as in the photo, but its grain does not return.

    Args:
        stylized: stylized version of the copy, RGB, of the same size as `seen`.
        seen: the copy, RGB.
        photo: RGB, at least as large as the copy.
    """
    larger, larger_seen = (image.resize(photo.size, Image.Resampling.BICUBIC) for image in (stylized, seen))
    return Image.fromarray(add_edges(np.asarray(larger), np.asarray(larger_seen), np.asarray(photo)))


def add_edges(
    stylized_hw3: NDArray[np.uint8], seen_hw3: NDArray[np.uint8], photo_hw3: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Add the edges of the photo to `stylized`; this and `seen`, both enlarged, have its size. See `with_edges`."""
    lost = photo_hw3.astype(np.float32) - seen_hw3.astype(np.float32)
    detail = lost @ np.array(LUMA, np.float32)
    edges = np.sign(detail) * np.maximum(np.abs(detail) - EDGE, 0)
    edged: NDArray[np.uint8] = np.rint(stylized_hw3.astype(np.float32) + edges[..., None]).clip(0, 255).astype(np.uint8)
    return edged

"""Resizes a picture in regions, as Pillow resizes the whole."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.stylize.tiles.scratch import Region, Scratch, tiles

__all__ = ["Pixels", "Resized", "resized"]

_SUPPORT = {Image.Resampling.BICUBIC: 2.0, Image.Resampling.LANCZOS: 3.0}
"""Radius of a filter, in pixels of the smaller of both images."""
_SOURCE_SIDE = 1024
"""Side of the regions of the larger image that are in memory, in pixels."""


class Pixels(Protocol):
    """A picture of uint8, (height, width, channels), that is read in regions."""

    shape: tuple[int, int, int]

    def read(self, region: Region) -> NDArray[np.uint8]: ...


class Resized:
    """A picture at another size; every region is computed when it is read."""

    def __init__(self, source: Pixels, size: tuple[int, int], resample: Image.Resampling) -> None:
        self.shape = (size[1], size[0], source.shape[2])
        self._source, self._resample = source, resample
        self._scale = source.shape[0] / size[1], source.shape[1] / size[0]

    @property
    def side(self) -> int:
        """Side of regions for which the source's are not large."""
        return max(1, int(_SOURCE_SIDE / max(1.0, *self._scale)))

    def read(self, region: Region) -> NDArray[np.uint8]:
        (top, bottom, first, last), (left, right, start, end) = (
            self._seen(axis, *edges) for axis, edges in enumerate((region[:2], region[2:]))
        )
        source = self._source.read(Region(first, last, start, end))
        box = (left - start, top - first, right - start, bottom - first)
        height, width = region.size
        planes = [Image.fromarray(source)] if source.shape[2] == 3 else [Image.fromarray(source[..., 0])]
        return np.array(planes[0].resize((width, height), self._resample, box)).reshape(height, width, -1)

    def _seen(self, axis: int, low: int, high: int) -> tuple[float, float, int, int]:
        """Return the part of the source that becomes `low` to `high` along an axis, and the pixels that matter for it."""
        scale, most = self._scale[axis], self._source.shape[axis]
        begin, end = low * scale, high * scale
        reach = _SUPPORT[self._resample] * max(1.0, scale) + 1
        return begin, end, max(0, math.floor(begin - reach)), min(most, math.ceil(end + reach))


def resized(source: Scratch, size: tuple[int, int], resample: Image.Resampling = Image.Resampling.LANCZOS) -> Scratch:
    """Return the picture at the size (width, height): itself, or in another temporary file."""
    if source.shape[:2] == size[::-1]:
        return source
    view = Resized(source, size, resample)
    out = Scratch(*view.shape)
    for region in tiles(*view.shape[:2], view.side):
        out.write(region, view.read(region))
    return out

"""Decides whether a photo is stylized as a whole or in tiles, by the memory that it needs."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import torch

from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets.blocks import MARGIN
from tinystyle.stylize.memory import available_memory, peak_bytes
from tinystyle.stylize.render import Model, run, size_for
from tinystyle.stylize.stroke_size import reduced_size
from tinystyle.stylize.tiles.large import check_disk
from tinystyle.stylize.tiles.layers import can_tile

__all__ = ["AUTO", "OFF", "Fitting", "check_tile"]

AUTO, OFF = "auto", "off"
_SIDES = (32, 4096)
# Below this number of pixels any network of nets/ needs less than a gigabyte, which is not worth checking.
_SURELY_FITS = 1_000_000
# Bytes per pixel of the pictures around the network: three at a time with 3 bytes, and two more copies while decoding.
_PICTURES_BYTES = 15
# The C library keeps some freed memory, in pieces of up to 32 MB, whatever the photo; this much was observed.
_KEPT_BYTES = 150_000_000
# The reference evaluator keeps tensors contiguous; convolutions copy them into blocks of 16 channels.
_REFERENCE_FACTOR = 1.6
_PROBE_SIDE = 256
# `auto` computes in tiles what would need more, whatever is free; tiles take about one and a half times as long.
_MOST_BYTES = 4_000_000_000
# Sides of tiles, for networks of up to so many filters at full resolution: with them, tiles of any network take under
# 100 MB. Larger tiles are not faster.
_TILES = ((16, 256), (10_000, 128))


def check_tile(tile: str | int) -> str | int:
    """Return `tile` as "auto", "off" or the side of a tile in pixels.

    Raises:
        UserError: it is none of these, or the side is out of range.
    """
    text = str(tile).strip().lower()
    if text in (AUTO, OFF):
        return text
    if not (text.isascii() and text.isdecimal() and _SIDES[0] <= int(text) <= _SIDES[1]):
        raise UserError(f"`tile` {tile}: give auto, off, or the side of a tile from {_SIDES[0]} to {_SIDES[1]} pixels")
    return int(text)


class Fitting:
    """How photos fit into memory with a model, whose need is measured on a small image once a photo is large."""

    def __init__(self, model: Model, tile: str | int, stroke_size: float) -> None:
        self._model, self._tile, self._stroke_size = model, check_tile(tile), stroke_size
        self._network = model.network if isinstance(model, LoadedModel) and can_tile(model.network) else None
        if isinstance(self._tile, int) and not self._network:
            raise UserError(
                "`tile`: a Core ML file computes a picture as a whole; give the network that it was made from"
            )
        self._bytes_per_pixel: float | None = None
        self._sides: dict[tuple[int, int], int | None] = {}

    def tile_side(self, what: str, size: tuple[int, int]) -> int | None:
        """Return the side of the tiles for a photo of `size` (width, height); None to stylize it as a whole.

        Raises:
            UserError: it would not fit into memory, and tiles are off or not possible; or there is too little space for
                the temporary files of tiles.
        """
        if size not in self._sides:  # once: what the first photos take later is what this decision allowed them
            self._sides[size] = self._side(what, size)
        side = self._sides[size]
        if side and self._network:
            check_disk(what, self._network, size, reduced_size(size, self._stroke_size))
        return side

    def _side(self, what: str, size: tuple[int, int]) -> int | None:
        if isinstance(self._tile, int):
            return self._tile
        pixels = _with_margin(size_for(self._model, reduced_size(size, self._stroke_size)))
        if pixels <= _SURELY_FITS:
            return None
        if self._bytes_per_pixel is None:
            self._bytes_per_pixel = self._measure()
        growing, available = self._bytes_per_pixel * pixels + _PICTURES_BYTES * prod(size), available_memory()
        needed = growing + _KEPT_BYTES
        if self._tile == AUTO and self._network:
            first: Any = self._network.down[0]
            side = next(side for most, side in _TILES if first.conv.out_channels <= most)
            return side if needed > min(available, _MOST_BYTES) else None
        if needed > available:
            fitting = max(size) * (max(0, available - _KEPT_BYTES) / growing) ** 0.5
            smaller = max(100, int(fitting * 0.95) // 100 * 100)
            other = " or leave out `tile`" if self._network else ""
            raise UserError(
                f"{what}: {size[0]}x{size[1]} pixels need {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB "
                f"are free; scale it down with `max_side` {smaller}{other}"
            )
        return None

    def _measure(self) -> float:
        width, height = size_for(self._model, (_PROBE_SIDE, _PROBE_SIDE))
        if width * height > _SURELY_FITS:  # a Core ML file of a large fixed size: measuring would be all of the work
            return 0.0
        probe = partial(run, self._model, torch.zeros(height, width, 3, dtype=torch.uint8))
        probe()  # what only the first run needs does not grow with the photo
        factor = 1.0 if isinstance(self._model, LoadedModel) else _REFERENCE_FACTOR
        return factor * peak_bytes(probe) / _with_margin((width, height))


def _with_margin(size: tuple[int, int]) -> int:
    """Return the number of pixels that the network's layers see of an image of `size`."""
    return prod(side + 2 * MARGIN for side in size)

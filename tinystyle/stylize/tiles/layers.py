"""Computes a style network tile by tile, with the result of the whole picture.

A convolution needs few pixels around a tile, but an instance norm the mean and variance of the whole picture. So the
layers are gone through one after another: all tiles of a convolution are computed for its statistics, before any tile of
what follows. What is small (a quarter of the resolution, and the last three channels) is kept in temporary files; the
rest is computed again when it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.nets.blocks import MARGIN, ConvNorm, StyleNetwork
from tinystyle.stylize.tiles.bands import Pixels
from tinystyle.stylize.tiles.scratch import Region, Scratch, tiles

__all__ = ["can_tile", "scratch_bytes", "stylize_tiles"]

Progress = Callable[[float], None]


class _Layer(Protocol):
    """Something with (channels, height, width) that computes or reads any region of itself, (1, channels, h, w)."""

    shape: tuple[int, int, int]

    def read(self, region: Region) -> Tensor: ...


def stylize_tiles(
    network: StyleNetwork,
    photo: Pixels,
    side: int,
    write: Callable[[Region, Tensor], None],
    progress: Progress = lambda _: None,
) -> None:
    """Stylize a picture tile by tile.

    Equal to `network(photo)` but for the rounding of float32: 0.0003 gray levels were measured.

    Args:
        network: the network, in evaluation mode, float32.
        photo: the picture, RGB of uint8, of any size.
        side: side of a tile in pixels.
        write: called with each region of the result and its pixels, (3, h, w) in 0..255, float32.
        progress: called with the part of the work that is done, 0..1.
    """
    cells: Any = network  # whose layers torch types as modules of any kind
    side = -(-side // network.stride) * network.stride
    height, width, _ = photo.shape
    with torch.inference_mode():
        sweep = _Sweep(side, progress, 7 + 3 * len(cells.residual))
        x: _Layer = _Extended(photo, network.stride)
        last = len(cells.down) - 1
        for index, cell in enumerate(cells.down):
            x = sweep.normed(x, cell, keep=index == last, scale=2**index)
        quarter = 2**last
        for block in cells.residual:
            inner = sweep.normed(x, block.first, keep=True, scale=quarter)
            residual = sweep.normed(inner, block.second, keep=True, scale=quarter, relu=False)
            x = sweep.total(x, residual, scale=quarter)
        for index, cell in enumerate(cells.up):
            x = sweep.normed(_Upsampled(x), cell.block, keep=False, scale=quarter // 2 ** (index + 1))
        z = sweep.normed(x, cells.out, keep=True, relu=False)
        for region in tiles(height, width, side):
            inside = Region(*(edge + MARGIN for edge in region))
            write(region, ((torch.tanh(z.read(inside)) + 1.0) * 127.5)[0])
        sweep.step()


def can_tile(network: StyleNetwork) -> bool:
    """Return whether `stylize_tiles` computes what the network does: whether it has the layers of `StyleNetwork`."""
    return type(network).forward_with_preactivation is StyleNetwork.forward_with_preactivation


def scratch_bytes(network: StyleNetwork, height: int, width: int) -> int:
    """Return about how many bytes of temporary files `stylize_tiles` uses for a picture of this size."""
    pixels = (height + 2 * MARGIN) * (width + 2 * MARGIN)
    last: Any = network.down[-1]
    return pixels * 4 * (3 + 3 * int(last.conv.out_channels) // network.stride**2)


class _Sweep:
    """Goes through all tiles of a layer, once for each statistic."""

    def __init__(self, side: int, progress: Progress, steps: int) -> None:
        self._side, self._progress = side, progress
        self._done, self._steps = 0, steps

    def normed(self, source: _Layer, cell: ConvNorm, *, keep: bool, scale: int = 1, relu: bool = True) -> _Layer:
        """Return convolution, norm and ReLU of a layer; with `keep`, what the convolution computes is stored."""
        layer: _Layer = _Conv(source, cell.conv)
        channels, height, width = layer.shape
        stored = _Stored(channels, height, width) if keep else None
        moments = _Moments(channels)
        for region in tiles(height, width, max(1, self._side // scale)):
            values = layer.read(region)
            moments.add(values)
            if stored:
                stored.write(region, values)
        self.step()
        return _Normed(stored or layer, moments, cell.norm, relu)

    def total(self, x: _Layer, residual: _Layer, scale: int) -> _Layer:
        """Return the sum of two layers, stored."""
        stored = x if isinstance(x, _Stored) else _Stored(*x.shape)
        for region in tiles(*x.shape[1:], max(1, self._side // scale)):
            stored.write(region, x.read(region) + residual.read(region))
        self.step()
        return stored

    def step(self) -> None:
        self._done += 1
        self._progress(self._done / self._steps)


class _Extended:
    """The picture in 0..1, extended as the network extends it (`blocks.extension`)."""

    def __init__(self, photo: Pixels, stride: int) -> None:
        self._photo = photo
        height, width, _ = photo.shape
        bottom, right = (MARGIN + -side % stride for side in (height, width))
        mode = "reflect" if bottom < height and right < width else "edge"
        self._rows, self._columns = (
            np.pad(np.arange(side), (MARGIN, after), mode=mode)  # type: ignore[call-overload]
            for side, after in ((height, bottom), (width, right))
        )
        self.shape = (3, len(self._rows), len(self._columns))

    def read(self, region: Region) -> Tensor:
        rows, columns = self._rows[region.top : region.bottom], self._columns[region.left : region.right]
        top, left = int(rows.min()), int(columns.min())
        seen = self._photo.read(Region(top, int(rows.max()) + 1, left, int(columns.max()) + 1))
        return _tensor(seen[rows - top][:, columns - left]).float() / 255.0


class _Conv:
    def __init__(self, source: _Layer, conv: nn.Conv2d) -> None:
        self._source, self._conv = source, conv
        self._stride, self._pad = conv.stride[0], conv.kernel_size[0] // 2
        height, width = (-(-side // self._stride) for side in source.shape[1:])
        self.shape = (conv.out_channels, height, width)

    def read(self, region: Region) -> Tensor:
        top, left = (edge * self._stride - self._pad for edge in (region.top, region.left))
        bottom, right = ((edge - 1) * self._stride + self._pad + 1 for edge in (region.bottom, region.right))
        _, height, width = self._source.shape
        inside = Region(max(0, top), min(height, bottom), max(0, left), min(width, right))
        values = self._source.read(inside)
        zeros = (inside.left - left, right - inside.right, inside.top - top, bottom - inside.bottom)
        if any(zeros):
            values = F.pad(values, zeros)
        return F.conv2d(values, self._conv.weight, stride=self._stride)


class _Upsampled:
    """Nearest-neighbor upsampling by 2."""

    def __init__(self, source: _Layer) -> None:
        self._source = source
        channels, height, width = source.shape
        self.shape = (channels, 2 * height, 2 * width)

    def read(self, region: Region) -> Tensor:
        top, left = region.top // 2, region.left // 2
        seen = self._source.read(Region(top, -(-region.bottom // 2), left, -(-region.right // 2)))
        top, left, (height, width) = region.top % 2, region.left % 2, region.size
        return F.interpolate(seen, scale_factor=2.0, mode="nearest")[..., top : top + height, left : left + width]


class _Stored:
    def __init__(self, channels: int, height: int, width: int) -> None:
        self.shape = (channels, height, width)
        self._file = Scratch(height, width, channels, np.float32)

    def read(self, region: Region) -> Tensor:
        return _tensor(self._file.read(region))

    def write(self, region: Region, values_1chw: Tensor) -> None:
        self._file.write(region, values_1chw[0].permute(1, 2, 0).numpy())


class _Normed:
    """Instance norm with statistics that are known, and perhaps ReLU."""

    def __init__(self, source: _Layer, moments: _Moments, norm: nn.InstanceNorm2d, relu: bool) -> None:
        self._source, self._relu = source, relu
        self.shape = source.shape
        gain = norm.weight.double() / (moments.variance() + norm.eps).sqrt()
        self._gain, self._mean, self._bias = (
            values.float()[:, None, None] for values in (gain, moments.mean, norm.bias.double())
        )

    def read(self, region: Region) -> Tensor:
        values = self._source.read(region)
        values = values.sub_(self._mean).mul_(self._gain).add_(self._bias)
        return values.relu_() if self._relu else values


class _Moments:
    """Mean and variance of each channel, merged from tiles in float64 (Chan, Golub & LeVeque 1983)."""

    def __init__(self, channels: int) -> None:
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)
        self._count = 0

    def add(self, values_1chw: Tensor) -> None:
        variance, mean = (v.double() for v in torch.var_mean(values_1chw[0], dim=(1, 2), correction=0))
        count = values_1chw.shape[2] * values_1chw.shape[3]
        whole, change = self._count + count, mean - self.mean
        self._squares += variance * count + change.square() * (self._count * count / whole)
        self.mean += change * (count / whole)
        self._count = whole

    def variance(self) -> Tensor:
        return self._squares / self._count


def _tensor(values_hwc: NDArray[np.generic]) -> Tensor:
    """Return (1, channels, h, w) in the memory format channels_last, which is that of the array."""
    return torch.from_numpy(values_hwc).permute(2, 0, 1)[None]

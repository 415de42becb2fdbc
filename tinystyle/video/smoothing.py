"""Calms a network over the frames of a video: the statistics of its instance norms follow the frames slowly.

An instance norm divides by the mean and the deviation of the whole picture. Whatever enters the picture changes them, and
with them every pixel. With their exponential moving average, an entering object changes the rest of the picture slowly.
The first norm keeps the statistics of each frame: it takes out exposure, which would otherwise flicker through the whole
network until the averages have followed. At a scene cut the averages start anew, and the frame is stylized as a photo is.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tinystyle.errors import UserError

__all__ = ["SceneCuts", "Smoothing", "check_smoothing"]

_MOST = 0.99
_THUMBNAIL = (32, 18)


def check_smoothing(smoothing: float) -> None:
    """Raise UserError unless the weight of the past is in range."""
    if not 0 <= smoothing <= _MOST:
        raise UserError(f"`smoothing` {smoothing:g}: give a number from 0 (each frame by itself) to {_MOST:g}")


class SmoothedNorm(nn.Module):
    """An instance norm whose mean and variance are exponential moving averages over the images it has seen."""

    def __init__(self, norm: nn.InstanceNorm2d, smoothing: float) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.smoothing = smoothing
        self.average_2c: Tensor | None = None
        """Mean and variance of each channel."""

    def forward(self, x_1chw: Tensor) -> Tensor:
        variance_c, mean_c = torch.var_mean(x_1chw[0], (1, 2), correction=0)
        now_2c = torch.stack((mean_c, variance_c))
        before = self.average_2c
        self.average_2c = now_2c if before is None else torch.lerp(now_2c, before.to(now_2c), self.smoothing)
        mean_c, variance_c = self.average_2c
        scale_c11 = (self.weight * torch.rsqrt(variance_c + self.eps))[:, None, None]
        return torch.addcmul((self.bias - mean_c * scale_c11[:, 0, 0])[:, None, None], x_1chw, scale_c11)


class Smoothing:
    """A network with smoothed norms, and whether a frame begins a new scene.

    Attributes:
        network: a copy of the network that is to be called with the frames in order.

    Args:
        network: a network whose norms are `nn.InstanceNorm2d`; the first of its modules that is one stays as it is.
        smoothing: weight of the past at each frame, from 0 to 0.99.
    """

    def __init__(self, network: nn.Module, smoothing: float) -> None:
        self.network = copy.deepcopy(network)
        self._norms = []
        self._cuts = SceneCuts()
        owned = [
            (module, name, child)
            for module in self.network.modules()
            for name, child in module.named_children()
            if isinstance(child, nn.InstanceNorm2d)
        ]
        for module, name, child in owned[1:]:
            norm = SmoothedNorm(child, smoothing)
            setattr(module, name, norm)
            self._norms.append(norm)

    def see(self, frame: Image.Image) -> None:
        """Look at the next frame before the network does, and forget the past if it begins a new scene."""
        if self._cuts.begins(frame):
            for norm in self._norms:
                norm.average_2c = None

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next frame depends on, by name."""
        found = {
            f"norm{index:03d}": norm.average_2c.cpu()
            for index, norm in enumerate(self._norms)
            if norm.average_2c is not None
        }
        thumbnail = self._cuts.thumbnail
        return found if thumbnail is None else {**found, "thumbnail": torch.from_numpy(thumbnail)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        self._cuts.thumbnail = state["thumbnail"].numpy()
        for index, norm in enumerate(self._norms):
            norm.average_2c = state.get(f"norm{index:03d}")


class SceneCuts:
    """Finds the first frames of scenes: those that are unlike the frame before.

    Thumbnails of the luma are compared by their correlation, which a change of exposure leaves high. A frame of one color
    correlates with nothing, and begins a scene unless the frame before was of one color too.
    """

    def __init__(self) -> None:
        self.thumbnail: NDArray[np.float32] | None = None

    def begins(self, frame: Image.Image) -> bool:
        """Return whether the frame begins a scene; remember it for the next one."""
        small = frame.convert("L").resize(_THUMBNAIL, Image.Resampling.BOX)
        now = np.asarray(small, np.float32)
        before, self.thumbnail = self.thumbnail, now
        return before is None or _correlation(before, now) < _ALIKE


_ALIKE = 0.6
_FLAT = 1.0
"""Standard deviation, in gray levels, below which a thumbnail is of one color."""


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    deviations = float(one.std()), float(other.std())
    if min(deviations) < _FLAT:
        return float(max(deviations) < _FLAT)
    return float(((one - one.mean()) * (other - other.mean())).mean()) / (deviations[0] * deviations[1])

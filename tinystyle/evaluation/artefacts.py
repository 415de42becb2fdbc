"""What upsampling and padding leave in a stylized image: a fine grid, and a frame."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.nets.perceptual.grid import grid_energy

__all__ = ["border_error", "checkerboard_energy"]

RING = 16
CONTEXT = 64
"""Pixels: over half the receptive field of a network with three 9x9 or strided layers and five residual blocks at stride 4."""


def checkerboard_energy(output_b3hw: Tensor, photo_b3hw: Tensor) -> Tensor:
    """Energy of patterns of period 2 and 4 pixels, in proportion to the photo's: (batch,); the photo itself has 1.

    That is `grid_energy` of the one over that of the other. Natural photos differ in it by a factor of 1.3.

    Args:
        output_b3hw: RGB in 0..255, float.
        photo_b3hw: as `output_b3hw`.
    """
    return grid_energy(output_b3hw) / grid_energy(photo_b3hw)


def border_error(stylise: Callable[[Tensor], Tensor], photo_b3hw: Tensor, output_b3hw: Tensor) -> Tensor:
    """How far the frame of an output is from what it would be inside a larger picture, in grey levels: (batch,).

    With y the output, and z that of the photo reflected by 64 pixels on every side, cropped back to y's size and fitted to y
    per channel (z' = a z + b, least squares over the interior, clamped to 0..255),

        error = mean |y - z'| over the 16 outermost pixels - mean |y - z'| over the interior, from 32 pixels inwards.

    The fit and the interior take out what the reflection changes everywhere, through the statistics of instance norm or of
    `color_match`; values that z was clamped to, 0 and 255, are left out. A function of each pixel, or of pixels and the
    photo's mean and deviation, has 0; zero padding, which darkens or blurs the frame, has more. Under 128 pixels a side the
    distances shrink.

    Args:
        stylise: RGB (batch, 3, H, W) in 0..255 to the same.
        photo_b3hw: at least 16 pixels a side.
        output_b3hw: `stylise(photo_b3hw)`.
    """
    short = min(photo_b3hw.shape[-2:])
    pad = min(CONTEXT, (short - 1) // 4 * 4)  # a multiple of the stride: upsampling then falls on the same grid
    ring = min(RING, short // 8)
    reference = stylise(F.pad(photo_b3hw, (pad,) * 4, mode="reflect"))[..., pad:-pad, pad:-pad]
    known = _within_range(reference)
    interior = torch.zeros_like(known)
    interior[..., 2 * ring : -2 * ring, 2 * ring : -2 * ring] = 1
    a, b = _fit(reference, output_b3hw, known * interior * _within_range(output_b3hw))
    difference = (output_b3hw - (a * reference + b).clamp(0, 255)).abs()
    frame = torch.ones_like(known)
    frame[..., ring:-ring, ring:-ring] = 0
    dims = (1, 2, 3)
    return (_mean(difference, known * frame, dims) - _mean(difference, known * interior, dims)).flatten()


def _within_range(image_b3hw: Tensor) -> Tensor:
    """1 where a value is between 0 and 255, 0 where it is one of them and may have been clamped to it."""
    return ((image_b3hw > 0) & (image_b3hw < 255)).float()


def _fit(x_b3hw: Tensor, y_b3hw: Tensor, weight_b3hw: Tensor) -> tuple[Tensor, Tensor]:
    """(a, b), each (batch, 3, 1, 1), of the least-squares line y = a x + b of every channel; a is 1 where x is constant."""
    x_mean, y_mean = (_mean(image, weight_b3hw, (2, 3)) for image in (x_b3hw, y_b3hw))
    covariance = _mean((x_b3hw - x_mean) * (y_b3hw - y_mean), weight_b3hw, (2, 3))
    variance = _mean((x_b3hw - x_mean).square(), weight_b3hw, (2, 3))
    a = (covariance + 1e-3) / (variance + 1e-3)
    return a, y_mean - a * x_mean


def _mean(values: Tensor, weights: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Weighted mean, with the dimensions kept; 0 where all weights are 0."""
    return (values * weights).sum(dims, keepdim=True) / weights.sum(dims, keepdim=True).clamp_min(1)

"""Artifacts of upsampling and padding in a stylized image: a fine grid (checkerboard), and a visible border."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.nets.perceptual.grid import grid_energy

__all__ = ["border_error", "checkerboard_energy"]

RING = 16
CONTEXT = 64
"""Pixels of reflected context: over half the receptive field of a network with three 9x9 or strided layers and five
residual blocks at stride 4."""


def checkerboard_energy(output_b3hw: Tensor, photo_b3hw: Tensor) -> Tensor:
    """Return the energy of patterns with periods of 2 and 4 pixels, divided by the photo's: (batch,).

    This is the ratio of the two images' `grid_energy`, so an output equal to the photo has 1. Between natural photos,
    `grid_energy` varies by a factor of 1.3.

    Args:
        output_b3hw: the stylized photo, RGB in 0..255, float.
        photo_b3hw: the photo, like `output_b3hw`.
    """
    return grid_energy(output_b3hw) / grid_energy(photo_b3hw)


def border_error(stylize: Callable[[Tensor], Tensor], photo_b3hw: Tensor, output_b3hw: Tensor) -> Tensor:
    """Measure how the border of an output differs from the same area inside a larger picture, in gray levels: (batch,).

    Let y be the output. Let z be the output for the photo reflected by 64 pixels on every side, cropped back to the
    size of y, and fitted to y per channel (z' = a z + b, least squares over the interior, clamped to 0..255). Then

        error = mean |y - z'| over the 16 outermost pixels - mean |y - z'| over the interior, from 32 pixels inwards.

    The fit and the interior term remove global changes that the reflection causes through the statistics of instance
    norm or of `color_match`. Values of z at 0 or 255 are excluded, since they may have been clamped. The error is 0 if
    each output pixel depends only on the same pixel of the photo and on the photo's mean and standard deviation. Zero
    padding, which darkens or blurs the border, gives a higher error. If a side is shorter than 128 pixels, the
    distances of 16, 32 and 64 pixels shrink.

    Args:
        stylize: maps RGB (batch, 3, H, W) in 0..255 to the same shape and range.
        photo_b3hw: the photo, at least 16 pixels per side.
        output_b3hw: `stylize(photo_b3hw)`.
    """
    short = min(photo_b3hw.shape[-2:])
    pad = min(CONTEXT, (short - 1) // 4 * 4)  # a multiple of the stride, so that upsampling uses the same grid
    ring = min(RING, short // 8)
    reference = stylize(F.pad(photo_b3hw, (pad,) * 4, mode="reflect"))[..., pad:-pad, pad:-pad]
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
    """Return 1 where a value lies strictly between 0 and 255, and 0 where it may have been clamped."""
    return ((image_b3hw > 0) & (image_b3hw < 255)).float()


def _fit(x_b3hw: Tensor, y_b3hw: Tensor, weight_b3hw: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the least-squares line y = a x + b for every channel.

    Returns:
        (a, b), each (batch, 3, 1, 1); a is 1 where x is constant.
    """
    x_mean, y_mean = (_mean(image, weight_b3hw, (2, 3)) for image in (x_b3hw, y_b3hw))
    covariance = _mean((x_b3hw - x_mean) * (y_b3hw - y_mean), weight_b3hw, (2, 3))
    variance = _mean((x_b3hw - x_mean).square(), weight_b3hw, (2, 3))
    a = (covariance + 1e-3) / (variance + 1e-3)
    return a, y_mean - a * x_mean


def _mean(values: Tensor, weights: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the weighted mean with dimensions kept; 0 where all weights are 0."""
    return (values * weights).sum(dims, keepdim=True) / weights.sum(dims, keepdim=True).clamp_min(1)

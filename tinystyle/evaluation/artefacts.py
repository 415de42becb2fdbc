"""What upsampling and padding leave in a stylised image: a fine grid, and a frame."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.evaluation.luma import luma

__all__ = ["border_error", "checkerboard_energy"]

TILE = 64
"""Pixels a side of the tiles whose spectra are averaged."""
GRID = TILE // 4
"""Frequency, in cycles per tile, of a pattern of period 4."""
AROUND = (-5, -4, -3, 3, 4, 5)
"""Frequencies, in cycles per tile, that a point of the grid is compared with: the Hann window spreads it over +-1."""
NOISE = 1.0
"""Power of white noise of one grey level, added to every spectrum: fainter patterns cannot be seen."""

RING = 16
CONTEXT = 64
"""Pixels: over half the receptive field of a network with three 9x9 or strided layers and five residual blocks at stride 4."""


def checkerboard_energy(output_b3hw: Tensor, photo_b3hw: Tensor) -> Tensor:
    """Energy of patterns of period 2 and 4 pixels, in proportion to the photo's: (batch,); the photo itself has 1.

    Two upsamplings by 2 repeat themselves every 4 pixels, so whatever grid they leave (Odena et al., "Deconvolution and
    Checkerboard Artifacts", Distill 2016) lies at the 15 points k = (a/4, b/4), in cycles per pixel, a and b in 0..3, without
    (0, 0). With P the luma's power spectrum, the mean over Hann-windowed tiles of 64 pixels, half overlapping (Welch 1967),
    and n(k) the frequencies near k in the directions in which the pattern varies, without k's immediate neighbours,

        energy(image) = mean over k of (P(k) + 1) / (mean of P over n(k) + 1);  result = energy(output) / energy(photo).

    Texture is smooth across k, a grid is not; so texture, blur and contrast hardly count, and sizes need not be multiples of
    4. Blur leaves the result under about 1.3, natural photos differ in energy by as much. Meaningful from 32 pixels a side.

    Args:
        output_b3hw: RGB in 0..255, float.
        photo_b3hw: as `output_b3hw`.
    """
    return _grid_energy(output_b3hw) / _grid_energy(photo_b3hw)


def _grid_energy(image_b3hw: Tensor) -> Tensor:
    power_bhw = _power_spectrum(luma(image_b3hw)[:, 0]) + NOISE
    points = [(a, b) for a in range(4) for b in range(4) if a or b]
    ratios = [power_bhw[:, a * GRID, b * GRID] / _mean_around(power_bhw, a, b) for a, b in points]
    return torch.stack(ratios).mean(0)


def _mean_around(power_bhw: Tensor, a: int, b: int) -> Tensor:
    # Along an axis of the spectrum natural images have a ridge; a point on it is compared with others on it.
    rows, columns = ([(k * GRID + d) % TILE for d in (AROUND if k else (-1, 0, 1))] for k in (a, b))
    return power_bhw[:, rows][:, :, columns].mean((1, 2))


def _power_spectrum(luma_bhw: Tensor) -> Tensor:
    """(batch, TILE, TILE); white noise of variance v has power v at every frequency."""
    height, width = (min(TILE, side) for side in luma_bhw.shape[1:])
    window_hw = torch.outer(*(torch.hann_window(n, device=luma_bhw.device) for n in (height, width)))
    tiles_brchw = luma_bhw.unfold(1, height, max(1, height // 2)).unfold(2, width, max(1, width // 2))
    tiles_bnhw = tiles_brchw.flatten(1, 2)
    tiles_bnhw = tiles_bnhw - tiles_bnhw.mean((2, 3), keepdim=True)
    spectra: Tensor = torch.fft.fft2(tiles_bnhw * window_hw, s=(TILE, TILE))
    return spectra.abs().square().mean(1) / window_hw.square().sum()


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

"""Measures the fine grid that upsampling leaves in a picture, in its spectrum. A metric, and also a loss."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from tinystyle.nets.perceptual.luma import luma

__all__ = ["grid_energy"]

TILE = 64
"""Side, in pixels, of the tiles whose spectra are averaged."""
GRID = TILE // 4
"""Frequency, in cycles per tile, of a pattern with period 4."""
AROUND = (-5, -4, -3, 3, 4, 5)
"""Offsets, in cycles per tile, of the frequencies that a point of the grid is compared with.

Nearer ones are left out, because the Hann window spreads a point over +-1.
"""
NOISE = 1.0
"""Power of white noise of one gray level, added to every spectrum, because fainter patterns are invisible."""


def grid_energy(image_b3hw: Tensor) -> Tensor:
    """Return the energy of patterns with periods of 2 and 4 pixels, relative to neighboring frequencies: (batch,).

    It is 1 for smooth texture. Two upsamplings by 2 repeat every 4 pixels, so any grid that they leave (Odena et al.,
    "Deconvolution and Checkerboard Artifacts", Distill 2016) is at the 15 points k = (a/4, b/4), in cycles per pixel,
    with a and b in 0..3, without (0, 0). Let P be the power spectrum of the luma, the mean over Hann-windowed tiles of
    64 pixels that overlap by half (Welch 1967), and n(k) the frequencies near k in the directions in which the pattern
    varies, without k's immediate neighbors. Then

        energy = mean over k of (P(k) + 1) / (mean of P over n(k) + 1).

    The spectrum of texture is smooth around k, that of a grid is not. So texture, blur and contrast hardly count, and
    sizes need not be multiples of 4. Meaningful from 32 pixels per side.

    Args:
        image_b3hw: RGB in 0..255, float.
    """
    power_bhw = _power_spectrum(luma(image_b3hw)[:, 0]) + NOISE
    at_points_bp, around_bp = (power_bhw.flatten(1) @ _means(power_bhw.device)).chunk(2, 1)
    return (at_points_bp / around_bp).mean(1)


@cache
def _means(device: torch.device) -> Tensor:
    """Return the matrix (TILE * TILE, 2 * points) that maps a spectrum to P(k), and to the means over n(k), for all k."""
    points = [(a, b) for a in range(4) for b in range(4) if a or b]
    means_2phw = torch.zeros(2, len(points), TILE, TILE, device=device)
    for index, point in enumerate(points):
        means_2phw[0, index, point[0] * GRID, point[1] * GRID] = 1.0
        # Natural images have a ridge along each axis of the spectrum; a point on an axis is compared with others on it.
        rows, columns = ([(k * GRID + d) % TILE for d in (AROUND if k else (-1, 0, 1))] for k in point)
        for row in rows:
            means_2phw[1, index, row, columns] = 1.0 / (len(rows) * len(columns))
    return means_2phw.flatten(2).flatten(0, 1).mT.contiguous()


def _power_spectrum(luma_bhw: Tensor) -> Tensor:
    """Return the power spectrum (batch, TILE, TILE); white noise of variance v has power v at every frequency."""
    height, width = (min(TILE, side) for side in luma_bhw.shape[1:])
    window_hw = torch.outer(*(torch.hann_window(n, device=luma_bhw.device) for n in (height, width)))
    tiles_brchw = luma_bhw.unfold(1, height, max(1, height // 2)).unfold(2, width, max(1, width // 2))
    tiles_bnhw = tiles_brchw.flatten(1, 2)
    tiles_bnhw = tiles_bnhw - tiles_bnhw.mean((2, 3), keepdim=True)
    spectra: Tensor = torch.fft.fft2(tiles_bnhw * window_hw, s=(TILE, TILE))
    return torch.view_as_real(spectra).square().sum(-1).mean(1) / window_hw.square().sum()

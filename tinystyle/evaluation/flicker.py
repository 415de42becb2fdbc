"""Flicker: how much the output changes where the next frame of a video shows the same scene."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["flicker"]

SHIFT = (1, 2)
"""Rows and columns, in pixels, by which the view moves: no multiples of a network's stride."""
NOISE = 2.0
"""Standard deviation of the camera's noise, in gray levels."""
BRIGHTNESS = 1.03
"""Factor of a step of the exposure."""
RING = 16
"""Pixels at the border that are left out after the shift: what came into view is not the same scene."""
_SEED = 0


def flicker(stylize: Callable[[Tensor], Tensor], photo_b3hw: Tensor, output_b3hw: Tensor) -> Tensor:
    """Measure how an output changes with what hardly changes the photo, in gray levels: (batch,).

    The mean absolute difference from the output y = f(x), averaged over three next frames of the same scene:

    - the view has moved by 1 row and 2 columns: f(shifted x) against the shifted y, without 16 pixels at the border;
    - the camera's noise is another: f(x + n) against y, with n normal of 2 gray levels, the same for every function;
    - the exposure has changed: f(1.03 x) against y, where 1.03 x is clamped to 255.

    The photo itself (f(x) = x) has about 1.6 for the noise, 3% of its mean for the exposure and 0 for the shift, so a third
    of their sum. On the stability of such networks, see Gupta et al., arXiv:1705.02092.

    Args:
        stylize: maps RGB (batch, 3, H, W) in 0..255 to the same shape and range.
        photo_b3hw: the photo, at least 16 pixels per side.
        output_b3hw: `stylize(photo_b3hw)`.
    """
    down, right = SHIFT
    height, width = photo_b3hw.shape[-2:]
    ring = min(RING, min(height, width) // 8)
    moved = stylize(photo_b3hw[..., down:, right:])
    inside = (..., slice(ring, height - down - ring), slice(ring, width - right - ring))
    noise = torch.randn(photo_b3hw.shape, generator=torch.Generator().manual_seed(_SEED)).to(photo_b3hw)
    noisy = stylize((photo_b3hw + NOISE * noise).clamp(0, 255))
    brighter = stylize((BRIGHTNESS * photo_b3hw).clamp(0, 255))
    changes = (
        moved[inside] - output_b3hw[..., down:, right:][inside],
        noisy - output_b3hw,
        brighter - output_b3hw,
    )
    return torch.stack([change.abs().mean((1, 2, 3)) for change in changes]).mean(0)

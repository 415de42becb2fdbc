"""Penalties on the pixels of an output, which need no loss network: each (batch,), to be averaged over the batch."""

from __future__ import annotations

from torch import Tensor

from tinystyle.nets.perceptual.grid import grid_energy

__all__ = ["grid_loss", "saturation_loss", "total_variation_loss"]

SATURATION_LIMIT = 2.0
"""Pre-activations within +-2 are not penalized: tanh(2) is gray level 250.4 or 4.6 of 0..255."""


def total_variation_loss(image_b3hw: Tensor) -> Tensor:
    """Return the total variation per image (batch,), for RGB in 0..255 scaled to 0..1.

    It is the sum of the mean squared differences of vertical and of horizontal neighbors.
    """
    image = image_b3hw.float() / 255.0
    vertical = (image[:, :, 1:] - image[:, :, :-1]).square().mean((1, 2, 3))
    return vertical + (image[:, :, :, 1:] - image[:, :, :, :-1]).square().mean((1, 2, 3))


def saturation_loss(preactivation_b3hw: Tensor) -> Tensor:
    """Return per image (batch,) the mean of max(|z| - SATURATION_LIMIT, 0)^2 over its pre-activations z.

    Pre-activations are the inputs of the output tanh. Beyond the limit the gradient of tanh vanishes, and without this
    loss a region that has turned black or white would remain so.
    """
    return (preactivation_b3hw.float().abs() - SATURATION_LIMIT).relu().square().mean((1, 2, 3))


def grid_loss(output_b3hw: Tensor, photo_b3hw: Tensor) -> Tensor:
    """Return per photo (batch,) the log of the output's `grid_energy` over the photo's; 0 if the output has less.

    Both images are RGB in 0..255. The photo's energy is treated as a constant, without a gradient.
    """
    return (grid_energy(output_b3hw) / grid_energy(photo_b3hw).detach()).log().relu()

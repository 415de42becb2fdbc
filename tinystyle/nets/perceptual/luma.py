"""Luma, which tells how bright a pixel looks."""

from __future__ import annotations

from torch import Tensor

__all__ = ["luma"]

WEIGHTS_3 = (0.299, 0.587, 0.114)


def luma(image_b3hw: Tensor) -> Tensor:
    """Return the luma (batch, 1, height, width) of RGB images, in their range (ITU-R BT.601)."""
    image = image_b3hw.float()
    return (image * image.new_tensor(WEIGHTS_3).view(1, 3, 1, 1)).sum(1, keepdim=True)

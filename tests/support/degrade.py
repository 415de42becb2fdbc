"""Functions from photo to image that do one known damage, each RGB (1, 3, H, W) in 0..255."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def blurred(image: Tensor) -> Tensor:
    """A Gaussian of deviation 1.5 pixels, reflected at the frame."""
    kernel = torch.exp(-torch.arange(-5.0, 6.0).square() / 4.5)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(image, (5, 5, 5, 5), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)


def black_holed(image: Tensor) -> Tensor:
    """Where the surroundings are below a brightness of 110, all turns black."""
    dark = blurred(image).mean(1, keepdim=True) < 110
    return image.masked_fill(dark, 0.0)


def with_grid(image: Tensor, period: int = 2, amplitude: float = 3.0) -> Tensor:
    """A sine of `period` pixels each way is added, as upsampling leaves it."""
    rows, columns = (torch.arange(side) for side in image.shape[-2:])
    waves = [torch.cos(2 * torch.pi * place / period) for place in (rows, columns)]
    return image + amplitude * torch.outer(*waves)


def framed(image: Tensor) -> Tensor:
    """The outermost four pixels lose a third of their brightness, as zero padding does."""
    inner = torch.zeros_like(image)
    inner[..., 4:-4, 4:-4] = 1
    return image * (2 + inner) / 3

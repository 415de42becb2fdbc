"""The pieces that the style networks are built of, and the frame around them. Knows nothing of losses or training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.errors import UserError

__all__ = ["ConvNorm", "ResidualBlock", "StyleNetwork", "UpsampleConvNorm", "filters"]

MARGIN = 16
"""Pixels that an image is extended by on every side, by reflection, and its picture cropped by: what the zero padding of the
convolutions does lies in them and is cut off. A multiple of every stride. Only outside of training, see `Conv2d`."""


def filters(alpha: float, base: int) -> int:
    """Number of filters of a layer whose width at alpha 1 is `base`: int(alpha * base), at least 1."""
    width = int(alpha * base)
    if width < 1:
        raise UserError(
            f"alpha {alpha} leaves a layer of base width {base} without filters; use at least {1 / base:.4g}"
        )
    return width


class Conv2d(nn.Conv2d):
    """Convolution without bias that pads by zeros, but in training by reflection.

    Zeros tell a network where the border is, and one that has learned to look for them puts there what it is to hide: a frame,
    or a bar in the painting's color (ARCHITECTURE.md). Reflection tells it nothing. Once trained it may meet zeros again,
    which Core ML pads with at no cost; `MARGIN` hides what is left of them.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_bchw)
        side = self.kernel_size[0] // 2
        return F.conv2d(F.pad(x_bchw, (side,) * 4, mode="reflect"), self.weight, stride=self.stride)


class ConvNorm(nn.Sequential):
    """`Conv2d` followed by affine instance norm (Ulyanov et al., arXiv:1607.08022)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, stride)
        self.norm = nn.InstanceNorm2d(out_channels, affine=True)


class UpsampleConvNorm(nn.Sequential):
    """Nearest-neighbour upsampling by 2, then `ConvNorm`: no checkerboard (Odena et al., 2016)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.block = ConvNorm(in_channels, out_channels, kernel)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both convolutions 3x3 (Johnson et al., arXiv:1603.08155, supplement)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, x_bchw: Tensor) -> Tensor:
        residual_bchw: Tensor = self.second(F.relu(self.first(x_bchw)))
        return x_bchw + residual_bchw


class StyleNetwork(nn.Module):
    """The image transformation network of Johnson et al. (arXiv:1603.08155) with instance norm.

    9x9 convolution, two stride-2 convolutions, residual blocks, two upsampling convolutions, 9x9 convolution, tanh.
    Scaling in and out is part of the network: it takes and returns RGB images in 0..255.

    Args:
        widths: filters after the first, second and third convolution.
        residual_blocks: number of residual blocks, at the third width.
    """

    stride = 4

    def __init__(self, widths: tuple[int, int, int], residual_blocks: int) -> None:
        super().__init__()
        first, second, third = widths
        self.down = nn.ModuleList([ConvNorm(3, first, 9), ConvNorm(first, second, 3, 2), ConvNorm(second, third, 3, 2)])
        self.residual = nn.Sequential(*(ResidualBlock(third) for _ in range(residual_blocks)))
        self.up = nn.ModuleList([UpsampleConvNorm(third, second, 3), UpsampleConvNorm(second, first, 3)])
        self.out = ConvNorm(first, 3, 9)

    @torch.no_grad()
    def match_output(self, image_13hw: Tensor) -> None:
        """Set the last norm so that outputs have each channel's mean and deviation of an RGB image in 0..255, before tanh."""
        z_3n = torch.atanh((image_13hw[0].flatten(1) / 127.5 - 1.0).clamp(-0.96, 0.96))
        self.out.norm.weight.copy_(z_3n.std(1))
        self.out.norm.bias.copy_(z_3n.mean(1))

    def forward(self, photo_b3hw: Tensor) -> Tensor:
        """Stylise RGB photos in 0..255, float, of any size; the output has the same shape and range."""
        return self.forward_with_preactivation(photo_b3hw)[0]

    def forward_with_preactivation(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and beside the image the input of the output tanh, of the same shape."""
        height, width = photo_b3hw.shape[-2:]
        margin = 0 if self.training else MARGIN
        # Scaled first: the variance of 0..255 overflows float16 inside instance norm.
        x_bchw = _extended(photo_b3hw / 255.0, margin, self.stride)
        for layer in self.down:
            x_bchw = F.relu(layer(x_bchw))
        x_bchw = self.residual(x_bchw)
        for layer in self.up:
            x_bchw = F.relu(layer(x_bchw))
        z_b3hw = self.out(x_bchw)
        if z_b3hw.shape[-2:] == (height + 2 * MARGIN, width + 2 * MARGIN):
            # Counted from the end: else a size would stand in programs that are to take any.
            z_b3hw = z_b3hw[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        elif z_b3hw.shape != photo_b3hw.shape:
            z_b3hw = z_b3hw[..., margin : margin + height, margin : margin + width]
        return (torch.tanh(z_b3hw) + 1.0) * 127.5, z_b3hw


def _extended(x_bchw: Tensor, margin: int, stride: int) -> Tensor:
    """Extend by `margin` on every side, and to a multiple of `stride` at the right and bottom: by reflection, or replication
    if the image is too small for it."""
    height, width = map(int, x_bchw.shape[-2:])  # tracing would keep them as operations
    bottom, right = (margin + -side % stride for side in (height, width))
    if not (bottom or right):
        return x_bchw
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(x_bchw, (margin, right, margin, bottom), mode=mode)

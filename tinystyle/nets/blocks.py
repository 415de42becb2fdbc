"""The building blocks of the style networks, and the network they form. Does not depend on losses or training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.errors import UserError

__all__ = ["ConvNorm", "InstanceNorm", "ResidualBlock", "StyleNetwork", "UpsampleConvNorm", "filters"]

MARGIN = 16
"""Pixels by which an image is extended on every side, by reflection, and its output cropped.

The effects of the convolutions' zero padding are within this margin and are cut off. A multiple of every stride. Not
used in training; see `Conv2d`.
"""


FEW = 4
"""Number of output channels up to which convolving for four pixels at once is faster on a CPU."""


def _four_pixels(x_bchw: Tensor, weight: Tensor) -> Tensor:
    """Return F.conv2d(x_bchw, weight), computed for 2x2 pixels at a time, with the kernel shifted for each of them.

    The output of the convolution has four times the channels at a quarter of the positions: the same sums in less
    time. Both sides of the output have to be even.
    """
    shifts = [(left, 1 - left, top, 1 - top) for top in (0, 1) for left in (0, 1)]
    kernels = torch.stack([F.pad(weight, shift) for shift in shifts], 1).flatten(0, 1)
    x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
    return F.pixel_shuffle(F.conv2d(x_bchw, kernels, stride=2), 2)


def filters(alpha: float, base: int) -> int:
    """Return the number of filters of a layer whose width at alpha 1 is `base`: int(alpha * base).

    Raises:
        UserError: it is less than 1.
    """
    width = int(alpha * base)
    if width < 1:
        raise UserError(
            f"alpha {alpha} leaves a layer of base width {base} without filters; use at least {1 / base:.4g}"
        )
    return width


class Conv2d(nn.Conv2d):
    """Convolution without bias that pads with zeros, but by reflection in training.

    With zeros, a network can detect where the border is, and it learns to paint there what no loss penalizes, such as a
    frame or a bar in the painting's color (ARCHITECTURE.md). With reflection it cannot. After training, padding is with
    zeros, which costs nothing in Core ML; `MARGIN` hides their remaining effect.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, x_bchw: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_bchw)
        side = self.kernel_size[0] // 2
        height, width = x_bchw.shape[-2:]
        x_bchw = F.pad(x_bchw, (side,) * 4, mode="reflect")
        if self.out_channels > FEW or self.stride[0] > 1 or height % 2 or width % 2 or x_bchw.is_cuda:
            return F.conv2d(x_bchw, self.weight, stride=self.stride)
        return _four_pixels(x_bchw, self.weight)


class InstanceNorm(nn.InstanceNorm2d):
    """Affine instance norm (Ulyanov et al., arXiv:1607.08022), whose scale and shift may differ from photo to photo.

    They are (channels,), or (batch, channels) while a `StyledNetwork` runs: conditional instance norm (Dumoulin et al.,
    arXiv:1610.07629).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x_bchw: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return super().forward(x_bchw)
        if self.training:
            # As images of batch * channels channels: one operation, and the numbers of the one with (channels,).
            x_1nhw = x_bchw.flatten(0, 1)[None]
            normal = F.instance_norm(x_1nhw, weight=self.weight.flatten(), bias=self.bias.flatten(), eps=self.eps)
            return normal[0].view(x_bchw.shape)
        # Scale and shift are inputs, which Core ML's norm does not take.
        scale, shift = (x if x.dim() == 4 else x[..., None, None] for x in (self.weight, self.bias))
        return F.instance_norm(x_bchw, eps=self.eps) * scale + shift


class ConvNorm(nn.Sequential):
    """`Conv2d` followed by `InstanceNorm`."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, stride)
        self.norm = InstanceNorm(out_channels)


class UpsampleConvNorm(nn.Sequential):
    """Nearest-neighbor upsampling by 2, then `ConvNorm`, which avoids checkerboards (Odena et al., 2016)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.block = ConvNorm(in_channels, out_channels, kernel)


class ResidualBlock(nn.Module):
    """Computes x + norm(conv(relu(norm(conv(x))))), both convolutions 3x3.

    From Johnson et al., arXiv:1603.08155, supplement.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, 3)
        self.second = ConvNorm(channels, channels, 3)

    def forward(self, x_bchw: Tensor) -> Tensor:
        residual_bchw: Tensor = self.second(F.relu(self.first(x_bchw), inplace=True))
        return x_bchw + residual_bchw


class StyleNetwork(nn.Module):
    """The image transformation network of Johnson et al. (arXiv:1603.08155) with instance norm.

    9x9 convolution, two stride-2 convolutions, residual blocks, two upsampling convolutions, 9x9 convolution, tanh.
    Scaling of input and output is part of the network: it takes and returns RGB images in 0..255.

    Args:
        widths: numbers of filters of the first, second and third convolution.
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
        """Initialize the last norm, so that the output has about the contrast and colors of the style image.

        Its gain and bias become the standard deviation and the mean of each channel of atanh(image / 127.5 - 1),
        clamped before atanh to -0.96..0.96.

        Args:
            image_13hw: the style image, RGB in 0..255.
        """
        z_3n = torch.atanh((image_13hw[0].flatten(1) / 127.5 - 1.0).clamp(-0.96, 0.96))
        self.out.norm.weight.copy_(z_3n.std(1))
        self.out.norm.bias.copy_(z_3n.mean(1))

    def forward(self, photo_b3hw: Tensor) -> Tensor:
        """Stylize RGB photos in 0..255, float, of any size; the output has the same shape and range."""
        return self.forward_with_preactivation(photo_b3hw)[0]

    def forward_with_preactivation(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the result of `forward`, and the input of the output tanh, which has the same shape."""
        height, width = photo_b3hw.shape[-2:]
        margin = 0 if self.training else MARGIN
        # Scale first: the variance of 0..255 overflows float16 inside instance norm.
        x_bchw = _extended(photo_b3hw / 255.0, margin, self.stride)
        for layer in self.down:
            x_bchw = F.relu(layer(x_bchw), inplace=True)
        x_bchw = self.residual(x_bchw)
        for layer in self.up:
            x_bchw = F.relu(layer(x_bchw), inplace=True)
        z_b3hw = self.out(x_bchw)
        if z_b3hw.shape[-2:] == (height + 2 * MARGIN, width + 2 * MARGIN):
            # Count from the end: otherwise programs that take any size would contain a fixed size.
            z_b3hw = z_b3hw[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        elif z_b3hw.shape != photo_b3hw.shape:
            z_b3hw = z_b3hw[..., margin : margin + height, margin : margin + width]
        return (torch.tanh(z_b3hw) + 1.0) * 127.5, z_b3hw


def _extended(x_bchw: Tensor, margin: int, stride: int) -> Tensor:
    """Extend by `margin` on every side, and to a multiple of `stride` at the right and bottom.

    The extension is by reflection, or by replication if the image is too small for that.
    """
    height, width = map(int, x_bchw.shape[-2:])  # tracing would otherwise record them as operations
    bottom, right = (margin + -side % stride for side in (height, width))
    if not (bottom or right):
        return x_bchw
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(x_bchw, (margin, right, margin, bottom), mode=mode)

"""The Core ML operations that style networks consist of, in torch, with the rounding of a float16 computation.

Sources: the documentation of coremltools' MIL operations and the comments in NeuralNetwork.proto. Tensors are
(batch, channels, height, width), float32; `rounded` is applied to every intermediate result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.errors import UserError

__all__ = [
    "Compute",
    "Operation",
    "Rounding",
    "UnknownOperationError",
    "batch_norm",
    "convolution",
    "instance_norm",
    "pad",
    "same_padding",
    "to_float16",
    "unrounded",
    "upsample_nearest",
]

Rounding = Callable[[Tensor], Tensor]
Compute = Callable[..., Tensor]


class UnknownOperationError(UserError):
    """The file contains an operation, or a use of one, that is not supported."""


@dataclass(frozen=True)
class Operation:
    """One operation of a program: output = compute(rounded, *inputs); `rounded` rounds to the precision of the file."""

    name: str
    kind: str
    """Kind of operation, as the file names it."""
    inputs: tuple[str, ...]
    output: str
    compute: Compute
    float16: bool = False
    """Whether the file declares the result as float16."""
    integer: bool = False
    """Whether the file declares the result as integers, which are never rounded."""
    shape: tuple[int | None, ...] | None = None
    """Declared shape of the result, with None for each side that the file leaves open; None if it declares none."""

    @property
    def label(self) -> str:
        """Kind and name of the operation, for messages."""
        return f"{self.kind} '{self.name}'"


def unrounded(x: Tensor) -> Tensor:
    """Return `x` as it is, for a computation in float32."""
    return x


def to_float16(x: Tensor) -> Tensor:
    """Round to the nearest float16 value, or to infinity beyond 65504; the result is stored as float32."""
    return x.half().float()


def convolution(
    rounded: Rounding,
    x_bchw: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Pad with zeros, then cross-correlate as in torch's `conv2d`; products are summed in float32.

    Args:
        rounded: rounds weight and bias to the precision of the computation.
        x_bchw: input.
        weight: (output channels, input channels / groups, height, width).
        bias: (output channels,), or None.
        stride: vertical and horizontal.
        padding: pixels at the top, bottom, left and right.
        dilation: vertical and horizontal.
        groups: number of groups of channels.
    """
    top, bottom, left, right = padding
    symmetric = top == bottom and left == right
    if not symmetric:
        x_bchw = F.pad(x_bchw, (left, right, top, bottom))
    return F.conv2d(
        x_bchw,
        rounded(weight),
        None if bias is None else rounded(bias),
        tuple(stride),
        (top, left) if symmetric else 0,
        tuple(dilation),
        groups,
    )


def same_padding(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], *, lower: bool = False
) -> tuple[int, int, int, int]:
    """Return the padding (top, bottom, left, right) with which a convolution's output has ceil(size / stride) pixels.

    If the total padding of a dimension is odd, the extra pixel is at the bottom or right, with `lower` at the top or
    left. `size`, `kernel`, `stride` and `dilation` are (vertical, horizontal).
    """
    sides: list[int] = []
    for side, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        less, more = total // 2, total - total // 2
        sides += [more, less] if lower else [less, more]
    return sides[0], sides[1], sides[2], sides[3]


def instance_norm(rounded: Rounding, x_bchw: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """Compute gamma * (x - mean) / sqrt(variance + epsilon) + beta, with statistics over each channel of each image.

    The variance is biased (divided by the number of pixels). Sums are in float32, but the differences from the mean,
    their squares and the variance are rounded: a float16 computation has to store them, and they overflow in networks
    that take 0..255 without scaling. `gamma` and `beta` are (channels,).
    """
    centerd = rounded(x_bchw - rounded(x_bchw.mean((2, 3), keepdim=True)))
    variance = rounded(rounded(centerd.square()).mean((2, 3), keepdim=True))
    return batch_norm(rounded, centerd, gamma, beta, torch.zeros(()), variance, epsilon)


def batch_norm(
    rounded: Rounding, x_bchw: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    """Compute gamma * (x - mean) / sqrt(variance + epsilon) + beta, rounding every intermediate result.

    The four tensors are (channels,), or of a shape that broadcasts against `x_bchw`.
    """
    inverse = rounded(torch.rsqrt(rounded(_per_channel(variance) + epsilon)))
    normal = rounded(rounded(x_bchw - rounded(_per_channel(mean))) * inverse)
    return rounded(normal * rounded(_per_channel(gamma))) + rounded(_per_channel(beta))


def _per_channel(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1) if values.dim() == 1 else values


def upsample_nearest(x_bchw: Tensor, vertical: float, horizontal: float) -> Tensor:
    """Repeat every pixel `vertical` times `horizontal` times.

    Raises:
        UnknownOperationError: a factor is not a positive whole number.
    """
    if int(vertical) != vertical or int(horizontal) != horizontal or min(vertical, horizontal) < 1:
        raise UnknownOperationError(
            f"upsampling by {vertical} x {horizontal}, which is not a whole number, is not supported"
        )
    return x_bchw.repeat_interleave(int(vertical), 2).repeat_interleave(int(horizontal), 3)


def pad(x_bchw: Tensor, padding: Sequence[int], mode: str, value: float) -> Tensor:
    """Pad by (top, bottom, left, right) pixels; `mode` is constant (with `value`), reflect or replicate.

    Raises:
        UnknownOperationError: the mode is another.
    """
    top, bottom, left, right = padding
    if mode == "constant":
        return F.pad(x_bchw, (left, right, top, bottom), value=value)
    if mode in ("reflect", "replicate"):
        return F.pad(x_bchw, (left, right, top, bottom), mode=mode)
    raise UnknownOperationError(f"padding of mode {mode!r} is not supported")

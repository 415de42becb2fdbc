"""The operations of Core ML that a style network is made of, in torch, with the rounding of float16 computation.

Sources: the documentation of coremltools' MIL operations and the comments of NeuralNetwork.proto. Tensors are
(batch, channels, height, width), float32; `rounded` is what every intermediate result passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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


class UnknownOperationError(ValueError):
    """The file holds an operation, or a use of one, that is not known here."""


@dataclass(frozen=True)
class Operation:
    """One step of a program: result = compute(rounded, *inputs)."""

    name: str
    kind: str
    """In the file's words."""
    inputs: tuple[str, ...]
    output: str
    compute: Compute
    float16: bool = False
    """Whether the file declares its result float16."""
    shape: tuple[int | None, ...] | None = None
    """Of its result, as the file declares it; None where it leaves a side open."""

    @property
    def label(self) -> str:
        return f"{self.kind} '{self.name}'"


def unrounded(x: Tensor) -> Tensor:
    """Float32 computation."""
    return x


def to_float16(x: Tensor) -> Tensor:
    """To the nearest float16 value, infinity beyond 65504; float32 carries it."""
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
    """Zero padding (top, bottom, left, right), then cross-correlation; products are summed in float32."""
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
    """(top, bottom, left, right) for which the result has ceil(size / stride) pixels; an odd one goes to the end,
    or with `lower` to the beginning."""
    sides: list[int] = []
    for side, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        less, more = total // 2, total - total // 2
        sides += [more, less] if lower else [less, more]
    return sides[0], sides[1], sides[2], sides[3]


def instance_norm(rounded: Rounding, x_bchw: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta over each channel of each image; variance is biased.

    Sums are taken in float32, but deviations, their squares and the variance are rounded: a computation in float16 holds
    them, and that is where networks overflow that are fed 0..255.
    """
    centred = rounded(x_bchw - rounded(x_bchw.mean((2, 3), keepdim=True)))
    variance = rounded(rounded(centred.square()).mean((2, 3), keepdim=True))
    return batch_norm(rounded, centred, gamma, beta, torch.zeros(()), variance, epsilon)


def batch_norm(
    rounded: Rounding, x_bchw: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> Tensor:
    """gamma * (x - mean) / sqrt(variance + epsilon) + beta; per-channel values, or what broadcasts."""
    inverse = rounded(torch.rsqrt(rounded(_per_channel(variance) + epsilon)))
    normal = rounded(rounded(x_bchw - rounded(_per_channel(mean))) * inverse)
    return rounded(normal * rounded(_per_channel(gamma))) + rounded(_per_channel(beta))


def _per_channel(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1) if values.dim() == 1 else values


def upsample_nearest(x_bchw: Tensor, vertical: float, horizontal: float) -> Tensor:
    """Every pixel `vertical` times `horizontal` times.

    Raises:
        UnknownOperationError: a factor is no whole number.
    """
    if int(vertical) != vertical or int(horizontal) != horizontal or min(vertical, horizontal) < 1:
        raise UnknownOperationError(
            f"upsampling by {vertical} x {horizontal}, which is no whole number, is not known here"
        )
    return x_bchw.repeat_interleave(int(vertical), 2).repeat_interleave(int(horizontal), 3)


def pad(x_bchw: Tensor, padding: Sequence[int], mode: str, value: float) -> Tensor:
    """Pad (top, bottom, left, right); `mode` is constant, reflect or replicate."""
    top, bottom, left, right = padding
    if mode == "constant":
        return F.pad(x_bchw, (left, right, top, bottom), value=value)
    if mode in ("reflect", "replicate"):
        return F.pad(x_bchw, (left, right, top, bottom), mode=mode)
    raise UnknownOperationError(f"padding of mode {mode!r} is not known here")

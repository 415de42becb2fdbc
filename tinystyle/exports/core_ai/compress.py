"""Stores a network's convolutions in 8 bits or fewer, as operations that Apple's converter keeps. Imports coreai-torch."""

from __future__ import annotations

from typing import Any

import torch
from coreai_torch._compression import custom_layers  # registers the operations; there is no public place for them
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tinystyle.coreml.exporter.quantize import linear_per_channel, palette

__all__ = ["compress"]

_ = custom_layers


def compress(network: nn.Module, bits: int, dtype: torch.dtype) -> None:
    """Replace every convolution's weight by one that is made of integers, in place.

    Args:
        network: its weights are float32.
        bits: 8: linear per output channel; 6 or 4: a palette for each convolution; more: nothing is changed.
        dtype: type of the computation.
    """
    if bits > 8:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().to(dtype).numpy()
            stored = _Linear(weight) if bits == 8 else _Palette(weight, bits)
            parametrize.register_parametrization(module, "weight", stored, unsafe=True)


class _Linear(nn.Module):
    """weight = scale * (index - zero point), with a scale for each output channel."""

    def __init__(self, weight: NDArray[Any]) -> None:
        super().__init__()
        indices, scale, zero_point = map(torch.from_numpy, linear_per_channel(weight, 8))
        self.register_buffer("indices", indices)
        self.register_buffer("scale", scale.reshape(-1, 1, 1, 1))
        self.register_buffer("zero_point", zero_point.reshape(-1, 1, 1, 1))

    def forward(self, _: Tensor) -> Tensor:
        weight: Tensor = torch.ops.coreai.constexpr_blockwise_shift_scale(
            self.indices, self.scale, zero_point=self.zero_point, minval=None, input_dtype=None, output_dtype=None
        )
        return weight


class _Palette(nn.Module):
    """weight = palette[index]. The converter finds the buffers by their names."""

    def __init__(self, weight: NDArray[Any], bits: int) -> None:
        super().__init__()
        values, indices = palette(weight, bits)
        self.register_buffer("indices", torch.from_numpy(indices.reshape(weight.shape)))
        self.register_buffer("lut", torch.from_numpy(values).reshape(1, 1, 1, 1, -1, 1))

    def forward(self, _: Tensor) -> Tensor:
        weight: Tensor = torch.ops.coreai.lut_to_dense(self.indices, self.lut, 0)
        return weight

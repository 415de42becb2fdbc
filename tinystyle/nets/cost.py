"""The cost of running a network, found by running it on tensors without data. Does not depend on the architectures.

Conventions:
- a multiply-accumulate is one product and sum of a convolution; norms, activations and additions are not counted;
- activation bytes are the bytes moved if every operation reads its input images from memory once and writes its output
  once, in float16 (2 bytes per value), without fusion; weights are not counted, and cropping is free.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from tinystyle.errors import UserError

__all__ = ["Cost", "LayerCost", "network_cost"]

BYTES_PER_VALUE = 2


@dataclass(frozen=True)
class LayerCost:
    """One operation of the forward pass."""

    module: str
    """Path of the module that runs it, such as `down.0.conv`; empty for the network itself."""
    operation: str
    """Name of the torch function, such as `conv2d`."""
    output_shape: tuple[int, ...]
    """Shape of the output: (channels, height, width)."""
    weights: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class Cost:
    """The cost of one image: totals over `layers`, which are in order of execution."""

    weights: int
    macs: int
    activation_bytes: int
    layers: tuple[LayerCost, ...]


def network_cost(network: nn.Module, width: int = 640, height: int = 480) -> Cost:
    """Return the cost of one RGB image of `width` x `height` pixels, by the conventions above; no arithmetic is done.

    Raises:
        UserError: width or height is less than 1.
    """
    if width < 1 or height < 1:
        raise UserError(f"an image of {width}x{height} pixels has no content; both sides must be at least 1")
    network = copy.deepcopy(network).to("meta")
    recorder = _Recorder()
    for name, module in network.named_modules():
        module.register_forward_pre_hook(partial(recorder.enter, name))
        module.register_forward_hook(recorder.leave)
    with torch.inference_mode(), recorder:
        network(torch.empty(1, 3, height, width, device="meta"))
    layers = tuple(recorder.layers)
    return Cost(
        weights=sum(parameter.numel() for parameter in network.parameters()),
        macs=sum(layer.macs for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        layers=layers,
    )


class _Recorder(TorchFunctionMode):
    """Records every torch function that the network calls directly, not what those consist of inside torch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[LayerCost] = []
        self._path: list[str] = []

    def enter(self, name: str, _module: nn.Module, _inputs: Any) -> None:
        self._path.append(name)

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._path.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with FlopCounterMode(display=False) as flops:
            output = func(*args, **(kwargs or {}))
        tensors = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        # Outside of all modules, only the input is created; a slice is a view, which moves nothing.
        if self._path and isinstance(output, Tensor) and func is not Tensor.__getitem__:
            parameters = [value for value in tensors if isinstance(value, nn.Parameter)]
            moved = [value for value in tensors if not isinstance(value, nn.Parameter)] + [output]
            name = func.__name__.strip("_")
            self.layers.append(
                LayerCost(
                    module=self._path[-1],
                    operation=name,
                    output_shape=tuple(output.shape[1:]),
                    weights=sum(value.numel() for value in parameters),
                    macs=flops.get_total_flops() // 2,
                    activation_bytes=BYTES_PER_VALUE * sum(value.numel() for value in moved),
                )
            )
        return output

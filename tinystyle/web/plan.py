"""Describes a network as a list of layers, from which the page computes it. Does not depend on how it is written to a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from tinystyle.errors import UserError
from tinystyle.nets.blocks import MARGIN, ConvNorm, ResidualBlock, StyleNetwork

__all__ = ["Layer", "layers_of", "plan_of"]


@dataclass(frozen=True)
class Layer:
    """A convolution without bias and its instance norm, with what comes before and after them.

    Tensor 0 is the photo, RGB in 0..1; tensor n is what layer n - 1 puts out.
    """

    block: ConvNorm
    source: int
    """Index of the tensor that it reads."""
    up: int = 1
    """Factor by which the input is enlarged first, by repetition: 1 or 2."""
    relu: bool = True
    """Whether the norm is followed by a rectifier."""
    add: int = -1
    """Index of the tensor that is added at the end; -1 if none is."""

    def plan(self) -> dict[str, Any]:
        """Return what the page needs to know of the layer, besides its weights."""
        conv = self.block.conv
        return {
            "from": self.source,
            "in": conv.in_channels,
            "out": conv.out_channels,
            "kernel": conv.kernel_size[0],
            "stride": conv.stride[0],
            "up": self.up,
            "relu": self.relu,
            "add": self.add,
        }


def layers_of(network: StyleNetwork) -> list[Layer]:
    """Return the layers of a network in the order in which they are computed.

    Raises:
        UserError: the network is not made of the blocks of `StyleNetwork` alone.
    """
    layers: list[Layer] = []
    for block in network.down:
        layers.append(Layer(_conv_norm(block), len(layers)))
    for residual in network.residual:
        if not isinstance(residual, ResidualBlock):
            raise _unknown(residual)
        begin = len(layers)
        layers.append(Layer(residual.first, begin))
        layers.append(Layer(residual.second, begin + 1, relu=False, add=begin))
    for up in network.up:
        layers.append(Layer(_conv_norm(getattr(up, "block", up)), len(layers), up=2))
    layers.append(Layer(_conv_norm(network.out), len(layers), relu=False))
    if type(network).forward_with_preactivation is not StyleNetwork.forward_with_preactivation:
        raise _unknown(network)
    if unfit := [layer.block.conv for layer in layers if layer.block.conv.kernel_size[0] not in (3, 9)]:
        raise _unknown(unfit[0])
    return layers


def plan_of(network: StyleNetwork) -> dict[str, Any]:
    """Return the network without its weights, as the page gets it in JSON."""
    layers = [layer.plan() for layer in layers_of(network)]
    return {"margin": MARGIN, "multiple": network.stride, "layers": layers}


def _conv_norm(module: nn.Module) -> ConvNorm:
    if not isinstance(module, ConvNorm):
        raise _unknown(module)
    return module


def _unknown(module: nn.Module) -> UserError:
    return UserError(f"the page cannot compute {type(module).__name__}; it knows the layers of `small` and `johnson`")

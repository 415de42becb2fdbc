"""A network as a graph of ATen operations, from which exporters to other formats translate. Knows no format."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

__all__ = ["trace"]


def trace(network: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Return the operations that a network in evaluation mode runs for inputs of these shapes.

    Sizes are numbers in the graph. Where both sides of an image are multiples of the network's stride, all that depends
    on them is counted from the image's end, so the graph is right for every such size.

    Args:
        network: what is traced; it stays as it is.
        inputs: example inputs; the image, float32 in 0..255, (1, 3, height, width), is the first of them.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch about itself
        return torch.export.export(network.eval(), inputs)

"""The loss networks (perceptual networks). To add one, add a file here and a line in `PERCEPTUAL_NETWORKS`.

Importing this module does not import torch; loading a network does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from tinystyle.errors import UserError, closest

if TYPE_CHECKING:
    from tinystyle.nets.perceptual.features import PerceptualNetwork

__all__ = ["PERCEPTUAL_NETWORKS", "check_perceptual", "load_perceptual_network", "perceptual_sha256"]


class Entry(NamedTuple):
    """Facts about a loss network that are known without importing torch."""

    module: str
    """Module with the functions `load` and `source`, which take the URI of weights or None.

    `load` returns a `PerceptualNetwork`, `source` the location of the weights.
    """
    style_layers: tuple[str, ...]
    """Names of the layers that the style loss compares, from shallow (fine texture) to deep."""


PERCEPTUAL_NETWORKS = {
    "efficientnet-lite0": Entry(
        "tinystyle.nets.perceptual.efficientnet_lite0", ("stem", "block1.expand", "block3.expand", "block5.expand")
    ),
    "narrow": Entry("tinystyle.nets.perceptual.narrow", ("relu1_2", "relu2_2", "relu3_3", "relu4_3")),
    "vgg16": Entry("tinystyle.nets.perceptual.vgg16", ("relu1_2", "relu2_2", "relu3_3", "relu4_3")),
}
"""Loss networks by name."""


def check_perceptual(name: str) -> str:
    """Return `name`; if it is no loss network, raise UserError with the names of all loss networks."""
    if name not in PERCEPTUAL_NETWORKS:
        meant = closest(name, PERCEPTUAL_NETWORKS)
        raise UserError(f"unknown loss network {name!r}{meant}; choose one of {', '.join(sorted(PERCEPTUAL_NETWORKS))}")
    return name


def load_perceptual_network(name: str, weights: str | None = None) -> PerceptualNetwork:
    """Load the loss network `name`, with frozen weights.

    Args:
        name: a key of `PERCEPTUAL_NETWORKS`.
        weights: path or URI of a .pth or .safetensors file; None means the network's official weights.

    Raises:
        UserError: the name is unknown, or the weights are not available or belong to another network; the message says
            what to do.
    """
    network: PerceptualNetwork = import_module(PERCEPTUAL_NETWORKS[check_perceptual(name)].module).load(weights)
    return network


def perceptual_sha256(name: str, weights: str | None = None) -> str:
    """Return the hexadecimal SHA-256 of the weights file of a loss network, without building the network.

    Args:
        name: a key of `PERCEPTUAL_NETWORKS`.
        weights: path or URI of a .pth or .safetensors file; None means the network's official weights.

    Raises:
        UserError: the name is unknown, or the file is not available.
    """
    from tinystyle.nets.perceptual.weights import find_weights

    module = import_module(PERCEPTUAL_NETWORKS[check_perceptual(name)].module)
    return find_weights(name, module.source(weights))[2]

"""The perceptual (loss) networks. A new one is a file in this folder and a line in `PERCEPTUAL_NETWORKS`.

Importing this module does not import torch; loading a network does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.perceptual.features import PerceptualNetwork

__all__ = ["PERCEPTUAL_NETWORKS", "STYLE_LAYERS", "check_perceptual", "load_perceptual_network"]

PERCEPTUAL_NETWORKS = {
    "efficientnet-lite0": "tinystyle.perceptual.efficientnet_lite0:load",
    "vgg16": "tinystyle.perceptual.vgg16:load",
}
"""Name -> `module:function`, where the function takes a weights URI or None and returns a `PerceptualNetwork`."""


STYLE_LAYERS = {
    "efficientnet-lite0": ("stem", "block1.expand", "block3.expand", "block5.expand"),
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
}
"""Name -> the layers that the style loss compares, finest first. Here, so that weights of them are checked without torch."""


def check_perceptual(name: str) -> str:
    """Return `name`, or raise ValueError that lists the known perceptual networks."""
    if name not in PERCEPTUAL_NETWORKS:
        raise UserError(f"unknown perceptual network {name!r}; choose one of {', '.join(sorted(PERCEPTUAL_NETWORKS))}")
    return name


def load_perceptual_network(name: str, weights: str | None = None) -> PerceptualNetwork:
    """Load the perceptual network `name`, frozen.

    Args:
        name: a key of `PERCEPTUAL_NETWORKS`.
        weights: path or URI of a .pth or .safetensors file; None means the network's official weights.

    Raises:
        ValueError: unknown name, or the weights cannot be had or do not fit; the message names the ways out.
    """
    module, function = PERCEPTUAL_NETWORKS[check_perceptual(name)].split(":")
    network: PerceptualNetwork = getattr(import_module(module), function)(weights)
    return network

"""The style networks. To add one, add a file in this folder and a line in `ARCHITECTURES`.

Importing this module does not import torch; building a network does.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tinystyle.errors import UserError, closest

if TYPE_CHECKING:
    from tinystyle.nets.blocks import StyleNetwork

__all__ = ["ARCHITECTURES", "build_network", "check_architecture", "start_of"]

ARCHITECTURES = {
    "johnson": "tinystyle.nets.johnson:johnson",
    "small": "tinystyle.nets.small:small",
}
"""Architecture name -> `module:function`, where the function takes alpha and returns a `StyleNetwork`."""


def check_architecture(name: str) -> str:
    """Return `name`; if it is no architecture, raise UserError with the names of all architectures."""
    if name not in ARCHITECTURES:
        raise UserError(
            f"unknown architecture {name!r}{closest(name, ARCHITECTURES)}; choose one of {', '.join(sorted(ARCHITECTURES))}"
        )
    return name


def start_of(architecture: str, alpha: float, perceptual: str) -> Path | None:
    """Return the model file of initial weights that comes with the package for a network, made by benchmarks/start.py.

    From them a network learns a style in fewer steps than from random weights; None if there are none for this network.

    Args:
        architecture: a key of `ARCHITECTURES`.
        alpha: width multiplier.
        perceptual: name of the loss network; weights that have learned styles by it are preferred.
    """
    name = f"{architecture}-{alpha:g}"
    files = (Path(__file__).parent / "starts" / f"{each}.safetensors" for each in (f"{name}-{perceptual}", name))
    return next((path for path in files if path.exists()), None)


def build_network(architecture: str, alpha: float) -> StyleNetwork:
    """Build a style network with freshly initialized weights, in evaluation mode.

    Args:
        architecture: a key of `ARCHITECTURES`.
        alpha: width multiplier; a layer of base width b has int(alpha * b) filters.

    Raises:
        UserError: the architecture is unknown, or alpha leaves a layer without filters.
    """
    module, function = ARCHITECTURES[check_architecture(architecture)].split(":")
    network: StyleNetwork = getattr(import_module(module), function)(alpha)
    return network.eval()

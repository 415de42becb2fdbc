"""Model files of networks that nobody has trained, and whether two files hold the same weights."""

from __future__ import annotations

from pathlib import Path

import torch

from tinystyle.config import NetworkConfig
from tinystyle.model_file import load_model, save_model
from tinystyle.nets import build_network

__all__ = ["different_weights", "save_untrained"]


def save_untrained(path: Path) -> str:
    """Save `small` at alpha 0.1 with initial weights; returns the path as text."""
    config = NetworkConfig(alpha=0.1)
    save_model(build_network(config.architecture, config.alpha), path, config, {})
    return str(path)


def different_weights(one: Path, other: Path) -> list[str]:
    """Names of the weights that are not bit for bit the same in two model files."""
    ours, theirs = (load_model(path).network.state_dict() for path in (one, other))
    return [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])
    ]

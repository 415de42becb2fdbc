"""Model files of networks that nobody has trained, and whether two files hold the same weights."""

from __future__ import annotations

from pathlib import Path

import torch

from tinystyle.config import NetworkConfig
from tinystyle.model_file import LoadedStyles, NamedStyle, load_model, save_model, save_styles
from tinystyle.nets import build_network
from tinystyle.nets.styled import StyledNetwork, style_vector

__all__ = ["different_weights", "save_untrained", "save_untrained_styles", "untrained_styles"]


def save_untrained(path: Path) -> str:
    """Save `small` at alpha 0.1 with initial weights; returns the path as text."""
    config = NetworkConfig(alpha=0.1)
    save_model(build_network(config.architecture, config.alpha), path, config, {})
    return str(path)


def untrained_styles(*names: str, alpha: float = 0.1) -> LoadedStyles:
    """`small` with initial weights, and a style of every name, each unlike the others."""
    torch.manual_seed(1)
    network = build_network("small", alpha)
    vector = style_vector(network)
    table = torch.stack([vector + 0.2 * torch.randn(vector.shape) for _ in names])
    styles = tuple(NamedStyle(name, f"{index:x}" * 64) for index, name in enumerate(names))
    lineage = {"key": "0123456789abcdef", "style_name": "a and more", "style": "5" * 64, "dataset": "d" * 64}
    return LoadedStyles(StyledNetwork(network, table).eval(), NetworkConfig(alpha=alpha), lineage, styles)


def save_untrained_styles(path: Path, *names: str) -> Path:
    """Save `untrained_styles`; returns the path."""
    model = untrained_styles(*names)
    save_styles(model.network, path, model.config, {"key": "k"}, model.styles)
    return path


def different_weights(one: Path, other: Path) -> list[str]:
    """Names of the weights that are not bit for bit the same in two model files."""
    ours, theirs = (load_model(path).network.state_dict() for path in (one, other))
    return [
        name
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])
    ]

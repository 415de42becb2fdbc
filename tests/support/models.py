"""Model files of networks that nobody has trained."""

from __future__ import annotations

from pathlib import Path

from tinystyle.config import NetworkConfig
from tinystyle.model_file import save_model
from tinystyle.nets import build_network

__all__ = ["save_untrained"]


def save_untrained(path: Path) -> str:
    """Save `small` at alpha 0.1 with initial weights; returns the path as text."""
    config = NetworkConfig(alpha=0.1)
    save_model(build_network(config.architecture, config.alpha), path, config, {})
    return str(path)

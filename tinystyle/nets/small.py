"""`small`: `johnson` with one width throughout and three residual blocks. At alpha 0.3 it has 11,868 weights."""

from __future__ import annotations

from tinystyle.nets.blocks import StyleNetwork, filters

__all__ = ["small"]


def small(alpha: float) -> StyleNetwork:
    """Build a network with a width of 32 times alpha everywhere and three residual blocks."""
    width = filters(alpha, 32)
    return StyleNetwork((width, width, width), residual_blocks=3)

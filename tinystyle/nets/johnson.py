"""`johnson`: the network of Johnson et al. (arXiv:1603.08155). At alpha 1 it has 1,677,638 weights."""

from __future__ import annotations

from tinystyle.nets.blocks import StyleNetwork, filters

__all__ = ["johnson"]


def johnson(alpha: float) -> StyleNetwork:
    """Build a network with widths of 32, 64 and 128 times alpha and five residual blocks."""
    return StyleNetwork((filters(alpha, 32), filters(alpha, 64), filters(alpha, 128)), residual_blocks=5)

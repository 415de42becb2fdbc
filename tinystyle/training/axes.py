"""The look of all plots: their colors, and axes without ornament."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

__all__ = ["INK", "MUTED", "RULE", "plain"]

INK, MUTED, RULE = "#222226", "#6b6963", "#e4e1da"


def plain(axes: Axes, **ticks: Any) -> None:
    """Draw a light grid behind the data and no frame at the top and right; `ticks` are options of `tick_params`."""
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, **ticks)

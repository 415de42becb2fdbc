"""The curves of one run: losses, style weight and learning rate over its steps. Opens no windows; imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from tinystyle.data import storage
from tinystyle.training.axes import INK, plain

__all__ = ["Metrics", "write_curves"]

Metrics = dict[str, NDArray[np.float64]]
"""Name of a metric -> its value at each step; `step` has the steps, ascending."""

POINTS = 240
"""Points of a curve. One of more steps shows means, with the smallest and largest value behind them."""
PANELS = (
    ("content", "content loss", "#0072b2"),
    ("style", "style loss", "#d55e00"),
    ("style_weight", "style weight", "#009e73"),
    ("learning_rate", "learning rate", "#66645e"),
)
"""Metric, label and color of each panel; the colors are those of Okabe and Ito, 2008."""


def write_curves(path: Path, metrics: Metrics) -> None:
    """Write the curves as an SVG, one panel for each of `PANELS` that the run has, over a shared axis of steps."""
    panels = [panel for panel in PANELS if panel[0] in metrics]
    figure = Figure(figsize=(8.6, 1.9 * len(panels) + 0.4), layout="constrained", facecolor="white")
    axes: Sequence[Axes] = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True)).tolist()
    for panel, (name, label, color) in zip(axes, panels, strict=True):
        _draw(panel, metrics["step"], metrics[name], color)
        panel.set_ylabel(label, color=INK)
    axes[-1].set_xlabel("step", color=INK)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    with storage.atomic_path(path) as temporary, rc_context({"svg.fonttype": "none", "svg.hashsalt": "tinystyle"}):
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def _draw(axes: Axes, steps: NDArray[np.float64], values: NDArray[np.float64], color: str) -> None:
    plain(axes)
    count = min(POINTS, len(steps))
    x = [part.mean() for part in np.array_split(steps, count)]
    parts = np.array_split(values, count)
    if len(steps) > POINTS:
        lowest, highest = [part.min() for part in parts], [part.max() for part in parts]
        axes.fill_between(x, lowest, highest, color=color, alpha=0.18, linewidth=0)
    axes.plot(x, [part.mean() for part in parts], color=color, linewidth=1.4)
    shown = values[len(values) // 50 :]  # the first steps of a run are far off, and would flatten the rest
    margin = 0.08 * (shown.max() - shown.min()) or 0.1 * abs(shown.max()) or 1
    axes.set_ylim(shown.min() - margin, shown.max() + margin)

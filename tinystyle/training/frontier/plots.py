"""The plots of one style: quality of its networks against each cost. Opens no windows; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from tinystyle.data import storage
from tinystyle.training.axes import INK, MUTED, plain
from tinystyle.training.frontier.rows import COSTS, Row, fronts

__all__ = ["AXES", "COLORS", "plot", "write_plots"]

AXES = {
    "weights": "weights",
    "bytes": "bytes of the 8-bit .mlmodel",
    "macs": "multiply-accumulates at 640x480",
    "latency_ms": "milliseconds at 640x480, this CPU",
}
"""Axis label of each cost."""
PANELS = ("score", "content", "paint3", "paint4")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colors of the architectures, distinguishable with any type of color vision (Okabe and Ito, 2008)."""
MARKERS = ("o", "s", "^", "D", "v", "P")


def write_plots(folder: Path, stem: str, rows: Sequence[Row], architectures: Sequence[str]) -> dict[str, Path]:
    """Write one PNG for each cost, STEM-COST.png, and return their paths by cost.

    Args:
        folder: output folder.
        stem: beginning of the file names.
        rows: rows of one style, including baselines.
        architectures: all architectures of the page, in the order of `COLORS`.
    """
    paths = {cost: folder / f"{stem}-{cost.removesuffix('_ms')}.png" for cost in COSTS}
    for cost, path in paths.items():
        with storage.atomic_path(path) as temporary:
            plot(rows, cost, architectures).savefig(temporary, format="png", dpi=220, metadata={"Software": None})
    return paths


def plot(rows: Sequence[Row], cost: str, architectures: Sequence[str]) -> Figure:
    """Draw score, content, paint3 and paint4 in panels below each other, over a shared logarithmic cost axis.

    Each architecture has a color and a marker, and its points are joined in order of alpha. The Pareto front is a dark
    line over the scores, and its points are ringed in every panel. A dashed line shows the color matching baseline.
    """
    figure = Figure(figsize=(3.9, 7.4), layout="constrained", facecolor="white")
    panels: Sequence[Axes] = figure.subplots(len(PANELS), 1, sharex=True, height_ratios=[1.7, 1, 1, 1])
    styles = {
        name: (COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]) for index, name in enumerate(architectures)
    }
    front = fronts(rows)[cost]
    baseline = next((row for row in rows if row.name == "color match"), None)
    for axes, measure in zip(panels, PANELS, strict=True):
        _panel(axes, rows, cost, measure, styles, front, baseline)
        axes.set_ylabel(measure)
    first, last = panels[0], panels[-1]
    if len(front) > 1:
        first.step(_values(front, cost), _values(front, "score"), where="post", color=INK, linewidth=1.2, zorder=2)
    last.set_xlabel(AXES[cost])
    _scale(last, _values(_judged(rows, cost), cost))
    shown = [name for name in architectures if any(row.architecture == name for row in rows)]
    figure.legend(
        handles=[*(_handle(*styles[name], name) for name in shown), *_other_handles(baseline)],
        loc="outside upper center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    return figure


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    """Make the cost axis logarithmic; without any costs, remove its ticks."""
    if not costs:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if max(costs) < 100 * min(costs):  # otherwise the axis might have one label or none
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _judged(rows: Sequence[Row], cost: str) -> list[Row]:
    """Return the rows that can be plotted: networks with both a cost and a score."""
    return [row for row in rows if row.architecture and None not in (getattr(row, cost), row.score)]


def _panel(
    axes: Axes,
    rows: Sequence[Row],
    cost: str,
    measure: str,
    styles: Mapping[str, tuple[str, str]],
    front: Sequence[Row],
    baseline: Row | None,
) -> None:
    plain(axes, labelsize=8)
    axes.margins(x=0.08, y=0.22)
    if baseline is not None and (level := getattr(baseline, measure)) is not None:
        axes.axhline(level, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    judged = _judged(rows, cost)
    for name, (color, marker) in styles.items():
        mine = sorted((row for row in judged if row.architecture == name), key=lambda row: row.alpha or 0)
        x, y = _values(mine, cost), _values(mine, measure)
        axes.plot(x, y, color=color, linewidth=0.9, alpha=0.45, zorder=1)
        axes.plot(x, y, color=color, marker=marker, markersize=4.5, linestyle="none", zorder=3)
    axes.plot(
        _values(front, cost), _values(front, measure), marker="o", markersize=8.5, markerfacecolor="none",
        markeredgecolor=INK, markeredgewidth=1.1, linestyle="none", zorder=4,
    )  # fmt: skip
    for row in judged:
        _label(axes, row, judged, cost, measure, styles[str(row.architecture)][0])


def _label(axes: Axes, row: Row, judged: Sequence[Row], cost: str, measure: str, color: str) -> None:
    """Write a point's alpha below it, or above it if another point is close below."""
    x, y = float(getattr(row, cost)), float(getattr(row, measure))
    costs = _values(judged, cost)
    near = max(1.2, (max(costs) / min(costs)) ** 0.07)  # a cost ratio that spans 7% of the axis
    crowded = any(
        x / near <= float(getattr(other, cost)) <= x * near and getattr(other, measure) < y
        for other in judged
        if other is not row
    )
    axes.annotate(
        f"{row.alpha:g}", (x, y), xytext=(0, 6.5 if crowded else -12.5), textcoords="offset points", ha="center",
        fontsize=7.5, color=color, zorder=5, path_effects=[withStroke(linewidth=2, foreground="white")],
    )  # fmt: skip


def _values(rows: Sequence[Row], name: str) -> list[float]:
    return [float(value) for row in rows if (value := getattr(row, name)) is not None]


def _handle(color: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=color, marker=marker, markersize=5, linewidth=0.9, label=f"{label}, by alpha")


def _other_handles(baseline: Row | None) -> list[Line2D]:
    ring = Line2D(
        [], [], color=INK, marker="o", markersize=9, markerfacecolor="none", linewidth=1.2, label="Pareto front"
    )
    dashes = Line2D([], [], color=MUTED, linestyle=(0, (4, 3)), linewidth=1, label="color match")
    return [ring, dashes] if baseline is not None else [ring]

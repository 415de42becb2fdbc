"""`tinystyle frontier`: what networks of many sizes are worth against what they cost, as one page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tinystyle.commands.terminal import FAILED, STOPPED, photo_progress, resumable, say, screen
from tinystyle.config import DataConfig, LossConfig, OptimizerConfig

if TYPE_CHECKING:
    from tinystyle.frontier.rows import Row

__all__ = ["frontier"]

_LOSS = LossConfig()
_DATA = DataConfig()
_OPTIMIZER = OptimizerConfig()
_ARCHITECTURES = ["johnson", "small"]
_ALPHAS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]


def frontier(
    photos: Annotated[str, typer.Option(help="Dataset made by `tinystyle ingest`, or a folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the runs, frontier.html, frontier.csv, plots and gallery.")],
    style: Annotated[
        list[str] | None, typer.Option(help="Style image: path, URI or builtin:NAME. Repeat it for several styles.")
    ] = None,
    architecture: Annotated[
        list[str], typer.Option(help="See `tinystyle networks`. Repeat it for several.")
    ] = _ARCHITECTURES,
    alpha: Annotated[list[float], typer.Option(help="Width multiplier. Repeat it for several.")] = _ALPHAS,
    collect: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a finished run, or of several, to show in place of training. Repeat it for several."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of every run.")] = _OPTIMIZER.steps,
    size: Annotated[int, typer.Option(help="Side of the training crops in pixels.")] = _DATA.size,
    batch_size: Annotated[int, typer.Option(help="Photos per training step.")] = _DATA.batch_size,
    seed: Annotated[int, typer.Option(help="Seed of initial weights, data order and augmentation.")] = 0,
    perceptual: Annotated[
        str, typer.Option(help="Loss network that trains and judges: vgg16 or efficientnet-lite0.")
    ] = _LOSS.perceptual,
    perceptual_weights: Annotated[
        str | None, typer.Option(help="Its weights: path or URI, .pth or .safetensors. [default: the official file]")
    ] = None,
    max_photos: Annotated[
        int, typer.Option(help="Judge by at most so many held-out photos, evenly spaced.", min=1)
    ] = 64,
    gallery_photos: Annotated[
        int, typer.Option(help="Show at most so many held-out photos in the gallery.", min=1, max=24)
    ] = 4,
    judge_size: Annotated[
        int | None,
        typer.Option(
            help="Short side of the judged photos in pixels. [default: 384, or the dataset's if smaller]",
            min=32,
            max=4096,
        ),
    ] = None,
) -> None:
    """Train or collect networks of many sizes, and show quality against cost as one HTML page.

    For every style: content and distance to the painting, against weights, bytes, multiply-accumulates and latency on this
    machine, with the Pareto front; a table; a gallery. Finished runs are kept: the same command completes an interrupted one.
    """
    from tinystyle.frontier.experiment import Options, run_frontier
    from tinystyle.frontier.grid import Recipe, StoppedError

    options = Options(
        out=out,
        recipe=Recipe(
            photos=photos,
            loss=LossConfig(perceptual=perceptual, perceptual_weights=perceptual_weights),
            data=DataConfig(size=size, batch_size=batch_size),
            optimizer=OptimizerConfig(steps=steps),
            seed=seed,
        ),
        styles=style or [],
        architectures=architecture,
        alphas=alpha,
        collect=collect or [],
        max_photos=max_photos,
        gallery_photos=gallery_photos,
        judge_size=judge_size,
    )
    with resumable(), photo_progress() as progress:
        try:
            found = run_frontier(options, progress=progress)
        except StoppedError as stop:
            say(f"{stop}; resume with: {shlex.join(['tinystyle', *sys.argv[1:]])}")
            raise typer.Exit(STOPPED) from stop
    for name in dict.fromkeys(row.style_name for row in found.rows):
        screen.print(_table(name, [row for row in found.rows if row.style_name == name]))
    for row in found.rows:
        if row.message:
            say(f"{row.style_name}, {row.name}: {row.state}: {row.message}")
    screen.print(f"{found.page}: plots, table and gallery; {found.csv}: all figures", soft_wrap=True)
    if found.failed:
        runs = "1 run" if len(found.failed) == 1 else f"{len(found.failed)} runs"
        say(f"Error: {runs} failed; the same command tries again")
        raise typer.Exit(FAILED)


def _table(title: str, rows: Sequence[Row]) -> Table:
    """What is most important of one style's rows; the page and the CSV have all of it."""
    table = Table("network", title=title)
    for heading in ("score", "content", "paint3", "paint4", "weights", "bytes", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        worth = (row.score, row.content, row.paint3, row.paint4)
        cells = [f"{value:.3f}" if value is not None else "" for value in worth]
        cells += [f"{value:,}" if value is not None else "" for value in (row.weights, row.bytes)]
        cells.append(f"{row.latency_ms:.0f}" if row.latency_ms is not None else "")
        table.add_row(row.name, *cells)
    return table

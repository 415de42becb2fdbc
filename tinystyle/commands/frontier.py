"""`tinystyle frontier`: quality against cost for networks of many sizes, on one HTML page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tinystyle.commands.options import run_options
from tinystyle.commands.terminal import FAILED, STOPPED, photo_progress, resumable, say, screen
from tinystyle.config import PARAMETERS, run_config
from tinystyle.nets import ARCHITECTURES

if TYPE_CHECKING:
    from tinystyle.training.frontier.rows import Row

__all__ = ["frontier"]

_ARCHITECTURES = sorted(ARCHITECTURES)
_NOT_OPTIONS = (
    "style", "photos", "architecture", "alpha", "checkpoints", "track", "styles", "freeze_trunk", "teacher", "teacher_share",
)  # fmt: skip
"""Parameters of a run that the command sets, or asks for in its own way, and those of one style or network alone."""
_ALPHAS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]


@run_options(*(name for name in PARAMETERS if name not in _NOT_OPTIONS))
def frontier(
    photos: Annotated[str, typer.Option("--photos", "-p", help=PARAMETERS["photos"].help)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the runs, frontier.html, frontier.csv, the plots and the gallery."
        ),
    ],
    style: Annotated[
        list[str] | None,
        typer.Option("--style", "-s", help=f"{PARAMETERS['style'].help} Repeat the option for several styles."),
    ] = None,
    architecture: Annotated[
        list[str], typer.Option(help="Architecture of the networks to train. Repeat the option for several.")
    ] = _ARCHITECTURES,
    alpha: Annotated[
        list[float], typer.Option(help="Width multiplier of the networks to train. Repeat the option for several.")
    ] = _ALPHAS,
    collect: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of one or more finished runs to compare instead of training. Repeat the option for several."
        ),
    ] = None,
    max_photos: Annotated[
        int, typer.Option(help="Maximum number of held-out photos to evaluate on, evenly spaced.", min=1)
    ] = 64,
    gallery_photos: Annotated[
        int, typer.Option(help="Maximum number of held-out photos in the gallery.", min=1, max=24)
    ] = 4,
    judge_size: Annotated[
        int | None,
        typer.Option(
            help="Short side, in pixels, to which the photos are scaled down for the evaluation. "
            "[default: 384, or the dataset's if smaller]",
            min=32,
            max=4096,
        ),
    ] = None,
    *,
    parameters: dict[str, Any],
) -> None:
    """Compare quality and cost of networks of many sizes on one page.

    For every style, the page has plots of the content loss and the distances to the style image (paint3, paint4)
    against the number of weights, file size, multiply-accumulates and latency on this machine, with the Pareto front; a
    table; and a gallery. Finished runs are kept: rerun the same command to complete an interrupted one. All other
    parameters are those of `tinystyle train`.
    """
    from tinystyle.training.frontier.experiment import Options, run_frontier
    from tinystyle.training.frontier.grid import StoppedError

    options = Options(
        out=out,
        recipe=run_config({"style": "", "photos": photos, **parameters}),
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
    screen.print(f"{found.page}: plots, table and gallery; {found.csv}: all metrics", soft_wrap=True)
    if found.failed:
        runs = "1 run" if len(found.failed) == 1 else f"{len(found.failed)} runs"
        say(f"Error: {runs} failed; the same command tries again")
        raise typer.Exit(FAILED)


def _table(title: str, rows: Sequence[Row]) -> Table:
    """Return a table of the most important metrics of one style; the page and the CSV file have all of them."""
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

"""All of `tinystyle frontier`: train or collect runs, measure them one by one, time them together, and show the result.

Validates everything it can before any training starts. Finished work is on disk, so the same call completes the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from tinystyle.config import AUTO, RANDOM, RunConfig
from tinystyle.data import storage
from tinystyle.data.ingest import Progress
from tinystyle.data.locks import ConcurrentIngestError, exclusive
from tinystyle.errors import UserError
from tinystyle.evaluation import Stylize, color_match
from tinystyle.model_file import load_model
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.training.frontier.collect import collect
from tinystyle.training.frontier.gallery import SHORT_SIDE, write_pictures
from tinystyle.training.frontier.grid import Cell, make_grid, prepare_cell, train_cell
from tinystyle.training.frontier.judge import Judge
from tinystyle.training.frontier.latency import ROUNDS, cpu_name, interleaved_latencies
from tinystyle.training.frontier.measure import baseline_rows, run_row
from tinystyle.training.frontier.names import slug, told_apart
from tinystyle.training.frontier.page import Facts, Pictures, write_page
from tinystyle.training.frontier.plots import write_plots
from tinystyle.training.frontier.rows import Row, RowFile, write_csv
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder

__all__ = ["Frontier", "Options", "run_frontier"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `tinystyle frontier`."""

    out: Path
    recipe: RunConfig
    """Configuration shared by all runs; its style and network are replaced. Its photos and loss network are also used
    to measure the quality of the networks."""
    styles: Sequence[str] = ()
    architectures: Sequence[str] = ()
    alphas: Sequence[float] = ()
    collect: Sequence[Path] = ()
    """Folders of finished runs to use instead of training."""
    max_photos: int = 64
    gallery_photos: int = 4
    judge_size: int | None = None
    """Short side, in pixels, of the photos used for measuring; None means 384, or the dataset's if that is smaller."""


@dataclass(frozen=True)
class Frontier:
    """The result of `run_frontier`."""

    rows: list[Row]
    page: Path
    csv: Path

    @property
    def failed(self) -> list[Row]:
        """The rows of failed runs; the same command trains them again."""
        return [row for row in self.rows if row.state == "failed"]


def run_frontier(options: Options, *, progress: Progress | None = None) -> Frontier:
    """Train or collect a grid of networks, measure them, and write the plots, the table and the page.

    Args:
        options: what to train or collect, and how to measure it.
        progress: called after each ingested photo.

    Raises:
        UserError: an option is invalid, or an input is missing or damaged; raised before any training starts.
        StoppedError: a training run was stopped by SIGTERM or SIGINT; the same call resumes it.
        OSError: a file cannot be read or written.
    """
    out, recipe = options.out, options.recipe
    with ExitStack() as stack:
        cells = [] if options.collect else _grid(options)
        found = collect(options.collect, options.styles) if options.collect else []
        judge = Judge(
            recipe.photos,
            recipe.loss,
            recipe.data.size,
            side=options.judge_size,
            max_photos=options.max_photos,
            progress=progress,
        )
        storage.check_writable(out)
        try:
            stack.enter_context(exclusive(str(out), wait=False))
        except ConcurrentIngestError as error:
            raise UserError(
                f"{out} is in use by another command; wait until it ends, or choose another `out`"
            ) from error
        file = RowFile(out / "frontier.jsonl")
        measured = _measured(
            ((run.record, run.folder, run.image) for run in found) if found else _trained(cells, judge, file, progress),
            judge,
            file,
        )
        rows = told_apart([*measured, *(_impossible(cell, judge, measured) for cell in cells if cell.impossible)])
        return _show(rows, judge, options)


def _grid(options: Options) -> list[Cell]:
    recipe = options.recipe
    if recipe.init_from == AUTO:
        # The weights that come for some of the networks would favor these.
        recipe = recipe.model_copy(update={"init_from": RANDOM})
    return make_grid(recipe, options.styles, options.architectures, options.alphas, options.out / "runs")


def _trained(
    cells: Sequence[Cell], judge: Judge, file: RowFile, progress: Progress | None
) -> Iterator[tuple[RunRecord, Path, str]]:
    """Validate all cells, then train them one by one. Runs that collapsed in an earlier call are not repeated."""
    possible = [cell for cell in cells if not cell.impossible]
    records = [prepare_cell(cell, progress) for cell in possible]
    for cell, record in zip(possible, records, strict=True):
        before = file.get(record.lineage["key"], judge.key)
        if before and before.state == "collapsed" and record.state != "completed":
            record.update(cell.folder, state="collapsed", message=before.message)
        else:
            record = train_cell(cell, record)
        yield record, cell.folder, cell.config.style


def _measured(runs: Iterator[tuple[RunRecord, Path, str]], judge: Judge, file: RowFile) -> list[Row]:
    """Return the rows of runs, each measured as soon as its run has ended, after the baselines of its style."""
    rows: list[Row] = []
    for record, folder, image in runs:
        key, style = record.lineage["key"], record.lineage["style"]
        if not any(row.style == style for row in rows):
            rows += baseline_rows(judge, image, record.lineage["style_name"], style, file)
        row = file.get(key, judge.key)
        if row is None:
            row = run_row(judge, record, folder, image)
            if row.state != "failed":
                file.append(row)
            worth = f"score {row.score:.3f}" if row.score is not None else f"{row.state}: {row.message}"
            _LOG.info("%s, %s: %s", row.style_name, row.name, worth)
        rows.append(row.model_copy(update={"folder": str(folder), "image": image}))
    return rows


def _impossible(cell: Cell, judge: Judge, measured: Sequence[Row]) -> Row:
    network = cell.config.network
    return Row(
        key="",
        judge=judge.key,
        style=next(row.style for row in measured if row.image == cell.config.style),
        style_name=cell.style_name,
        image=cell.config.style,
        name=f"{network.architecture} {network.alpha:g}",
        state="impossible",
        message=cell.impossible,
        architecture=network.architecture,
        alpha=network.alpha,
    )


def _show(rows: Sequence[Row], judge: Judge, options: Options) -> Frontier:
    """Time all networks together, and write the CSV file, the plots, the gallery and the page."""
    networks = {
        (row.style, row.key): _network(RunFolder(Path(str(row.folder))).model)
        for row in rows
        if row.state == "completed"
    }
    # Latency does not depend on the weights, so one network per architecture and alpha is timed for all styles.
    shapes = {(row.architecture, row.alpha): networks[row.style, row.key] for row in rows if row.state == "completed"}
    if shapes:
        _LOG.info("Timing %d networks in %d rounds", len(shapes), ROUNDS)
    latencies = interleaved_latencies(shapes)
    rows = [
        row.model_copy(update={"latency_ms": latencies[row.architecture, row.alpha]})
        if row.state == "completed"
        else row
        for row in rows
    ]
    out = options.out
    write_csv(out / "frontier.csv", rows)
    pictures = _gallery(rows, networks, judge, options)
    architectures = sorted({row.architecture for row in rows if row.architecture})
    plots = {
        style: write_plots(out / "plots", slug(of_style[0].style_name), of_style, architectures)
        for style in dict.fromkeys(row.style for row in rows)
        if (of_style := [row for row in rows if row.style == style])
    }
    facts = Facts(
        photos=judge.source,
        count=judge.count,
        side=judge.side,
        perceptual=judge.loss.perceptual,
        second=judge.second,
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        rounds=ROUNDS,
    )
    write_page(out / "frontier.html", rows, plots, pictures, facts)
    return Frontier(rows, out / "frontier.html", out / "frontier.csv")


def _network(model_file: Path) -> StyleNetwork:
    network: StyleNetwork = load_model(model_file).network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _gallery(
    rows: Sequence[Row], networks: dict[tuple[str, str], StyleNetwork], judge: Judge, options: Options
) -> Pictures:
    folder = options.out / "gallery"
    shown = judge.shown(options.gallery_photos, SHORT_SIDE)
    photos = [photo for _, photo in shown]
    made: dict[tuple[str, str], list[Path]] = {}
    for row in rows:
        stylize: Stylize | None = networks.get((row.style, row.key))
        if row.name == "color match":
            stylize = color_match(judge.style_tensor(row.image))
        if stylize:
            made[row.style, row.key] = write_pictures(folder, slug(f"{row.style_name}-{row.name}"), stylize, photos)
    return Pictures([name for name, _ in shown], write_pictures(folder, "photo", lambda photo: photo, photos), made)

"""Reports the progress of a run: a bar or lines on the terminal, metrics and previews in MLflow."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tinystyle.data.manifest import Manifest
from tinystyle.errors import UserError
from tinystyle.tracking.connection import run_page
from tinystyle.tracking.run import Tracker, complete_run, flatten, run_tags
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder, metric_lines, store_may_be_away
from tinystyle.training.style_list import style_title

__all__ = ["Progress", "columns", "complete_tracking"]

_OTHER_COLUMNS = 14
"""Width of a spinner, of the time left, and of the spaces between columns."""

LINE_SECONDS = 15.0
"""Seconds between progress lines when stderr is not a terminal."""
_ARTIFACTS = "model"
"""Folder of the files of a completed run, among the artifacts of its MLflow run."""
TRACK_EVERY = 10
"""Number of steps between metrics sent to MLflow; metrics.jsonl has every step."""
TRACKING_STATUS = {"completed": "FINISHED", "stopped": "KILLED", "collapsed": "FAILED"}


class Progress:
    """Reports the progress of one run to the terminal, MLflow and the run record; only the first process does so.

    Args:
        record: the run.
        folder: folder of the run.
        active: whether this process reports at all.
        visible: whether it draws on the terminal.
    """

    def __init__(self, record: RunRecord, folder: Path, *, active: bool, visible: bool) -> None:
        self.record = record
        self.folder = folder
        self.total = record.config.optimizer.steps
        self.console = Console(stderr=True, quiet=not (active and visible))
        self.bar = RichProgress(
            *columns(self.console.width),
            console=self.console,
            disable=not (active and visible and self.console.is_terminal),
        )
        self.task = self.bar.add_task("", total=self.total, completed=record.step)
        self.tracker = self._tracker() if active and record.config.execution.track else None
        self._last_line = -LINE_SECONDS

    def _tracker(self) -> Tracker:
        config, key = self.record.config, self.record.lineage["key"]
        style = style_title(config)
        name = f"{style} {config.network.architecture} {config.network.alpha:g}"
        tracker = Tracker(
            style,
            f"{name} {key[:6]}",
            self.record.tracking_run,
            flatten(config.model_dump(mode="json")),
            run_tags(self.record.lineage)
            | {
                "mlflow.note.content": f"{name} in the style of {', '.join(config.styles) or config.style}, on {config.photos}"
            },
            self._tracking_started,
        )
        if tracker.run_id and tracker.experiment_id:
            self.record.update(self.folder, tracking_page=run_page(tracker.run_id, tracker.experiment_id))
        manifest = Manifest.read(self.record.dataset)
        tracker.dataset(config.photos.rstrip("/").rsplit("/", 1)[-1], manifest.sha256(), config.photos, manifest.count)
        return tracker

    def _tracking_started(self, run_id: str) -> None:
        self.record.update(self.folder, tracking_run=run_id, tracking_page=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if kind is not None and self.tracker:
            self.tracker.finish("FAILED" if issubclass(kind, Exception) else "KILLED")

    def step(self, step: int, values: dict[str, float]) -> None:
        """Report the losses of a training step."""
        text = _figures(values)
        taken = len(f"{self.total}/{self.total}") + _bar_width(self.console.width) + _OTHER_COLUMNS
        self.bar.update(self.task, completed=step, description=_figures(values, self.console.width - taken))
        if self.bar.disable and (monotonic() - self._last_line >= LINE_SECONDS or step == self.total):
            self._last_line = monotonic()
            self.console.print(f"step {step}/{self.total}  {text}", highlight=False)
        if self.tracker and _is_tracked(step, self.total):
            self.tracker.metrics(step, _of_training(values))

    def saved(self, step: int) -> None:
        """Note in the run record that the checkpoint of a step has been saved."""
        self.record.update(self.folder, step=step)

    def held_out(self, step: int, values: dict[str, float]) -> None:
        """Report the losses on held-out photos, and save them in the run record."""
        self.record.update(self.folder, results=values)
        with store_may_be_away(self.record.config.execution.checkpoints, "the record there is not updated"):
            self.record.write_beside_checkpoints()
        if self.tracker:
            self.tracker.metrics(step, _of_held_out(values))

    def preview(self, path: Path, step: int) -> None:
        """Log a new preview to MLflow."""
        if self.tracker:
            self.tracker.image(path, "preview", step)

    def finish(self) -> None:
        """Close the MLflow run with the final state of the record; a completed run uploads its model and record."""
        if not self.tracker:
            return
        completed = self.record.state == "completed"
        folder = RunFolder(self.folder)
        files = (folder.model, folder.record) if completed else ()
        self.tracker.finish(TRACKING_STATUS[self.record.state], files, _ARTIFACTS)


def complete_tracking(record: RunRecord, folder: Path) -> bool:
    """Bring the MLflow run of a completed training up to date, which it is not if MLflow was away at the end.

    Returns:
        Whether it was not.

    Raises:
        UserError: the training has no MLflow run, or MLflow does not answer.
    """
    if record.tracking_run is None:
        raise UserError(f"{folder} has no MLflow run")
    files = RunFolder(folder)
    lines = dict(metric_lines(files.metrics))
    metrics = [
        (step, _of_training({name: value for name, value in lines[step].items() if name != "step"}))
        for step in sorted(lines)
        if _is_tracked(step, record.config.optimizer.steps)
    ]
    held_out = {name: value for name, value in record.results.items() if name.startswith("held_out_")}
    metrics.append((record.step, _of_held_out(held_out)))
    return complete_run(record.tracking_run, metrics, (files.model, files.record), _ARTIFACTS)


def _is_tracked(step: int, total: int) -> bool:
    return step % TRACK_EVERY == 0 or step == total


def _of_training(values: dict[str, float]) -> dict[str, float]:
    """Return the metrics of a step by their names in MLflow."""
    return {f"train/{name}": value for name, value in values.items()}


def _of_held_out(values: dict[str, float]) -> dict[str, float]:
    return {name.replace("held_out_", "held_out/"): value for name, value in values.items()}


def columns(width: int) -> list[ProgressColumn]:
    """Return the columns of the progress bar on a terminal of `width` columns; those that matter most come first."""
    bar = [BarColumn(bar_width=_bar_width(width))] if _bar_width(width) else []
    return [SpinnerColumn(), MofNCompleteColumn(), TimeRemainingColumn(), *bar, TextColumn("{task.description}")]


def _bar_width(columns: int) -> int:
    """Return the width of the bar on a terminal of so many columns; on a narrow one, figures are worth more."""
    return min(40, max(0, (columns - 40) // 4))


def _figures(values: dict[str, float], columns: int | None = None) -> str:
    """Return the losses of a step and its speed; if `columns` are too few for all, the most important ones.

    Content and style loss are as they are, the total is weighted; the weight is behind the style loss.
    """
    if "imitation" in values:
        parts = [f"from the teacher {values['imitation']:.3f}"]
    else:
        style = f"style {values['style']:.3f}"
        if "style_weight" in values:
            style += f" (x{values['style_weight']:.3g})"
        parts = [f"content {values['content']:.3f}", style, f"total {values['total']:.3f}"]
    parts.append(f"{values['images_per_second']:.1f} images/s")
    for kept in (parts, parts[-2:], parts[-1:], []):
        text = "  ".join(kept)
        if columns is None or len(text) <= columns:
            break
    return text

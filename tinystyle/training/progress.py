"""Reports the progress of a run: a bar or lines on the terminal, metrics and previews in MLflow."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tinystyle import styles
from tinystyle.data.manifest import Manifest
from tinystyle.tracking.run import Tracker, flatten, run_tags
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder, store_may_be_away

__all__ = ["Progress"]

LINE_SECONDS = 15.0
"""Seconds between progress lines when stderr is not a terminal."""
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
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        ]
        self.bar = RichProgress(
            *columns, console=self.console, disable=not (active and visible and self.console.is_terminal)
        )
        self.task = self.bar.add_task("", total=self.total, completed=record.step)
        self.tracker = self._tracker() if active and record.config.execution.track else None
        self._last_line = -LINE_SECONDS

    def _tracker(self) -> Tracker:
        config, key = self.record.config, self.record.lineage["key"]
        style = styles.image_name(config.style)
        name = f"{style} {config.network.architecture} {config.network.alpha:g}"
        tracker = Tracker(
            style,
            f"{name} {key[:6]}",
            self.record.tracking_run,
            flatten(config.model_dump(mode="json")),
            run_tags(self.record.lineage),
            self._tracking_started,
        )
        manifest = Manifest.read(self.record.dataset)
        tracker.dataset(config.photos.rstrip("/").rsplit("/", 1)[-1], manifest.sha256(), config.photos, manifest.count)
        return tracker

    def _tracking_started(self, run_id: str) -> None:
        self.record.update(self.folder, tracking_run=run_id)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if kind is not None and self.tracker:
            self.tracker.finish("FAILED")

    def step(self, step: int, values: dict[str, float]) -> None:
        """Report the losses of a training step."""
        losses = "  ".join(f"{name} {values[name]:.3f}" for name in ("content", "style", "total"))
        text = f"{losses}  {values['images_per_second']:.1f} images/s"
        self.bar.update(self.task, completed=step, description=text)
        if self.bar.disable and (monotonic() - self._last_line >= LINE_SECONDS or step == self.total):
            self._last_line = monotonic()
            self.console.print(f"step {step}/{self.total}  {text}", highlight=False)
        if self.tracker and (step % TRACK_EVERY == 0 or step == self.total):
            self.tracker.metrics(step, {f"train/{name}": value for name, value in values.items()})

    def held_out(self, step: int, values: dict[str, float]) -> None:
        """Report the losses on held-out photos, and save them in the run record."""
        self.record.update(self.folder, step=step, results=values)
        with store_may_be_away(self.record.config.execution.checkpoints, "the record there is not updated"):
            self.record.write_beside_checkpoints()
        if self.tracker:
            self.tracker.metrics(
                step, {name.replace("held_out_", "held_out/"): value for name, value in values.items()}
            )

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
        self.tracker.finish(TRACKING_STATUS[self.record.state], files, "model")

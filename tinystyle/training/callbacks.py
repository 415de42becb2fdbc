"""Lightning callbacks for metrics, evaluation, checkpoints and previews. All processes take the same decisions."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import lightning as L
import torch
from PIL import Image

from tinystyle.data import storage
from tinystyle.data.processes import stop_signals
from tinystyle.evaluation import NOT_FINITE
from tinystyle.training.checkpoint_files import CheckpointFiles
from tinystyle.training.judge import Judge, evaluating
from tinystyle.training.module import StyleTransferModule
from tinystyle.training.run_folder import metric_lines

__all__ = ["Checkpoints", "CollapsedError", "Previews", "SaveFirst", "StepReport"]

COLLAPSE_GRACE_STEPS, COLLAPSE_GRACE_SHARE = 100, 0.25
"""Collapse is ignored until a run is past both limits: 100 steps, and a quarter of its steps. A young network may still
be black or flat in places; for a low-contrast painting its outputs start with less contrast than they will end with."""
Report = Callable[[int, dict[str, float]], None]


class CollapsedError(ArithmeticError):
    """The network has collapsed (see `tinystyle.evaluation.collapsed`); the last checkpoint was saved before that."""


class StepReport(L.Callback):
    """Averages the losses over all processes, writes them to metrics.jsonl, and handles requests to stop.

    A request is SIGTERM, SIGINT or SIGHUP to any process of the run.

    Args:
        file: metrics.jsonl.
        reports: functions called with the step and its losses, in the first process only.

    Attributes:
        stopping: True once all processes have agreed, at the same step, that this step is the last one.
        images_per_second: speed of the last second or so.
        mean_images_per_second: speed from the first step to the last, with checkpoints and previews.
    """

    def __init__(self, file: Path, reports: Sequence[Report]) -> None:
        self.file = file
        self.reports = reports
        self.stopping = False
        self.images_per_second = math.nan
        self._began = self._requested = False
        self._clock: tuple[float, int] = (0.0, 0)
        self._first: tuple[float, int] | None = None
        self.mean_images_per_second = math.nan

    def resume(self, step: int) -> None:
        """Drop the lines of metrics for steps after `step`, which will be trained again, and lines that are none."""
        kept = {logged: json.dumps(values) + "\n" for logged, values in metric_lines(self.file) if logged <= step}
        storage.write_bytes(self.file, "".join(kept.values()).encode())

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle requests to stop during the block: they end the process before training, and do nothing after it.

        After the last step only files are written, which takes seconds and must not be cut off.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._request) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        self._began = True
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():  # Lightning has put handlers of its own before these
                signal.signal(number, self._request)
        self._clock = (monotonic(), trainer.global_step)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if not self._began:
            raise SystemExit(128 + number)
        self._requested = True

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StyleTransferModule)
        step = trainer.global_step
        last = step >= pl_module.config.optimizer.steps
        if step % pl_module.sync_every and not last:
            return
        requested = pl_module.step_losses.new_tensor([float(self._requested)])
        mine = torch.cat([requested, pl_module.step_losses, pl_module.step_styles])
        stopping, *means = trainer.strategy.reduce(mine, reduce_op="mean").tolist()
        self.stopping = stopping > 0
        values: dict[str, float] = dict(zip(pl_module.loss_names, means, strict=False))
        values |= pl_module.control(step, values, means[len(values) :])
        if not trainer.is_global_zero:
            return
        now, (then, done) = monotonic(), self._clock
        seen = pl_module.config.photos_after
        if now - then > 1 or math.isnan(self.images_per_second):
            self.images_per_second = (seen(step) - seen(done)) / max(now - then, 1e-9)
            self._clock = (now, step)
        if self._first is None:  # the first step includes what is only done once
            self._first = (now, step)
        elif now > self._first[0]:
            photos = seen(step) - seen(self._first[1])
            self.mean_images_per_second = photos / (now - self._first[0])
        values["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        values["images_per_second"] = self.images_per_second
        with storage.naming(self.file), self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for report in self.reports:
            report(step, values)


class Checkpoints(L.Callback):
    """Evaluates held-out photos every N steps, stops a collapsed run, and saves `last.ckpt` and `best.ckpt`.

    `best.ckpt` is replaced only if the score on the held-out photos is the lowest so far.

    Args:
        files: where checkpoints are saved.
        every: number of steps between checkpoints.
        judge: evaluates the network; the checkpoint with the lowest score is the best one.
        steps: the `StepReport` of this run.
        reports: functions called with the step and the held-out losses.
        saved: called with the step of each checkpoint that has been saved.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        every: int,
        judge: Judge,
        steps: StepReport,
        reports: Sequence[Report],
        saved: Callable[[int], None],
    ) -> None:
        self.files = files
        self.saved = saved
        self.every = every
        self.judge = judge
        self.steps = steps
        self.reports = reports
        self.best = math.inf
        self.results: dict[str, float] = {}
        self._before: tuple[bytes | None, int] | None = None

    def save_first(self, trainer: L.Trainer) -> None:
        """Save a checkpoint before it is judged: whoever asked the run to stop waits only for a limited time."""
        assert trainer.model is not None
        if all(bool(weight.isfinite().all()) for weight in trainer.model.parameters()):
            self._before = self.files.kept
            self._save(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StyleTransferModule)
        step = trainer.global_step
        if step % self.every and step < pl_module.config.optimizer.steps and not self.steps.stopping:
            return
        # One process evaluates, and all act on its result.
        reason, results = trainer.strategy.broadcast(
            self._evaluate(pl_module) if trainer.is_global_zero else (None, {})
        )
        grace = max(COLLAPSE_GRACE_STEPS, COLLAPSE_GRACE_SHARE * pl_module.config.optimizer.steps)
        if reason and (step > grace or reason == NOT_FINITE):
            if self._before is not None and trainer.is_global_zero:
                self.files.put_back(self._before)
                self.saved(self.files.kept[1])
            raise CollapsedError(f"the network has collapsed by step {step}: {reason}")
        best = self.best
        is_best = bool(results) and results["held_out_score"] < best
        if is_best:
            self.best = results["held_out_score"]
        self.results = results or self.results
        if self._before is None and not self._save(trainer, is_best):
            self.best = best
        if trainer.is_global_zero and results:
            for report in self.reports:
                report(step, results)
        if self.steps.stopping:
            trainer.should_stop = True

    def _evaluate(self, module: StyleTransferModule) -> tuple[str | None, dict[str, float]]:
        # Whoever asked the run to stop waits only for a limited time.
        with evaluating(module.network) as network:
            return self.judge(network, module.device, only_collapse=self._before is not None)

    def _save(self, trainer: L.Trainer, is_best: bool = False) -> bool:
        kept = self.files.save(trainer, best=is_best)
        if kept and trainer.is_global_zero:
            self.saved(trainer.global_step)
        return kept

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "results": self.results}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.results = state_dict["best"], state_dict["results"]


class SaveFirst(L.Callback):
    """Saves a checkpoint as soon as the run has been asked to stop; comes before the callbacks that take their time."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StyleTransferModule)
        # The last step is evaluated as ever: the run is complete.
        if self.checkpoints.steps.stopping and trainer.global_step < pl_module.config.optimizer.steps:
            self.checkpoints.save_first(trainer)


class Previews(L.Callback):
    """Writes held-out photos beside their stylized versions to previews/step-NNNNNN.png, every `every` steps.

    Args:
        folder: folder of the previews.
        every: number of steps between previews.
        draw: draws the preview of a network on a device.
        report: called with the file and the step of each preview.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        draw: Callable[[Any, torch.device], Image.Image],
        report: Callable[[Path, int], None],
    ) -> None:
        self.folder = folder
        self.every = every
        self.draw = draw
        self.report = report

    @torch.no_grad()
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, StyleTransferModule)
        step = trainer.global_step
        due = step % self.every == 0 or step == pl_module.config.optimizer.steps
        if not (due and trainer.is_global_zero):
            return
        path = self.folder / f"step-{step:06d}.png"
        with evaluating(pl_module.network) as network, storage.atomic_path(path) as temporary:
            self.draw(network, pl_module.device).save(temporary, format="PNG")
        self.report(path, step)

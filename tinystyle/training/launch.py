"""Runs a training job in child processes and reports how it ended. No process outlives the command.

Validates everything it can before it starts a process.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from tinystyle.config import ExecutionConfig, RunConfig
from tinystyle.data import storage
from tinystyle.data.ingest import Progress
from tinystyle.training.agent import LOST, NO_RENDEZVOUS
from tinystyle.training.claim import claimed
from tinystyle.training.earlier import continued, find_earlier, refuse_foreign_checkpoints
from tinystyle.training.outputs import check_outputs
from tinystyle.training.record import RunRecord
from tinystyle.training.resolve import Resolved, check, resolve
from tinystyle.training.run_folder import RUN_FILE, RunFolder, metric_lines
from tinystyle.training.standby import Standby
from tinystyle.training.torchrun import run_processes

__all__ = ["MAX_ROLLBACKS", "ROLLBACK_RATE", "TrainingProcessError", "begin", "launch", "prepare"]

_LOG = logging.getLogger(__name__)


class TrainingProcessError(RuntimeError):
    """A bug ended a training process; the message is the traceback of that process."""


MAX_ROLLBACKS = 3
ROLLBACK_RATE = 0.5

_CALMER = "try a lower `content_target`, `style_weight` or `learning_rate`"


def prepare(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool,
    progress: Progress | None = None,
    standby: Standby | None = None,
) -> RunRecord:
    """Validate a run and write its record: `resolve`, then `begin`.

    Args:
        config: the run.
        folder: folder of the run; created if absent.
        resume: see `begin`.
        progress: called after each ingested photo, if `config.photos` is not a dataset yet.
        standby: started as soon as nothing is wrong that can be seen at once, for `launch`.

    Raises:
        UserError, OSError: as in `resolve` and `begin`.
    """
    check_outputs(config, folder)
    checked = check(config, standby)
    storage.check_writable(folder)
    if config.execution.checkpoints:  # first: without access to them, what the folder holds says nothing
        storage.exists(storage.join(config.execution.checkpoints, RUN_FILE))
    if resume:
        find_earlier(config, folder)  # reports a damaged record before any photo is ingested
    return begin(resolve(config, checked, progress), folder, resume=resume)


def begin(run: Resolved, folder: Path, *, resume: bool, leased: bool = False) -> RunRecord:
    """Write the record of a run to its folder.

    Args:
        run: a run that `resolve` returned.
        folder: folder of the run; must exist.
        resume: continue the run found in `folder`, or else beside the checkpoints, if it has the same key; without such
            a run, or if False, start from step 0.
        leased: whether the caller holds the lease on the place of the checkpoints.

    Raises:
        RunInTheWayError: the folder, or the place of the checkpoints, holds a different run.
        UserError: another command is training there.
        OSError: a file cannot be written.
    """
    record = RunRecord(config=run.config, lineage=run.lineage, dataset=str(run.dataset))
    with claimed(run.config.execution, folder, leased=leased):
        before = find_earlier(run.config, folder, record) if resume else None
        if before:
            record = continued(before, record, folder)
        elif not resume:
            refuse_foreign_checkpoints(record, folder)
        record.write_beside_checkpoints()  # fails now if that place is not writable
        if not before:
            RunFolder(folder).clear(run.config.execution)
        record.write(folder)
    return record


def launch(
    record: RunRecord,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stop: Event | None = None,
    leased: bool = False,
    standby: Standby | None = None,
) -> RunRecord:
    """Train a prepared run in child processes and return its final record.

    Args:
        record: the record that `prepare` returned.
        folder: folder of the run.
        environment: variables for the training processes, such as CUDA_VISIBLE_DEVICES.
        stop: ends the run as SIGTERM would, once it is set.
        leased: as in `begin`.
        standby: the one of `prepare`, in whose context this is.

    Raises:
        UserError: another command is training in this folder.
        TrainingProcessError: a bug ended a training process.
    """
    execution = record.config.execution
    with claimed(execution, folder, leased=leased) as lost:
        RunFolder(folder).sweep(execution)
        return _train(record.config, folder, environment or {}, [lost, *([stop] if stop else [])], standby)


def _train(
    config: RunConfig, folder: Path, environment: Mapping[str, str], stops: Sequence[Event], standby: Standby | None
) -> RunRecord:
    error_log = RunFolder(folder).error_log
    storage.remove(error_log)
    rollbacks = 0
    while True:
        trained = _metrics_state(folder)
        code, asked_to_stop = run_processes(config.execution, folder, environment, stops, standby)
        record = RunRecord.read(folder)
        if record.state == "running" and asked_to_stop:
            saved = _saved(record, folder)
            if _metrics_state(folder) == trained or _lost(saved, folder) == 0:
                message = f"stopped at step {saved}, before training began"
            else:
                message = f"killed before it could save; {_what_is_left(saved, folder)}"
            record.update(folder, state="stopped", step=saved, message=message)
            _close_tracking(record)
        elif record.state == "running" and error_log.exists() and code != LOST:
            record.update(folder, state="failed", message=f"a bug ended the run; the traceback is in {error_log}")
            raise TrainingProcessError(error_log.read_text(encoding="utf-8", errors="replace"))
        elif record.state == "running":
            saved = _saved(record, folder)
            state, message = "failed" if code in (0, NO_RENDEZVOUS) else "killed", _why_it_ended(code, config.execution)
            if state == "killed":
                message += f"; {_what_is_left(saved, folder)}"
            record.update(folder, state=state, step=saved, message=message)
            _close_tracking(record)
        if record.state != "collapsed" or asked_to_stop:
            return record
        if config.execution.on_collapse != "rollback":
            record.update(folder, message=f"{record.message}; {_CALMER}, or `on_collapse` rollback")
            return record
        if rollbacks == MAX_ROLLBACKS:
            record.update(folder, message=f"{record.message}, after {rollbacks} rollbacks; {_CALMER}")
            return record
        rollbacks += 1
        rate = record.rate_scale * ROLLBACK_RATE
        _LOG.warning("%s; rolling back to the last checkpoint, at %g of the learning rate", record.message, rate)
        record.update(folder, state="running", rate_scale=rate)
        record.write_beside_checkpoints()


def _close_tracking(record: RunRecord) -> None:
    """Mark the MLflow run as KILLED, for training processes that were killed before they could do so."""
    if record.tracking_run:
        from tinystyle.tracking.run import close_run

        close_run(record.tracking_run, "KILLED")


def _why_it_ended(code: int, execution: ExecutionConfig) -> str:
    """Explain why the training processes ended when they did not report a reason themselves."""
    if code == NO_RENDEZVOUS:
        return (
            f"the {execution.nodes} machines did not meet at {execution.rdzv_endpoint}; "
            "start the same command on every machine"
        )
    if code == 0:
        return "this machine has finished its part; the result is on the first machine"
    return "a training process was killed or crashed"


def _metrics_state(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever a step is logged."""
    try:
        status = RunFolder(folder).metrics.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _saved(record: RunRecord, folder: Path) -> int:
    """Return the step that the run resumes from."""
    from tinystyle.training.checkpoint import saved_step

    return saved_step(RunFolder(folder).checkpoints(record.config.execution), record) or 0


def _lost(saved: int, folder: Path) -> int:
    """Return how many steps were trained after the checkpoint of step `saved`."""
    return max(0, max((step for step, _ in metric_lines(RunFolder(folder).metrics)), default=0) - saved)


def _what_is_left(saved: int, folder: Path) -> str:
    """Return what an interrupted run resumes from, and what it has lost."""
    lost = _lost(saved, folder)
    return f"it resumes from step {saved}" + (
        f", {lost} {'step is' if lost == 1 else 'steps are'} lost" if lost else ""
    )

"""Runs a training job in child processes through torchrun and reports how it ended. No process outlives the command.

Validates everything it can before it starts a process.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tinystyle.config import ExecutionConfig, RunConfig
from tinystyle.data import storage
from tinystyle.data.ingest import Progress
from tinystyle.errors import UserError
from tinystyle.training.agent import NO_RENDEZVOUS
from tinystyle.training.record import RunInTheWayError, RunRecord
from tinystyle.training.resolve import Resolved, check, resolve
from tinystyle.training.run_folder import RUN_FILE, RunFolder
from tinystyle.training.torchrun import run_processes

__all__ = ["MAX_ROLLBACKS", "ROLLBACK_RATE", "TrainingProcessError", "begin", "launch", "prepare"]

_LOG = logging.getLogger(__name__)


class TrainingProcessError(RuntimeError):
    """A bug ended a training process; the message is the traceback of that process."""


MAX_ROLLBACKS = 3
ROLLBACK_RATE = 0.5

_CALMER = "try a lower `content_target`, `style_weight` or `learning_rate`"


def prepare(config: RunConfig, folder: Path, *, resume: bool, progress: Progress | None = None) -> RunRecord:
    """Validate a run and write its record: `resolve`, then `begin`.

    Args:
        config: the run.
        folder: folder of the run; created if absent.
        resume: see `begin`.
        progress: called after each ingested photo, if `config.photos` is not a dataset yet.

    Raises:
        UserError, OSError: as in `resolve` and `begin`.
    """
    checked = check(config)
    storage.check_writable(folder)
    if resume:
        _earlier(config, folder)  # reports a damaged record before any photo is ingested
    return begin(resolve(config, checked, progress), folder, resume=resume)


def begin(run: Resolved, folder: Path, *, resume: bool) -> RunRecord:
    """Write the record of a run to its folder.

    Args:
        run: a run that `resolve` returned.
        folder: folder of the run; must exist.
        resume: continue the run found in `folder`, or else beside the checkpoints, if it has the same key; without such
            a run, or if False, start from step 0.

    Raises:
        RunInTheWayError: the folder holds a different run.
        UserError: another command is training in this folder.
        OSError: a file cannot be written.
    """
    before = _earlier(run.config, folder) if resume else None
    record = RunRecord(config=run.config, lineage=run.lineage, dataset=str(run.dataset))
    with _alone(run.config.execution, folder):
        if before:
            record = _continued(before, record, folder)
        record.write_beside_checkpoints()  # fails now if that place is not writable
        if not before:
            RunFolder(folder).clear(run.config.execution)
        record.write(folder)
    return record


def _earlier(config: RunConfig, folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`, or else beside its checkpoints, or None if there is none."""
    for place in (folder, config.execution.checkpoints):
        if place and storage.exists(storage.join(place, RUN_FILE)):
            return RunRecord.read(place)
    return None


def _continued(before: RunRecord, now: RunRecord, folder: Path) -> RunRecord:
    """Return the record `before`, updated to be resumed with the settings of `now`; both must describe the same run."""
    if before.lineage.get("key") != now.lineage["key"]:
        raise RunInTheWayError(f"{folder} holds another run ({_difference(before, now)})")
    record = before.model_copy(update={"config": now.config, "dataset": now.dataset})
    if record.state == "completed" and RunFolder(folder).model.exists():
        return record
    last = RunFolder(folder).last(now.config.execution)
    if "held_out_score" in record.results and not storage.exists(last):
        raise RunInTheWayError(
            f"{folder} holds a run that is at step {record.step}, but its checkpoint {last} is missing",
            "give their folder or URI with `checkpoints`, or start over with `resume` never",
        )
    return record.model_copy(update={"state": "running", "message": "", "may_pass": False})


def launch(
    record: RunRecord,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> RunRecord:
    """Train a prepared run in child processes and return its final record.

    Args:
        record: the record that `prepare` returned.
        folder: folder of the run.
        environment: variables for the training processes, such as CUDA_VISIBLE_DEVICES.
        stop: ends the run as SIGTERM would, once it is set.

    Raises:
        UserError: another command is training in this folder.
        TrainingProcessError: a bug ended a training process.
    """
    with _alone(record.config.execution, folder):
        return _train(record.config, folder, environment or {}, stop or threading.Event())


def _train(config: RunConfig, folder: Path, environment: Mapping[str, str], stop: threading.Event) -> RunRecord:
    error_log = RunFolder(folder).error_log
    storage.remove(error_log)
    rollbacks = 0
    while True:
        code, asked_to_stop = run_processes(config.execution, folder, environment, stop)
        record = RunRecord.read(folder)
        if record.state == "running" and asked_to_stop:
            record.update(folder, state="stopped", message=f"stopped at step {record.step}, before training began")
        elif record.state == "running" and error_log.exists():
            record.update(folder, state="failed", message=f"a bug ended the run; the traceback is in {error_log}")
            raise TrainingProcessError(error_log.read_text())
        elif record.state == "running":
            state = "failed" if code in (0, NO_RENDEZVOUS) else "killed"
            record.update(folder, state=state, message=_why_it_ended(code, config.execution))
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
    return "a training process was killed or crashed; the last checkpoint is kept"


@contextmanager
def _alone(execution: ExecutionConfig, folder: Path) -> Iterator[None]:
    """Lock the folder of a run against a second command. Runs on several machines share the folder and take no lock.

    Raises:
        UserError: another command is training in this folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            if execution.nodes == 1:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder} is in use by another command; wait until it ends, or choose another `out`"
            ) from error
        except OSError:
            pass  # network file systems may not support locks
        yield
    finally:
        os.close(descriptor)


def _difference(before: RunRecord, now: RunRecord) -> str:
    """Describe the first difference between two runs in words."""
    from tinystyle.tracking.run import flatten

    ignored = {"style", "photos", "init_from", "execution"}
    old, new = (flatten(record.config.model_dump(mode="json", exclude=ignored)) for record in (before, now))
    for name, value in new.items():
        if old.get(name) != value and name != "loss.perceptual_weights":
            return f"{name} was {old.get(name)}, now {value}"
    facts = sorted((before.lineage.keys() | now.lineage.keys()) - {"key", "commit", "version"})
    changed = next((fact for fact in facts if before.lineage.get(fact) != now.lineage.get(fact)), "record")
    return f"its {changed} differs"

"""Finds the earlier run that a requested one would resume or replace, and says whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tinystyle.config import RunConfig
from tinystyle.data import storage
from tinystyle.training.lineage import NOT_IN_RECIPE
from tinystyle.training.record import RunInTheWayError, RunRecord
from tinystyle.training.run_folder import BEST, LAST, RUN_FILE, RunFolder

__all__ = ["EarlierRun", "continued", "find_earlier", "refuse_foreign_checkpoints"]

_OTHER_PLACE = "give another `checkpoints`, or remove what is there"


class EarlierRun(NamedTuple):
    """A run that was found."""

    record: RunRecord
    place: str
    """Folder or URI where its record or its checkpoint is."""
    remedy: str
    """What to do if the requested run is another one."""


def find_earlier(config: RunConfig, folder: Path, now: RunRecord | None = None) -> EarlierRun | None:
    """Return the run in `folder`, or else beside its checkpoints, or None if there is none.

    A record may be lost or damaged: a checkpoint says itself whose it is.

    Args:
        config: the requested run.
        folder: its folder.
        now: the record of the requested run, once its key is known.

    Raises:
        RunInTheWayError: there are files of a run that cannot be identified, or that would have to be removed.
        OSError: a record cannot be read.
    """
    remedy = "choose another `out`, or replace it with `resume` never"
    damaged: RunInTheWayError | None = None
    for place in (str(folder), config.execution.checkpoints):
        try:
            if place and (record := _record(place)):
                return EarlierRun(record, place, remedy if place == str(folder) else _OTHER_PLACE)
        except RunInTheWayError as error:
            damaged = damaged or error
    files = RunFolder(folder)
    last = files.last(config.execution)
    if storage.exists(last):
        if now is None:
            return None
        step = _step_of(last, now)
        elsewhere = config.execution.checkpoints not in (None, str(folder))
        return EarlierRun(
            now.model_copy(update={"step": step}),
            files.checkpoints(config.execution),
            _OTHER_PLACE if elsewhere else remedy,
        )
    if damaged:
        raise damaged
    best = files.best(config.execution)
    standing = [best] if storage.exists(best) else [str(file) for file in files.results]
    if standing:
        raise RunInTheWayError(
            f"{standing[0]} is there, but neither {RUN_FILE} nor {LAST} of the run that made it", remedy
        )
    return None


def _record(place: str) -> RunRecord | None:
    """Return the record at a place; None if there is none, or only the empty file that a power cut leaves."""
    uri = storage.join(place, RUN_FILE)
    if not storage.exists(uri) or not storage.read_bytes(uri).strip(b"\0 \t\r\n"):
        return None
    return RunRecord.read(place)


def _step_of(last: str, now: RunRecord) -> int:
    """Return the step of a checkpoint of the requested run.

    Raises:
        RunInTheWayError: it is damaged, or belongs to another run.
    """
    from tinystyle.training.checkpoint import content_fault, read_checkpoint

    try:
        checkpoint = read_checkpoint(storage.read_bytes(last))
        fault = content_fault(checkpoint, now)
    except ValueError:
        fault = "is damaged or not a checkpoint"
    if fault:
        raise RunInTheWayError(f"{last} {fault}, and {RUN_FILE} is missing or damaged")
    return int(checkpoint["global_step"])


def continued(before: EarlierRun, now: RunRecord, folder: Path) -> RunRecord:
    """Return the earlier record, updated to be resumed with the settings of `now`; both must describe the same run.

    Raises:
        RunInTheWayError: they do not, or the checkpoint is missing.
    """
    if before.record.lineage.get("key") != now.lineage["key"]:
        raise RunInTheWayError(f"{before.place} holds another run ({_difference(before.record, now)})", before.remedy)
    record = before.record.model_copy(update={"config": now.config, "dataset": now.dataset})
    files = RunFolder(folder)
    if record.state == "completed" and files.model.exists():
        return record
    last, best = files.last(now.config.execution), files.best(now.config.execution)
    saved = record.step > 0 and record.state in ("running", "stopped", "killed")
    if (saved or "held_out_score" in record.results) and not storage.exists(last):
        remedy = "give their folder or URI with `checkpoints`, or start over with `resume` never"
        if storage.exists(best):
            remedy = f"copy {BEST} to {LAST}, {remedy}"
        raise RunInTheWayError(
            f"{folder} holds a run that is at step {record.step}, but its checkpoint {last} is missing", remedy
        )
    return record.model_copy(update={"state": "running", "message": "", "may_pass": False})


def refuse_foreign_checkpoints(now: RunRecord, folder: Path) -> None:
    """Refuse to replace the checkpoints of another run, which may still be training, in a place other than `folder`.

    Raises:
        RunInTheWayError: the place of the checkpoints holds those of another run.
    """
    place = now.config.execution.checkpoints
    if not place or (not storage.is_remote(place) and storage.local_path(place).resolve() == folder.resolve()):
        return
    try:
        record = _record(place)
    except RunInTheWayError:
        record = None
    if record:
        if record.lineage.get("key") != now.lineage["key"]:
            raise RunInTheWayError(f"{place} holds another run ({_difference(record, now)})", _OTHER_PLACE)
        return
    for name in (LAST, BEST):
        if storage.exists(storage.join(place, name)):
            try:
                _step_of(storage.join(place, name), now)
            except RunInTheWayError as error:
                raise RunInTheWayError(error.problem, _OTHER_PLACE) from error


def _difference(before: RunRecord, now: RunRecord) -> str:
    """Describe the first difference between two runs in words."""
    from tinystyle.tracking.run import flatten

    old, new = (flatten(record.config.model_dump(mode="json", exclude=NOT_IN_RECIPE)) for record in (before, now))
    for name, value in new.items():
        if old.get(name) != value and name != "loss.perceptual_weights":
            return f"{name} was {old.get(name)}, now {value}"
    facts = sorted((before.lineage.keys() | now.lineage.keys()) - {"key", "commit", "version"})
    changed = next((fact for fact in facts if before.lineage.get(fact) != now.lineage.get(fact)), "record")
    return f"its {changed} differs"

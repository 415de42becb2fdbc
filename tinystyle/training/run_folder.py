"""The folder of a training run: names and locations of its files. Imports no torch."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinystyle.config import ExecutionConfig
from tinystyle.data import storage
from tinystyle.errors import is_temporary

__all__ = ["BEST", "LAST", "MODEL", "RUN_FILE", "RunFolder", "metric_lines", "store_may_be_away"]

_LOG = logging.getLogger(__name__)

RUN_FILE = "run.json"
LAST, BEST = "last.ckpt", "best.ckpt"
MODEL = "model.safetensors"
_OWN = (RUN_FILE, LAST, BEST, "metrics.jsonl", MODEL)
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
_ROOM = 1 << 20
"""Bytes that a folder for temporary files must have room for."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run in the folder `path`."""

    path: Path

    @property
    def record(self) -> Path:
        """Path of the run record: configuration, lineage and progress."""
        return self.path / RUN_FILE

    @property
    def model(self) -> Path:
        """Path of the trained network; the file exists once the run has completed."""
        return self.path / MODEL

    @property
    def metrics(self) -> Path:
        """Path of the metrics: one line of JSON per training step."""
        return self.path / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """Folder of the previews, step-NNNNNN.png."""
        return self.path / "previews"

    @property
    def error_log(self) -> Path:
        """Path of the traceback of a bug that ended a training process."""
        return self.path / "error.log"

    def checkpoints(self, execution: ExecutionConfig) -> str:
        """Return the folder or URI of the checkpoints, by default the folder of the run."""
        return execution.checkpoints or str(self.path)

    def last(self, execution: ExecutionConfig) -> str:
        """Return the path or URI of the checkpoint that the run resumes from."""
        return storage.join(self.checkpoints(execution), LAST)

    def best(self, execution: ExecutionConfig) -> str:
        """Return the path or URI of the checkpoint with the lowest score on held-out photos."""
        return storage.join(self.checkpoints(execution), BEST)

    def clear(self, execution: ExecutionConfig) -> None:
        """Remove all files of an earlier run except its record; other files are kept."""
        for checkpoint in (self.last(execution), self.best(execution)):
            storage.remove(checkpoint)
        for file in self.written:
            storage.remove(file)

    @property
    def written(self) -> list[Path]:
        """Files of the run in its folder, except its record and its checkpoints."""
        return [self.model, self.metrics, self.error_log, *self.previews.glob("step-*.png")]

    @property
    def results(self) -> list[Path]:
        """Files of the run that cost training to make, besides its checkpoints, and that exist."""
        return [file for file in (self.model, *sorted(self.previews.glob("step-*.png"))) if file.exists()]

    def sweep(self, execution: ExecutionConfig) -> None:
        """Remove the temporary files of processes that were killed while they wrote. Nobody may train here."""
        checkpoints = self.checkpoints(execution)
        folders = [
            self.path,
            self.previews,
            *([] if storage.is_remote(checkpoints) else [storage.local_path(checkpoints)]),
        ]
        for folder in folders:
            for file in (
                *folder.glob(".step-*.png.*.tmp"),
                *(f for name in _OWN for f in folder.glob(f".{name}.*.tmp")),
            ):
                with suppress(OSError):
                    file.unlink()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a new folder for small temporary files: in TMPDIR or where else such files go, or else in this folder.

        This folder is the last choice, because torch takes no name that is not UTF-8.
        """
        for parent in (None, *_TEMPORARY):
            with suppress(OSError):
                made = _with_room(parent)
                break
        else:
            made = _with_room(self.path)
        with made as folder:
            yield Path(folder)


def _with_room(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder, by default in TMPDIR, in which a megabyte can be written."""
    made = tempfile.TemporaryDirectory(prefix=".tinystyle-", dir=parent, ignore_cleanup_errors=True)
    probe = Path(made.name) / "probe"
    try:
        with storage.naming(probe):
            probe.write_bytes(bytes(_ROOM))
            probe.unlink()
    except OSError:
        made.cleanup()
        raise
    return made


def metric_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the step and the values of each line of metrics.jsonl; none if it does not exist.

    Lines that are no such thing, as a power cut may leave them (empty, half written, zeros), are passed over.
    """
    try:
        lines = file.read_bytes().split(b"\n")[:-1]  # what follows the last newline is not complete
    except FileNotFoundError:
        return
    for line in lines:
        with suppress(ValueError):
            values = json.loads(line)
            if isinstance(values, dict) and type(values.get("step")) is int:
                yield values["step"], values


@contextmanager
def store_may_be_away(place: str | None, consequence: str) -> Iterator[threading.Event]:
    """Keep a training going if the block fails to write to an object store that does not answer; log it.

    A full disk, a missing bucket or a wrong key is an error as ever.

    Args:
        place: folder or URI that the block writes to.
        consequence: what that means for the run, for the log.

    Yields:
        An event that is set if the block has succeeded.
    """
    done = threading.Event()
    try:
        yield done
        done.set()
    except OSError as error:
        if place is None or not storage.is_remote(place) or not is_temporary(error):
            raise
        _LOG.warning("%s does not answer; training continues, %s: %s", place, consequence, error.strerror or error)

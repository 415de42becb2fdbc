"""The folder of a training run: names and locations of its files. Imports no torch."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinystyle.config import ExecutionConfig
from tinystyle.data import storage
from tinystyle.errors import is_temporary

__all__ = ["BEST", "LAST", "RUN_FILE", "RunFolder", "store_may_be_away"]

_LOG = logging.getLogger(__name__)

RUN_FILE = "run.json"
LAST, BEST = "last.ckpt", "best.ckpt"


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
        return self.path / "model.safetensors"

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
        for file in (self.model, self.metrics, self.error_log, *self.previews.glob("step-*.png")):
            storage.remove(file)


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

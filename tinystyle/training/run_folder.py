"""The folder of a training run: the names and places of its files. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinystyle.config import ExecutionConfig
from tinystyle.data import storage

__all__ = ["BEST", "LAST", "RUN_FILE", "RunFolder"]

RUN_FILE = "run.json"
LAST, BEST = "last.ckpt", "best.ckpt"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run, below `path`."""

    path: Path

    @property
    def record(self) -> Path:
        """What the run was asked for, and how far it is."""
        return self.path / RUN_FILE

    @property
    def model(self) -> Path:
        """The trained network, once the run is completed."""
        return self.path / "model.safetensors"

    @property
    def metrics(self) -> Path:
        """One line of JSON for every training step."""
        return self.path / "metrics.jsonl"

    @property
    def previews(self) -> Path:
        """Folder of pictures, step-NNNNNN.png."""
        return self.path / "previews"

    @property
    def error_log(self) -> Path:
        """Traceback of the bug that ended a training process."""
        return self.path / "error.log"

    def checkpoints(self, execution: ExecutionConfig) -> str:
        """Folder or URI of the checkpoints: by default the run's own."""
        return execution.checkpoints or str(self.path)

    def last(self, execution: ExecutionConfig) -> str:
        """The checkpoint that the run resumes from."""
        return storage.join(self.checkpoints(execution), LAST)

    def best(self, execution: ExecutionConfig) -> str:
        """The checkpoint with the lowest score on held-out photos."""
        return storage.join(self.checkpoints(execution), BEST)

    def clear(self, execution: ExecutionConfig) -> None:
        """Remove what an earlier run left, but for its record."""
        for checkpoint in (self.last(execution), self.best(execution)):
            storage.remove(checkpoint)
        for file in (self.model, self.metrics, self.error_log, *self.previews.glob("step-*.png")):
            storage.remove(file)

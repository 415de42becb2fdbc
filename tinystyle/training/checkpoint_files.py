"""Writes the checkpoints of a run where they are kept, and reads the one to resume from. Lightning's part of saving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.plugins.io import CheckpointIO

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.training.checkpoint import checkpoint_bytes, content_fault, read_checkpoint, unusable
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import BEST, LAST, store_may_be_away

__all__ = ["CheckpointFiles"]


class CheckpointFiles(CheckpointIO):
    """The files last.ckpt and best.ckpt of a run.

    Lightning's own way of saving goes through TMPDIR, which may be full, and is not atomic across file systems.

    Args:
        location: folder or URI of the checkpoints.
        record: the run; its lineage is saved in each checkpoint, so that it says whose it is.

    Attributes:
        kept: content of last.ckpt, None if there is none, and its step.
    """

    def __init__(self, location: str, record: RunRecord) -> None:
        self.location = location
        self.record = record
        self.kept: tuple[bytes | None, int] = (None, 0)
        self._loaded: dict[str, Any] | None = None
        self._dumped = b""

    @property
    def last(self) -> str:
        """Path or URI of last.ckpt."""
        return storage.join(self.location, LAST)

    def load(self) -> bool:
        """Read last.ckpt; return False if there is none.

        Raises:
            UserError: this run cannot be resumed from it.
            OSError: it cannot be read.
        """
        if not storage.exists(self.last):
            return False
        data = storage.read_bytes(self.last)
        try:
            checkpoint = read_checkpoint(data)
        except ValueError as error:
            raise self.unusable("is damaged or not a checkpoint") from error
        if fault := content_fault(checkpoint, self.record):
            raise self.unusable(fault)
        self._loaded, self.kept = checkpoint, (data, checkpoint["global_step"])
        return True

    def unusable(self, fault: str) -> UserError:
        """Return the error for a last.ckpt that this run cannot be resumed from; `fault` follows its name."""
        return unusable(self.location, fault, self.record)

    def save(self, trainer: L.Trainer, *, best: bool = False) -> bool:
        """Save last.ckpt, and best.ckpt with the same content if `best`. All processes call this.

        Returns:
            False if the object store does not answer, which costs an interval if the run is lost.
        """
        trainer.save_checkpoint(self.last, weights_only=False)
        if not trainer.is_global_zero:
            return True
        # Written here, after Lightning's barrier, because a store that is away must not leave processes waiting there.
        with store_may_be_away(self.location, "this checkpoint is not kept") as kept:
            storage.write_bytes(self.last, self._dumped)
            self.kept = self._dumped, trainer.global_step
            if best:
                storage.write_bytes(storage.join(self.location, BEST), self._dumped)
        return kept.is_set()

    def put_back(self, before: tuple[bytes | None, int]) -> None:
        """Make last.ckpt what it was when `kept` had the value `before`. Only the first process calls this."""
        data, step = before
        if data is None:
            storage.remove(self.last)
        else:
            storage.write_bytes(self.last, data)
        self.kept = data, step

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Called by Lightning, in the first process: keep the content for `save`."""
        self._dumped = checkpoint_bytes({**checkpoint, "lineage": json.dumps(self.record.lineage)})

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Called by Lightning: return what `load` has read."""
        assert self._loaded is not None
        loaded, self._loaded = self._loaded, None
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """Called by Lightning's own checkpoint callbacks, which are not used."""
        storage.remove(Path(path))

"""The record of a run, DIR/run.json: its configuration, lineage and progress. Imports no torch.

The command writes it before it starts the training processes. They keep it up to date, and report back through it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_serializer

from tinystyle.config import RunConfig
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["RunInTheWayError", "RunRecord", "State"]

from tinystyle.training.run_folder import RUN_FILE

State = Literal["running", "stopped", "completed", "collapsed", "killed", "failed"]


class RunInTheWayError(UserError):
    """A folder contains a different run, which the requested one cannot resume.

    Args:
        problem: what is wrong, also an attribute.
        remedy: what to do about it; the message is both.
    """

    def __init__(self, problem: str, remedy: str = "choose another `out`, or replace it with `resume` never") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


class RunRecord(BaseModel):
    """The record of one run, stored as run.json in its folder."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    config: RunConfig
    lineage: dict[str, str]
    """Hashes and facts from `tinystyle.training.lineage`; `lineage["key"]` identifies the run."""
    dataset: str
    """Local path of the shard dataset."""
    state: State = "running"
    step: int = 0
    """Number of steps that stand: all of a completed run, otherwise those of its newest checkpoint."""
    message: str = ""
    """Why the run is in its current state, in one sentence; empty if completed."""
    may_pass: bool = False
    """Whether a failure is one after which the run may be resumed as it is, such as a server that was away."""
    rate_scale: float = 1.0
    """Factor on the learning rate; halved by every rollback."""
    results: dict[str, float] = {}
    """Losses on held-out photos at the last checkpoint, and the training speed in images/s."""
    tracking_run: str | None = None
    """ID of the MLflow run."""
    tracking_page: str | None = None
    """Where to see the MLflow run, in words; None if MLflow was away as training began, or an older version wrote this."""

    @field_serializer("results")
    def _finite(self, results: dict[str, float]) -> dict[str, float]:
        # JSON has no NaN, which is the speed of a run that was resumed with no steps left.
        return {name: value for name, value in results.items() if math.isfinite(value)}

    @classmethod
    def read(cls, folder: str | Path) -> RunRecord:
        """Read run.json from a folder or URI.

        Raises:
            FileNotFoundError: the file does not exist.
            RunInTheWayError: the file is damaged or is not a run record.
        """
        place = storage.join(folder, RUN_FILE)
        try:
            return cls.model_validate_json(storage.read_bytes(place))
        except ValidationError as error:
            raise RunInTheWayError(f"{place} is damaged or not the record of a run") from error

    def write(self, folder: str | Path) -> None:
        """Write run.json to a folder or URI atomically."""
        storage.write_bytes(storage.join(folder, RUN_FILE), (self.model_dump_json(indent=2) + "\n").encode())

    def write_beside_checkpoints(self) -> None:
        """Copy the record to the checkpoints, if they are elsewhere, so that another machine can resume the run."""
        if self.config.execution.checkpoints:
            self.write(self.config.execution.checkpoints)

    def update(self, folder: Path, **changes: Any) -> None:
        """Set fields and write the record."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.write(folder)

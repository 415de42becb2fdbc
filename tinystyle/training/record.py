"""The record of a run, DIR/run.json: what was asked for, where it comes from, how far it is. Imports no torch.

The command writes it before it starts the training processes, which then keep it up to date; so it is also how they report back.
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

State = Literal["running", "stopped", "completed", "collapsed", "failed"]


class RunInTheWayError(UserError):
    """A folder holds a run that the one asked for cannot continue.

    Attributes:
        problem: what stands in the way, without what can be done about it.
    """

    def __init__(self, problem: str, remedy: str = "choose another `out`, or replace it with `resume` never") -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


class RunRecord(BaseModel):
    """One run, in one folder."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    config: RunConfig
    lineage: dict[str, str]
    """See `tinystyle.training.lineage`; `lineage["key"]` names the run."""
    dataset: str
    """Local path of the shard dataset."""
    state: State = "running"
    step: int = 0
    """Steps done."""
    message: str = ""
    """Why the run stands where it does, in one sentence, where it is not completed."""
    rate_scale: float = 1.0
    """Factor on the learning rate: halved by every rollback."""
    results: dict[str, float] = {}
    """Losses on held-out photos at the last checkpoint, and images/s."""
    tracking_run: str | None = None
    """Id of the MLflow run."""

    @field_serializer("results")
    def _finite(self, results: dict[str, float]) -> dict[str, float]:
        # JSON has no NaN, such as the speed of a run that had no step left to do.
        return {name: value for name, value in results.items() if math.isfinite(value)}

    @classmethod
    def read(cls, folder: str | Path) -> RunRecord:
        """Read run.json of a folder or URI.

        Raises:
            FileNotFoundError: there is none.
            RunInTheWayError: it is no run record.
        """
        place = storage.join(folder, RUN_FILE)
        try:
            return cls.model_validate_json(storage.read_bytes(place))
        except ValidationError as error:
            raise RunInTheWayError(f"{place} is damaged or no record of a run") from error

    def write(self, folder: str | Path) -> None:
        """Write run.json to a folder or URI, whole."""
        storage.write_bytes(storage.join(folder, RUN_FILE), (self.model_dump_json(indent=2) + "\n").encode())

    def write_beside_checkpoints(self) -> None:
        """Where checkpoints go to a place of their own, keep a copy there: another machine can go on from it."""
        if self.config.execution.checkpoints:
            self.write(self.config.execution.checkpoints)

    def update(self, folder: Path, **changes: Any) -> None:
        """Set fields, and write."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.write(folder)

"""The rows of a frontier, and the two files that hold them: frontier.jsonl, to which rows are added, and frontier.csv.

Imports no torch.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.training.frontier.pareto import pareto_front
from tinystyle.training.record import RunRecord

__all__ = ["COSTS", "Row", "RowFile", "fronts", "write_csv"]

COSTS = ("weights", "bytes", "macs", "latency_ms")
"""The costs that a Pareto front is computed for; names of attributes of `Row`."""
State = Literal["baseline", "completed", "collapsed", "failed", "impossible"]


class Row(BaseModel):
    """One row of the table: a run, or one of the two baselines of a style. Unknown values are None."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    key: str
    """The run key (see `tinystyle.training.lineage`); for a baseline, a name that contains the style's hash."""
    judge: str
    """Key of the `Judge` that measured the row; rows of different judges must not be compared."""
    style: str
    """SHA-256 of the style image's pixels."""
    style_name: str
    image: str
    """Location of the style image: path, URI or `builtin:NAME`."""
    name: str
    """Architecture and alpha, or `identity`, or `color match`."""
    state: State
    message: str = ""
    """Why the row has no quality metrics, in one sentence; empty if it has."""
    folder: str | None = None
    """Folder of the run."""
    architecture: str | None = None
    alpha: float | None = None
    perceptual: str | None = None
    """The loss network that the run was trained with."""
    steps: int | None = None
    crop: int | None = None
    """Side of the training crops, in pixels."""
    batch_size: int | None = None
    seed: int | None = None
    precision: str | None = None
    content: float | None = None
    paint3: float | None = None
    paint4: float | None = None
    score: float | None = None
    second3: float | None = None
    second4: float | None = None
    worst_photo: float | None = None
    """Highest fraction of bad blocks in any photo, in 0..1."""
    checkerboard: float | None = None
    border_error: float | None = None
    """Border error in gray levels."""
    weights: int | None = None
    bytes: int | None = None
    """Size, in bytes, of the .mlmodel with 8 bits per weight at 640x480."""
    macs: int | None = None
    """Multiply-accumulates for a 640x480 image."""
    latency_ms: float | None = None
    """Latency for a 640x480 image, in ms. Measured again for every table, so it is not in frontier.jsonl."""

    @classmethod
    def of_run(cls, record: RunRecord, folder: Path, image: str, judge: str, state: State, **figures: Any) -> Row:
        """Create the row of a run from its record.

        Args:
            record: record of the run.
            folder: folder of the run.
            image: current location of the style image.
            judge: key of the `Judge` that measured the run.
            state: how the run ended.
            figures: values of any other fields.
        """
        config = record.config
        return cls(
            key=record.lineage["key"],
            judge=judge,
            style=record.lineage["style"],
            style_name=record.lineage["style_name"],
            image=image,
            name=f"{config.network.architecture} {config.network.alpha:g}",
            state=state,
            folder=str(folder),
            architecture=config.network.architecture,
            alpha=config.network.alpha,
            perceptual=config.loss.perceptual,
            steps=config.optimizer.steps,
            crop=config.data.size,
            batch_size=config.data.batch_size,
            seed=config.seed,
            precision=config.precision,
            **figures,
        )


class RowFile:
    """The measured rows, one JSON object per line, so that an experiment can be completed over several calls.

    Args:
        path: path of frontier.jsonl; a missing file counts as empty.

    Raises:
        UserError: a line of the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._rows: dict[tuple[str, str], Row] = {}
        for number, line in enumerate(self._lines, 1):
            try:
                row = Row.model_validate_json(line)
            except ValidationError as error:
                raise UserError(f"{path} is damaged in line {number}; remove the line, or the file") from error
            self._rows[row.key, row.judge] = row

    def get(self, key: str, judge: str) -> Row | None:
        """Return the row with the run key `key` that the `Judge` with the key `judge` measured, or None."""
        return self._rows.get((key, judge))

    def append(self, row: Row) -> None:
        """Add a row and replace the file atomically."""
        self._lines.append(row.model_dump_json(exclude_none=True, exclude={"latency_ms"}))
        self._rows[row.key, row.judge] = row
        storage.write_bytes(self.path, ("\n".join(self._lines) + "\n").encode())


def fronts(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Find the Pareto front of one style's networks for each of `COSTS`, ordered by cost. Baselines are excluded."""
    networks = [row for row in rows if row.architecture]
    return {
        cost: [networks[index] for index in pareto_front([(getattr(row, cost), row.score) for row in networks])]
        for cost in COSTS
    }


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write all rows, with a column per field and a column `front_COST` of 0 or 1 for each of `COSTS`."""
    by_style: dict[str, list[Row]] = {}
    for row in rows:
        by_style.setdefault(row.style, []).append(row)
    columns = [name for name in Row.model_fields if name not in ("judge", "key")]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*columns, *(f"front_{cost}" for cost in COSTS), "key"])
    for of_style in by_style.values():
        front = {cost: {id(row) for row in found} for cost, found in fronts(of_style).items()}
        for row in of_style:
            marks = [int(id(row) in front[cost]) for cost in COSTS]
            writer.writerow([*(getattr(row, name) for name in columns), *marks, row.key])
    storage.write_bytes(path, file.getvalue().encode())

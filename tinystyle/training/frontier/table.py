"""The table of the page: its columns, and the text of its cells. Produces no HTML; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinystyle.training.frontier.rows import COSTS, Row

__all__ = ["Column", "columns_of", "table_rows"]

FRONT_NAMES = {"weights": "weights", "bytes": "bytes", "macs": "MACs", "latency_ms": "latency"}


@dataclass(frozen=True)
class Column:
    """One column of numbers."""

    attribute: str
    """Name of the attribute of `Row` that the column shows."""
    heading: str
    unit: str
    format: str
    scale: float | None = None

    def cell(self, row: Row) -> dict[str, str]:
        """Return the text of a row's cell and the number to sort by; both are empty if the row has no value."""
        value = getattr(row, self.attribute)
        if value is None:
            return {"text": "", "value": ""}
        text = format(value * self.scale if self.scale else value, self.format)
        # Avoid -0.00.
        return {"text": text.removeprefix("-") if not text.strip("-0.,%") else text, "value": repr(value)}


_COLUMNS = (
    Column("score", "score", "", ".3f"),
    Column("content", "content", "", ".3f"),
    Column("paint3", "paint3", "", ".3f"),
    Column("paint4", "paint4", "", ".3f"),
    Column("second3", "second3", "", ".3f"),
    Column("second4", "second4", "", ".3f"),
    Column("weights", "weights", "", ",d"),
    Column("bytes", "bytes", "8-bit .mlmodel", ",d"),
    Column("macs", "MACs", "billions", ",.2f", 1e-9),
    Column("latency_ms", "latency", "ms", ",.0f"),
    Column("worst_photo", "worst photo", "bad blocks", ".1%"),
    Column("checkerboard", "checkerboard", "photo is 1", ".2f"),
    Column("border_error", "border error", "gray levels", ".2f"),
)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the columns in which at least one row has a value, in display order."""
    return [column for column in _COLUMNS if any(getattr(row, column.attribute) is not None for row in rows)]


def table_rows(
    rows: Sequence[Row], columns: Sequence[Column], front: Mapping[str, Sequence[Row]], colors: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the content of the table for the rows of one style.

    Args:
        rows: rows of the style.
        columns: columns of numbers.
        front: rows on the Pareto front, by cost.
        colors: colors of the architectures.
    """
    shown = []
    for row in rows:
        on = [FRONT_NAMES[cost] for cost in COSTS if any(member is row for member in front[cost])]
        shown.append(
            {
                "name": row.name,
                "color": colors.get(row.architecture or "", ""),
                "state": row.state,
                "message": row.message,
                "front": "all four" if len(on) == len(COSTS) else ", ".join(on),
                "fronts": len(on),
                "cells": [column.cell(row) for column in columns],
            }
        )
    return shown

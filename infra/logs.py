"""Rotation of the servers' logs: NAME.log keeps its name, older lines are in NAME.log.1.gz, NAME.log.2.gz and so on."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

__all__ = ["KEPT", "MAX_BYTES", "oversized", "rotate"]

MAX_BYTES = 20 * 10**6
KEPT = 4
"""Number of compressed files that are kept for each log."""


def oversized(folder: Path, most: int = MAX_BYTES) -> list[Path]:
    """Return the logs in `folder` that are larger than `most` bytes."""
    return [path for path in sorted(folder.glob("*.log")) if path.stat().st_size > most]


def rotate(log: Path, kept: int = KEPT) -> None:
    """Move the content of a log to NAME.log.1.gz, and shift the older ones; the oldest is removed.

    The log is copied and then emptied, since a running server keeps it open (to append, so that it goes on at the new
    end). What is written in the instant between the two is lost.
    """
    numbered = [log.with_name(f"{log.name}.{number}.gz") for number in range(1, kept + 1)]
    new = log.with_name(f".{log.name}.new.gz")
    try:
        with log.open("rb") as lines, gzip.open(new, "wb") as packed:
            shutil.copyfileobj(lines, packed)
        new.chmod(0o600)
        for older, newer in zip(reversed(numbered), [*reversed(numbered[:-1]), new], strict=True):
            if newer.exists():
                newer.replace(older)
        os.truncate(log, 0)
    finally:
        new.unlink(missing_ok=True)

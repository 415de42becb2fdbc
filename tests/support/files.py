"""Folders as values."""

from __future__ import annotations

from pathlib import Path

__all__ = ["contents"]


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path to bytes, of every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

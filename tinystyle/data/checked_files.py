"""Checksums of files that are computed once, and again only after a file has changed."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from tinystyle.data import storage

__all__ = ["CheckedFiles"]


class CheckedFiles:
    """Remembers the SHA-256 of each file for as long as its size, modification time and inode do not change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):  # absent or damaged: all hashes are computed again
            known = json.loads(path.read_bytes())
            self._known = known if isinstance(known, dict) else {}
        self._before = dict(self._known)

    def sha256(self, path: Path) -> str:
        """Return the hexadecimal SHA-256 of a file."""
        status = path.stat()
        identity: list[object] = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._known.get(path.name)
        if not isinstance(known, list) or known[1:] != identity:
            known = [storage.sha256(path), *identity]
            self._known[path.name] = known
        return str(known[0])

    def save(self) -> None:
        """Store the hashes computed so far; if that fails, they are computed again next time."""
        if self._known != self._before:
            with suppress(OSError):
                storage.write_bytes(self._path, json.dumps(self._known).encode())

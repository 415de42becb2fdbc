"""Checks the shards of local datasets: each is compared with its checksum once, and again only after it has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tinystyle.data import storage
from tinystyle.data.manifest import ShardInfo

__all__ = ["CheckedFiles", "differing_shards"]

_PARALLEL_READS = 8


class CheckedFiles:
    """Remembers the SHA-256 of each file for as long as its size, times of change and inode are the same.

    A time of modification alone may be set to what it was; the time of the last change to the inode may not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[object]] = {}
        with suppress(OSError, ValueError):  # absent or damaged: all hashes are computed again
            known = json.loads(path.read_bytes())
            self._known = known if isinstance(known, dict) else {}
        self._before = dict(self._known)

    def sha256(self, path: Path) -> str:
        """Return the hexadecimal SHA-256 of a file."""
        identity = _identity(path.stat())
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


def differing_shards(folder: Path, shards: Sequence[ShardInfo], remembered: Path) -> list[ShardInfo]:
    """Return the shards that are missing from a local dataset or differ from their checksum, in the given order.

    Args:
        folder: the dataset.
        shards: what it should hold.
        remembered: file with the checksums that earlier calls have computed; it need not exist, or be writable.

    Raises:
        OSError: a shard cannot be read.
    """
    checked = CheckedFiles(remembered)

    def differs(shard: ShardInfo) -> bool:
        path = folder / shard.file
        return not (path.is_file() and path.stat().st_size == shard.bytes and checked.sha256(path) == shard.sha256)

    with ThreadPoolExecutor(_PARALLEL_READS) as threads:
        try:
            found = list(threads.map(differs, shards))
        finally:
            threads.shutdown(cancel_futures=True)
            checked.save()
    return [shard for shard, differing in zip(shards, found, strict=True) if differing]


def _identity(status: os.stat_result) -> list[object]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]

"""The room for datasets in the local cache: shared by processes, limited in total size.

Does not depend on the format of photos, or on how they get there. Every process that uses a dataset holds a shared lock
on the dataset's own lock file, in `locks/` beside the datasets. The least recently used dataset that nobody holds is
removed first. The lock file also records how many bytes the dataset is about to take, so that two processes that fetch
at the same time do not both count on the same space.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tinystyle.data import storage
from tinystyle.data.locks import lock_file
from tinystyle.data.manifest import MANIFEST
from tinystyle.errors import UnavailableError, UserError

__all__ = [
    "Cached",
    "checks_of",
    "hold",
    "hold_if_cached",
    "remove",
    "reserve",
    "size_limit",
    "trim",
    "unused",
]

LIMIT_VARIABLE = "TINYSTYLE_CACHE_MAX_GB"
DEFAULT_LIMIT_GB = 100.0
FOLDERS = ("datasets", "ingested")
"""Cache subfolders that hold one dataset per folder; all count toward the size limit."""

_held: dict[Path, int] = {}
_holding = threading.Lock()


def size_limit() -> int:
    """Return how many bytes all cached datasets together may take.

    The limit is $TINYSTYLE_CACHE_MAX_GB, in units of 10^9 bytes; by default 100.

    Raises:
        UserError: $TINYSTYLE_CACHE_MAX_GB is not a positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UserError(f"{LIMIT_VARIABLE} is {text!r}; give the gigabytes that cached datasets may take, as in 100")
    return limit


def hold(folder: Path) -> None:
    """Keep a dataset in the cache from being removed until this process ends, by a shared lock.

    Args:
        folder: the dataset's folder in the cache; it need not exist yet.

    Raises:
        OSError: the cache cannot be written to.
    """
    path = _lock_of(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _holding:
        if folder not in _held:
            descriptor = lock_file(path, shared=True)
            if descriptor is None:  # a file system without locks: nothing is ever removed there
                return
            _held[folder] = descriptor
        os.utime(_held[folder])


def hold_if_cached(folder: Path) -> int | None:
    """Protect a dataset from removal if it is in the cache.

    Returns:
        The descriptor of a shared lock, which the caller must close; None if the dataset is not in the cache.
    """
    try:
        return lock_file(_lock_of(folder.absolute()), shared=True, make=False)
    except OSError:  # the cache of another user; the process that opened it for us holds the lock
        return None


def trim(folder: Path) -> None:
    """Remove datasets that no process uses from the cache, least recently used first, until its size limit is met.

    Args:
        folder: dataset in the cache that is not removed.

    Raises:
        UserError: the limit is not a positive number.
        OSError: the cache cannot be written to.
    """
    with _alone(folder):
        _remove_least_recent(folder, _bytes_of(folder), size_limit())


class Cached(NamedTuple):
    """A dataset in the cache."""

    last_used: int
    """Nanoseconds since 1970."""
    folder: Path
    size: int
    """In bytes; what the dataset is about to take, if that is more."""


def unused(since: float) -> list[Cached]:
    """Return the datasets that no process has begun to use since a time (seconds since 1970), and that nobody uses."""
    return [
        cached
        for cached in _cached(storage.cache_dir())
        if cached.last_used < since * 1e9 and not _in_use(cached.folder)
    ]


def _in_use(folder: Path) -> bool:
    path = _lock_of(folder)
    descriptor = lock_file(path, wait=False, make=False)  # a new lock file would count as a use
    if descriptor is None:
        return path.exists()
    os.close(descriptor)
    return False


def remove(folder: Path) -> bool:
    """Remove a dataset from the cache; return False, and leave it there, if a process uses it."""
    with _alone(folder):
        return _remove(folder)


def reserve(folder: Path, needed: int, dataset: str) -> None:
    """Hold a dataset in the cache, and make room for it there.

    Args:
        folder: the dataset's folder in the cache.
        needed: its size in bytes.
        dataset: its address, for messages.

    Raises:
        UserError: it is larger than the limit of the cache, or the limit is not a positive number.
        OSError: the cache cannot be written to, or datasets that other processes use leave too little space.
    """
    limit = size_limit()
    if needed > limit:
        raise UserError(
            f"{dataset} takes {_gigabytes(needed)} and the cache {_gigabytes(limit)} at most; "
            f"set {LIMIT_VARIABLE} to more, or ingest fewer photos"
        )
    hold(folder)
    with _alone(folder):
        folder.mkdir(parents=True, exist_ok=True)  # other processes count existing folders
        _lock_of(folder).write_text(str(needed))
        excess = _remove_least_recent(folder, needed, limit)
        if excess <= 0:
            return
        _lock_of(folder).write_text("")
        with suppress(OSError):  # not empty: it holds an earlier copy of the dataset
            folder.rmdir()
    _release(folder)
    raise UnavailableError(
        f"{dataset} does not fit into the cache: datasets that other processes use leave {_gigabytes(needed - excess)} "
        f"of {_gigabytes(limit)}, it takes {_gigabytes(needed)}; wait for them, or set {LIMIT_VARIABLE} to more"
    )


def _release(folder: Path) -> None:
    with _holding:
        if (descriptor := _held.pop(folder, None)) is not None:
            os.close(descriptor)


def _remove_least_recent(keep: Path, needed: int, limit: int) -> int:
    """Make room for `needed` bytes of `keep`; return the bytes by which the limit is still exceeded (<= 0: none)."""
    others = [cached for cached in _cached(keep.parents[1]) if cached.folder != keep]
    excess = needed + sum(other.size for other in others) - limit
    for other in others:
        if excess <= 0:
            break
        if _remove(other.folder):
            excess -= other.size
    return excess


def _cached(cache: Path) -> list[Cached]:
    """Return all datasets in the cache folder `cache`, least recently used first."""
    parents = [cache / name for name in FOLDERS]
    return sorted(
        Cached(_last_used(folder), folder, max(_bytes_of(folder), _reserved(folder)))
        for parent in parents
        if parent.is_dir()
        for folder in parent.iterdir()
        if folder.is_dir()
    )


def _remove(folder: Path) -> bool:
    """Remove a dataset; return False if a process uses it."""
    descriptor = lock_file(_lock_of(folder), wait=False)
    if descriptor is None:
        return False
    try:
        (folder / MANIFEST).unlink(missing_ok=True)  # first: what remains if we are killed is then not a dataset
        shutil.rmtree(folder)
        checks_of(folder).unlink(missing_ok=True)
        os.truncate(descriptor, 0)
    except FileNotFoundError:
        pass
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let only one process at a time count and remove datasets."""
    path = _lock_of(folder).parent / "room"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = lock_file(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock_of(folder: Path) -> Path:
    return folder.parent.parent / "locks" / f"{folder.parent.name}-{folder.name}.lock"


def checks_of(folder: Path) -> Path:
    """Return the file that records the SHA-256 of the dataset's shards, and the files' state when it was computed."""
    return _lock_of(folder).with_suffix(".json")


def _last_used(folder: Path) -> int:
    for path in (_lock_of(folder), folder):
        with suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
    return 0


def _reserved(folder: Path) -> int:
    try:
        return int(_lock_of(folder).read_text() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def _bytes_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a temporary file that has been renamed meanwhile
            total += path.stat().st_size
    return total


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"

"""Advisory file locks that control who may write, use or remove a local folder. Does not depend on the shard format.

A lock ends with the process that holds it, however that process ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["ConcurrentIngestError", "exclusive", "lock_file"]


class ConcurrentIngestError(UserError):
    """Another process is writing to the same dataset."""

    def __init__(self, destination: str) -> None:
        super().__init__(f"{destination} is being written by another ingest; wait until it ends")


@contextmanager
def exclusive(destination: str, *, wait: bool) -> Iterator[None]:
    """Keep other processes from writing to a local `destination` during the block; a URI is not locked.

    The folder is created if absent.

    Raises:
        ConcurrentIngestError: another process is writing to it, and `wait` is false.
        UserError: `destination` is a file.
        OSError: the folder cannot be created.
    """
    if storage.is_remote(destination):
        yield
        return
    folder = Path(destination)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{destination} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise ConcurrentIngestError(destination) from error
        except OSError:
            pass  # a network file system without locks
        yield
    finally:
        os.close(descriptor)


def lock_file(path: Path, *, shared: bool = False, wait: bool = True, make: bool = True) -> int | None:
    """Open and lock a file; the lock lasts until the returned descriptor (and every copy of it) is closed.

    Args:
        path: the lock file.
        shared: take a shared lock instead of an exclusive one.
        wait: wait for other processes to release the lock.
        make: create the file if it is absent.

    Returns:
        The descriptor; None if the lock is not available: another process holds it and `wait` is false, the file is
        absent and `make` is false, or the file system does not support locks.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o666)
    except FileNotFoundError:
        if make:
            raise
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor

"""Keeps a second command out of the folder of a run, and of the place of its checkpoints."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tinystyle.config import ExecutionConfig
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["claimed"]

_LOG = logging.getLogger(__name__)


@contextmanager
def claimed(execution: ExecutionConfig, folder: Path, *, leased: bool = False) -> Iterator[threading.Event]:
    """Be the only command that trains in `folder` and keeps checkpoints in their place, during the block.

    A local folder is locked. A place in S3 has a lease (`tinystyle.training.lease`); in other stores nothing keeps a
    second command out. Runs on several machines share the folder and the place, and lock nothing.

    Args:
        execution: where the run keeps its checkpoints, and on how many machines it runs.
        folder: folder of the run; must exist.
        leased: whether the caller holds a lease on the place of the checkpoints already.

    Yields:
        An event that is set if another command has taken over the place, which it does after a minute of silence.

    Raises:
        UserError: another command is training there.
        OSError: a folder cannot be opened.
    """
    place = execution.checkpoints
    with ExitStack() as claims:
        lost = threading.Event()
        if execution.nodes == 1:
            claims.enter_context(_locked(folder, "`out`"))
            if place and not storage.is_remote(place):
                local = storage.local_path(place)
                if local.exists() and not local.is_dir():
                    raise UserError(f"{local} is a file; give a folder or URI with `checkpoints`")
                local.mkdir(parents=True, exist_ok=True)
                if not local.samefile(folder):
                    claims.enter_context(_locked(local, "`checkpoints`"))
            elif place and not leased and place.startswith(("s3://", "s3a://")):
                lost = claims.enter_context(_leased(place, folder))
        yield lost


@contextmanager
def _locked(folder: Path, parameter: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder} is in use by another command; wait until it ends, or choose another {parameter}"
            ) from error
        except OSError:
            pass  # network file systems may not support locks
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _leased(place: str, folder: Path) -> Iterator[threading.Event]:
    from tinystyle.training.lease import held

    def waiting(owner: str) -> None:
        _LOG.warning("%s is in use by %s, or was until a minute ago; waiting to see which", place, owner)

    with ExitStack() as lease:
        try:
            lost = lease.enter_context(held(place, str(folder), waiting=waiting))
        except OSError as error:
            if isinstance(error, UserError):
                raise
            # Such as a store without conditional writes. That it can be written to at all is checked by the record.
            _LOG.warning("%s has no lease, so nothing keeps a second command out: %s", place, error.strerror or error)
            lost = threading.Event()
        yield lost

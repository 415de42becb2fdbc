"""A lease on a run's checkpoints: one owner at a time, on any machine, and a late writer overwrites nothing.

The lease is a file beside the checkpoints, `lease.json`, that is only ever replaced by conditional writes. Every owner
has a number, one more than that of the owner before, and writes its checkpoints to a folder of that number. So an owner
that has lost the lease without noticing it, such as a paused machine, still writes to its own folder and harms nobody.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psutil
from pydantic import BaseModel, ValidationError

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.release.publishing.places import Place, open_place
from tinystyle.training.run_folder import BEST, LAST, RUN_FILE

__all__ = ["LEASE_FILE", "SECONDS", "Lease", "held", "owned"]

_LOG = logging.getLogger(__name__)

LEASE_FILE = "lease.json"
SECONDS = 60.0
"""Time without a renewal after which a lease may be taken over."""
_RENEWALS = 4
"""Renewals within `SECONDS`."""
_LOOK_SECONDS = 2.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_CARRIED = (LAST, BEST, RUN_FILE)  # the record last: a folder that has it has the rest


class _State(BaseModel):
    """The content of lease.json."""

    number: int
    """The owner's number, which grows by one with each owner."""
    run: str | None
    """What the owner is doing this for, such as the ID of a flow run; None if the lease is free."""
    machine: str = ""
    processes: str = ""
    """Where `process` has its meaning, as `_processes` says it; empty if that is not known."""
    process: int = 0
    began: str = ""
    """When the owner's process began, as `_began` says it."""
    renewal: str = ""
    """Differs after each renewal. Nobody compares clocks: an observer measures how long this has not changed."""

    @property
    def owner_is_dead(self) -> bool:
        """True if the owner was a process of this machine that does not exist anymore; False if that is not known."""
        return self._owner_lives() is False

    @property
    def owner_lives(self) -> bool:
        """True if the owner is a process of this machine that exists; False if that is not known."""
        return self._owner_lives() is True

    def _owner_lives(self) -> bool | None:
        # Containers, and copies of a virtual machine, may have one name.
        if self.processes != _processes():
            return None
        try:
            return _began(psutil.Process(self.process)) == self.began
        except psutil.NoSuchProcess:
            return False


class Lease:
    """A lease that this process holds.

    Attributes:
        folder: folder or URI for this owner's checkpoints, with those of the owner before.
        number: number of this owner, from 1.
        lost: set when another owner has taken over. What was going on has to end, and may not report anything.
    """

    def __init__(self, place: Place, state: _State, revision: str, seconds: float) -> None:
        self.number = state.number
        self.folder = storage.join(place.uri, f"{state.number:04d}")
        self.lost = threading.Event()
        self._place, self._state, self._revision = place, state, revision
        self._every = seconds / _RENEWALS
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="renew-lease", daemon=True)

    def holder(self) -> str | None:
        """Return the run that holds the lease now, by the name that it gave to `owned`; None if it is free."""
        found = self._place.read(LEASE_FILE)
        return _parse(self._place, found[0]).run if found else None

    def _renew(self) -> None:
        while not self._ended.wait(self._every):
            # A store that is away is no reason to stop training: whoever takes over cannot be harmed by this owner.
            with suppress(OSError):
                if not self._write(self._state.model_copy(update={"renewal": secrets.token_hex(8)})):
                    self.lost.set()
                    return

    def _write(self, state: _State) -> bool:
        """Replace the lease if it is still ours; return whether it is."""
        written = self._place.write(LEASE_FILE, state.model_dump_json().encode(), self._revision)
        if written is None:
            found = self._place.read(LEASE_FILE)
            # A write of which only the answer was lost has succeeded.
            if found is None or _parse(self._place, found[0]).number != self.number:
                return False
            written = found[1]
        self._revision = written
        return True

    def _release(self) -> None:
        self._ended.set()
        self._renewer.join()
        if not self.lost.is_set():
            with suppress(OSError):
                self._write(_State(number=self.number, run=None))


@contextmanager
def owned(
    checkpoints: str,
    run: str,
    *,
    seconds: float = SECONDS,
    waiting: Callable[[str], None] = lambda _who: None,
) -> Iterator[Lease]:
    """Hold the lease on a place of checkpoints during the block, renewed in the background.

    Waits for a living owner. An owner that has not renewed the lease for `seconds` is replaced, as is, at once, one
    with the same `run` or one whose process on this machine does not exist anymore. The checkpoints of the owner before
    are copied to `Lease.folder`.

    Args:
        checkpoints: local folder or s3:// URI that belongs to one run key.
        run: what this is for; whoever names the same run is the same owner, started again.
        seconds: time without a renewal after which a lease may be taken over.
        waiting: called once, with a description of the owner, if there is one to wait for.

    Raises:
        UserError: `checkpoints` can have no lease.
        OSError: the lease or the checkpoints cannot be read or written.
    """
    place = open_place(checkpoints)
    with _held(place, run, seconds, waiting, wait=True) as lease:
        _carry_over(place.uri, lease)
        yield lease


@contextmanager
def held(
    checkpoints: str,
    run: str,
    *,
    seconds: float = SECONDS,
    waiting: Callable[[str], None] = lambda _who: None,
) -> Iterator[threading.Event]:
    """Hold the lease as `owned` does, for an owner that keeps its checkpoints in the place itself and waits for nobody.

    An owner whose state is not known is observed for up to `seconds`: it lives if it renews the lease.

    Args:
        checkpoints: s3:// URI or local folder.
        run: what this is for, for messages.
        seconds: time without a renewal after which a lease may be taken over.
        waiting: called once, with a description of the owner, if it has to be observed.

    Yields:
        An event that is set when another owner has taken over.

    Raises:
        UserError: the place is in use.
        OSError: the lease cannot be read or written.
    """
    place = open_place(checkpoints.replace("s3a://", "s3://", 1))
    with _held(place, f"{run} {secrets.token_hex(4)}", seconds, waiting, wait=False) as lease:
        yield lease.lost


@contextmanager
def _held(place: Place, run: str, seconds: float, waiting: Callable[[str], None], *, wait: bool) -> Iterator[Lease]:
    state, revision = _acquire(place, run, seconds, waiting, wait)
    lease = Lease(place, state, revision, seconds)
    lease._renewer.start()
    try:
        yield lease
    finally:
        lease._release()


def _acquire(place: Place, run: str, seconds: float, waiting: Callable[[str], None], wait: bool) -> tuple[_State, str]:
    seen: str | None = None
    since = monotonic()
    told = False
    while True:
        found = place.read(LEASE_FILE)
        before = _parse(place, found[0]) if found else _State(number=0, run=None)
        revision = found[1] if found else None
        renewed = seen is not None
        if revision != seen:
            seen, since = revision, monotonic()
        else:
            renewed = False
        free = before.run in (None, run) or before.owner_is_dead or monotonic() - since > seconds
        if free:
            mine = _State(
                number=before.number + 1,
                run=run,
                machine=socket.gethostname(),
                processes=_processes(),
                process=os.getpid(),
                began=_began(psutil.Process()),
                renewal=secrets.token_hex(8),
            )
            if written := place.write(LEASE_FILE, mine.model_dump_json().encode(), revision):
                return mine, written
            continue  # somebody else was faster
        if not wait and (renewed or before.owner_lives):
            raise UserError(
                f"{place.uri} is in use by {before.run} on {before.machine}; wait until it ends, or give other "
                "`checkpoints`"
            )
        if not told:
            told = True
            waiting(f"{before.run} on {before.machine}")
        sleep(min(_LOOK_SECONDS, seconds / 4))


def _processes() -> str:
    """Return which start of which machine, and which namespace of it, the numbers of this machine's processes belong to."""
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"{socket.gethostname()} {psutil.boot_time():.0f}"
    with suppress(OSError):  # other systems than Linux have no namespaces
        boot += f" {_NAMESPACE.readlink()}"
    return boot


def _began(process: psutil.Process) -> str:
    """Return how many seconds after the start of the machine a process began.

    Its creation time alone is no proof: the system derives it from its clock, so it changes when that is set.
    """
    booted = psutil.boot_time()  # first, since older versions of psutil keep it for the creation time
    return f"{process.create_time() - booted:.2f}"


def _parse(place: Place, data: bytes) -> _State:
    """Return the state in a lease. A damaged one is that of an unknown owner, who is observed as any other is."""
    try:
        return _State.model_validate_json(data)
    except ValidationError:
        below = (Path(file.uri.removeprefix(place.uri).lstrip("/")).parts[0] for file in storage.find(place.uri))
        number = max((int(name) for name in below if name.isdecimal()), default=0)
        _LOG.warning("%s is damaged, and replaced", storage.join(place.uri, LEASE_FILE))
        return _State(number=number, run="an unknown owner", machine="an unknown machine")


def _carry_over(uri: str, lease: Lease) -> None:
    """Copy the checkpoints of the last owner that had any, and remove those of owners long before it."""
    for number in range(lease.number - 1, 0, -1):
        before = storage.join(uri, f"{number:04d}")
        if not storage.exists(storage.join(before, RUN_FILE)):
            continue
        with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
            for name in _CARRIED:
                if storage.exists(storage.join(before, name)):
                    storage.copy(storage.join(before, name), Path(scratch) / name)
                    storage.copy(Path(scratch) / name, storage.join(lease.folder, name))
        for name in _CARRIED[::-1]:  # of the owner before that one; a late writer of it may still leave something
            storage.remove(storage.join(uri, f"{number - 1:04d}", name))
        _LOG.info("owner %d continues from the checkpoints of owner %d", lease.number, number)
        return

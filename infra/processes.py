"""Background processes that outlive the command that starts them. Knows no particular server.

Each is the leader of a session of its own and carries two marks in its environment, which its descendants inherit: so
all that came of it is found again, whatever its parents died of, and a process identifier that the system has given to
somebody else is never touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from infra.settings import write_private

__all__ = ["descendants", "last_lines", "running", "start", "stop"]

_STACK, _SERVER = "TINYSTYLE_STACK", "TINYSTYLE_SERVER"
_CREATION_TOLERANCE = 1.0  # seconds; the kernel counts in hundredths
_started: list[subprocess.Popen[bytes]] = []
"""Kept, since a Popen that is collected while its process runs warns."""


def start(
    folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> psutil.Process:
    """Start `command` in the background, its output appended to log/NAME.log, and record it in processes.json."""
    with (folder / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**environment, _STACK: str(folder), _SERVER: name},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started.append(process)
    started = psutil.Process(process.pid)
    records = _records(folder) | {name: {"pid": process.pid, "created": started.create_time()}}
    write_private(folder / "processes.json", json.dumps(records, indent=2) + "\n")
    return started


def running(folder: Path, name: str) -> psutil.Process | None:
    """The process that `start` started under `name`, if it is alive."""
    record = _records(folder).get(name)
    with suppress(psutil.NoSuchProcess):
        if record:
            process = psutil.Process(int(record["pid"]))
            same = abs(process.create_time() - record["created"]) < _CREATION_TOLERANCE
            if same and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def recorded(folder: Path) -> list[str]:
    """The names that `start` has been given, oldest first."""
    return list(_records(folder))


def descendants(folder: Path, name: str | None = None) -> list[psutil.Process]:
    """Every live process that came of `name` (of all, if None), itself included."""
    wanted = {_STACK: str(folder)} | ({_SERVER: name} if name else {})
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and all(environment.get(mark) == value for mark, value in wanted.items()):
                found.append(process)
    return found


def stop(folder: Path, name: str, patience: float) -> bool:
    """End `name` and all that came of it; False if there was nothing.

    SIGTERM goes to its process group, which leaves it to end its own children in order (a training run saves its
    checkpoint); what is left after `patience` seconds is killed.
    """
    left = descendants(folder, name)
    if not left:
        return False
    leader = running(folder, name)
    if leader:
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGTERM)
    else:
        _signal(left, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while (left := descendants(folder, name)) and time.monotonic() < deadline:
        time.sleep(0.1)
    while left:  # again, for what was born meanwhile
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)
        left = descendants(folder, name)
    return True


def last_lines(folder: Path, name: str, count: int = 15) -> str:
    """The end of a server's log."""
    path = folder / "log" / f"{name}.log"
    lines = path.read_text(errors="replace")[-20_000:].splitlines() if path.exists() else []
    return "\n".join(lines[-count:])


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _records(folder: Path) -> dict[str, dict[str, float]]:
    path = folder / "processes.json"
    records: dict[str, dict[str, float]] = json.loads(path.read_bytes()) if path.exists() else {}
    return records

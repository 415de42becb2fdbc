"""Background processes that outlive the command that starts them. Independent of any particular server.

Each process leads a session of its own and has two marks in its environment, which its descendants inherit. So all
descendants are found even if their parents have died, and a process ID that the system has reused is never touched.
Creation times would not tell: the system derives them from its clock, and they change when that is set.
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
_started: list[subprocess.Popen[bytes]] = []
"""Kept because a Popen object that is garbage-collected while its process runs causes a warning."""


def start(
    folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path
) -> psutil.Process:
    """Start `command` in the background, append its output to log/NAME.log, and record it in processes.json.

    Args:
        folder: folder of the stack.
        name: name of the server.
        command: program and arguments.
        environment: its environment variables.
        directory: its working directory.
    """
    with (folder / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**environment, **_marks(folder, name)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started.append(process)
    records = _records(folder) | {name: {"pid": process.pid}}
    write_private(folder / "processes.json", json.dumps(records, indent=2) + "\n")
    return psutil.Process(process.pid)


def running(folder: Path, name: str) -> psutil.Process | None:
    """Return the process that `start` started under `name`, or None if it is not alive."""
    record = _records(folder).get(name)
    with suppress(psutil.NoSuchProcess):
        if record:
            process = psutil.Process(int(record["pid"]))
            if _is_marked(process, _marks(folder, name)):
                return process
    return None


def recorded(folder: Path) -> list[str]:
    """Return the names passed to `start`, oldest first."""
    return list(_records(folder))


def descendants(folder: Path, name: str | None = None) -> list[psutil.Process]:
    """Return all live processes of the server `name` (of all servers, if None): its process and all descendants."""
    marks = _marks(folder, name)
    return [process for process in psutil.process_iter() if _is_marked(process, marks)]


def stop(folder: Path, name: str, patience: float) -> bool:
    """Stop the server `name` and all its descendants; return False if there were none.

    SIGTERM is sent to its process group, so that it can stop its own children in order (a training run saves its
    checkpoint). Processes that are left after `patience` seconds are killed.
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
    while left:  # repeated, for processes that were started in the meantime
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)
        left = descendants(folder, name)
    return True


def last_lines(folder: Path, name: str, count: int = 15) -> str:
    """Return the last lines of a server's log."""
    path = folder / "log" / f"{name}.log"
    lines = path.read_text(errors="replace")[-20_000:].splitlines() if path.exists() else []
    return "\n".join(lines[-count:])


def _marks(folder: Path, name: str | None) -> dict[str, str]:
    return {_STACK: str(folder)} | ({_SERVER: name} if name else {})


def _is_marked(process: psutil.Process, marks: Mapping[str, str]) -> bool:
    """Return whether a process is alive and has these variables in its environment."""
    with suppress(psutil.Error, OSError):
        environment = process.environ()
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and all(environment.get(mark) == value for mark, value in marks.items())
    return False


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _records(folder: Path) -> dict[str, dict[str, int]]:
    path = folder / "processes.json"
    records: dict[str, dict[str, int]] = json.loads(path.read_bytes()) if path.exists() else {}
    return records

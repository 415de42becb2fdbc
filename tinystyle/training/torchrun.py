"""Runs the training processes of one machine: several through torchrun, one directly. They end with this process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tinystyle.config import ExecutionConfig
from tinystyle.data.processes import stop_signals
from tinystyle.training.run_folder import RunFolder
from tinystyle.training.worker import GROUP_FILE, PARENT_VARIABLE

if TYPE_CHECKING:
    from tinystyle.training.standby import Standby

__all__ = ["run_processes", "start_child"]

_LOG = logging.getLogger(__name__)

STOP_SECONDS = 600
"""Time that a training process has to finish its step and to save; torchrun's own limit, 30 s, is less than a slow step."""
_TORCHRUN_SECONDS = 30
"""Time that torchrun has to end after that."""
_LOOK_SECONDS = 1.0
_OF_OTHERS = ("PET_", "PL_TRAINER_", "TORCHELASTIC_")
"""Beginnings of variables with which other programs set defaults of torchrun, of Lightning and of torchrun's agent."""
_OF_LAUNCHERS = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
"""Variables with which another launcher tells its own processes apart; torchrun sets them anew for ours."""
_ANSWERS = (
    "Stopping after this step, then saving a checkpoint; two more signals (Ctrl-C) end the training now, without saving",
    "Still stopping; one more Ctrl-C ends the training now, without saving",
    "Ended without saving",
)
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def run_processes(
    execution: ExecutionConfig,
    folder: Path,
    environment: Mapping[str, str],
    stops: Sequence[threading.Event],
    standby: Standby | None = None,
) -> tuple[int, bool]:
    """Run the processes to their end; return their exit code, and whether a signal or one of `stops` has ended them.

    `standby` has a process that is ready for a run that is alone and needs no variables in its environment.
    """
    worker = ["tinystyle.training.worker", str(folder)]
    with RunFolder(folder).scratch() as scratch:
        if execution.nodes == execution.processes == 1:
            ready = standby.take(folder) if standby and not environment else None
            child = ready or start_child(worker, environment)
        else:
            arguments, variables = _meeting(execution, scratch)
            agent = ["tinystyle.training.agent", str(os.getpid()), *arguments, "-m", *worker]
            child = start_child(agent, {**environment, **variables})
        try:
            with _forwarding(child) as asked:
                code = _wait(child, asked, stops)
        except BaseException:  # any exception here stops the run cleanly
            child.terminate()
            _end(child)
            raise
    return code, bool(asked) or any(stop.is_set() for stop in stops)


def start_child(
    program: Sequence[str], environment: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a module of this package with its arguments; it ends with this process.

    In a separate session, so that Ctrl-C in a terminal reaches only this process, which then requests a clean stop.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *program],
        start_new_session=True,
        stdin=stdin,
        env={**_environment(), PARENT_VARIABLE: str(os.getpid()), **(environment or {})},
    )


def _wait(child: subprocess.Popen[bytes], asked: Sequence[int], stops: Sequence[threading.Event]) -> int:
    """Wait for a process and return its exit code; ask it to end once one of `stops` is set."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(timeout=_LOOK_SECONDS)
        if asked:  # and passed on
            return _end(child)
        if any(stop.is_set() for stop in stops):
            child.terminate()
            return _end(child)


def _end(child: subprocess.Popen[bytes]) -> int:
    """Wait for a process that was asked to end, kill it if it takes too long, and return its exit code."""
    try:
        return child.wait(timeout=STOP_SECONDS + _TORCHRUN_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _meeting(execution: ExecutionConfig, scratch: Path) -> tuple[list[str], dict[str, str]]:
    """Return torchrun's options, and variables of its environment, for how the processes of a run find each other.

    On one machine they meet in files in `scratch`. torchrun's own store would listen on all interfaces and ask nobody
    for a password; it is only used between machines.
    """
    arguments = [f"--nnodes={execution.nodes}", f"--nproc-per-node={execution.processes}", "--max-restarts=0"]
    arguments += [f"--shutdown-timeout={STOP_SECONDS}"]
    # Without a folder for its logs, torchrun leaves an empty one behind for each run.
    arguments += ["--rdzv-backend=c10d", "--rdzv-id=tinystyle", f"--log-dir={scratch}"]
    if execution.nodes > 1:
        return [*arguments, f"--rdzv-endpoint={execution.rdzv_endpoint}"], {}
    files = [f"--rdzv-endpoint={scratch / 'rendezvous'}", "--rdzv-conf=store_type=file", "--local-addr=127.0.0.1"]
    return [*arguments, *files], {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        GROUP_FILE: str(scratch / "group"),
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
    }


def _environment() -> dict[str, str]:
    """Return this process's environment without what cluster software, or another launcher, has set for its own jobs.

    torchrun warns about every signal it forwards, so its log is off by default; set LOGLEVEL to debug it.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OF_OTHERS) and name not in _OF_LAUNCHERS
    }
    level = kept.get("LOGLEVEL", "").upper()
    return kept | {"LOGLEVEL": level if level in logging.getLevelNamesMapping() else "CRITICAL"}


@contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Forward the first signal that asks to stop to `child` as SIGTERM, kill it at the third; yield their list.

    These are SIGTERM, SIGINT, and SIGHUP (the terminal is closed) unless that is ignored, as under nohup.
    """
    asked: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) == 1:
            child.terminate()
        elif len(asked) > 2:
            child.kill()
        _LOG.warning(_ANSWERS[min(len(asked), len(_ANSWERS)) - 1])

    if threading.current_thread() is not threading.main_thread():  # in a flow, Prefect handles signals
        yield asked
        return
    before = {number: signal.signal(number, forward) for number in stop_signals()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

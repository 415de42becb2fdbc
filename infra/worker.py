"""`python -m infra.worker COMMAND...`: a Prefect worker that hands its flow runs over when it is asked to stop.

Prefect's worker kills its flow runs at once when it gets SIGTERM, so that a training saves no checkpoint and its run
looks alive until it is missed. Here flow runs get the signal first, and their time; the worker takes no new ones.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import psutil

from tinystyle.data.processes import kill_with_parent

__all__ = ["GRACE_SECONDS", "command"]

GRACE_SECONDS = 60.0
"""Time that flow runs have to save what they do; less than what Kubernetes (120 s) gives."""
_FLOW = "prefect.engine"
"""Module that is the program of a flow run's process."""


def command(worker: Sequence[str]) -> list[str]:
    """Return the command line that runs the command line `worker` in this way."""
    return [sys.executable, "-m", "infra.worker", *worker]


def main() -> int:
    """Run the worker in the arguments until it ends or this process is asked to stop; return its exit code."""
    # In a session of its own: a signal to this one's process group, as of Ctrl-C, would reach it and its flow runs too.
    worker = subprocess.Popen(sys.argv[1:], start_new_session=True, preexec_fn=kill_with_parent)
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    while not asked:
        with suppress(subprocess.TimeoutExpired):
            return worker.wait(timeout=0.5)
    _hand_over(psutil.Process(worker.pid))
    worker.wait()
    return 0


def _hand_over(worker: psutil.Process) -> None:
    """Stop the worker's own processes where they are, let its flow runs end, and kill what is left."""
    family = [worker, *worker.children(recursive=True)]
    flows = [process for process in family if _is_flow(process)]
    theirs = {child.pid for flow in flows for child in _children(flow)} | {flow.pid for flow in flows}
    for process in family:
        if process.pid not in theirs:
            _signal(process, signal.SIGSTOP)
    for flow in flows:
        _signal(flow, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(_runs(flow) for flow in flows) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in [worker, *_children(worker)]:
        _signal(process, signal.SIGKILL)


def _is_flow(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return _FLOW in process.cmdline()
    return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        # Its parent is stopped, so that one that has ended stays a zombie.
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main())

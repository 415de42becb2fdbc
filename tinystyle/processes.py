"""Processes that do not outlive the one that started them, however that ends. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

__all__ = ["cpu_count", "die_with_parent"]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_SECONDS = 1.0


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with_parent(parent: int | None = None) -> None:
    """Make the system kill this process when its parent dies.

    Args:
        parent: the process id that the parent had; where another one is found already, the parent is dead and so are we.
    """
    expected = parent or os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Elsewhere, and where the parent died before the call above, or its thread did: look.
    threading.Thread(target=_watch, args=(expected,), daemon=True, name="watch-parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)

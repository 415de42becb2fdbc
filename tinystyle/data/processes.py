"""What processes have to compute with, and that they do not outlive the one that started them. Imports no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

__all__ = ["bf16_pays", "cpu_count", "die_with_parent"]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_SECONDS = 1.0


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bf16_pays(cpu: Mapping[str, object]) -> bool:
    """Whether a CPU convolves faster in bfloat16 than in float32; what torch.cpu.get_capabilities says of it.

    With matrix tiles (AMX) it does, and on AMD's processors with AVX512-BF16. On Intel's with AVX512-BF16 alone a step takes
    1.7 times as long (ARCHITECTURE.md): Winograd's algorithm is faster there, and emulation slower everywhere.
    """
    intel = "intel" in str(cpu.get("cpu_name", "")).lower()
    return bool(cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel))


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

"""CPU resources of processes, and the means to end them with the process that started them. Does not import torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = [
    "bf16_pays",
    "cpu_count",
    "die_with_parent",
    "interruptible",
    "keep_freed_memory",
    "kill_with_parent",
    "stop_signals",
    "uninterrupted",
]

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_KEPT, _LARGEST_MMAP_THRESHOLD = 2**26, 2**25  # bytes; it refuses a larger one
WATCH_SECONDS = 1.0


def cpu_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stop_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to stop: SIGTERM, SIGINT, and SIGHUP unless it is ignored, as under nohup."""
    closed = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *closed]


@contextmanager
def interruptible() -> Iterator[None]:
    """Let requests to stop end this process without a traceback during the block, and do nothing to it afterwards.

    For the main program of a child process: SIGINT would raise KeyboardInterrupt while modules are imported, until the
    block handles it, and whatever comes at the end would interrupt what Python does at exit.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in stop_signals():
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back requests to stop until the end of the block, in which child processes are started.

    Interrupted while it starts one, Python leaves it without what to do, and that ends with a traceback. Children are
    born with the signals blocked. The mask alone would not do: another thread may receive a signal, and Python still
    runs its handler in the main one.
    """
    numbers, held = stop_signals(), list[int]()
    main = threading.current_thread() is threading.main_thread()  # no other is ever interrupted, or may set handlers
    handlers = {number: signal.signal(number, lambda got, _: held.append(got)) for number in numbers if main}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if held:
            signal.raise_signal(held[0])


def bf16_pays(cpu: Mapping[str, object]) -> bool:
    """Return whether convolutions are faster in bfloat16 than in float32 on a CPU.

    It does with matrix tiles (AMX), and on AMD processors with AVX512-BF16. On Intel processors with AVX512-BF16 alone,
    a step takes 1.7 times as long (ARCHITECTURE.md): Winograd's algorithm is faster there. Emulation is slower
    everywhere.

    Args:
        cpu: result of torch.cpu.get_capabilities.
    """
    intel = "intel" in str(cpu.get("cpu_name", "")).lower()
    return bool(cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel))


def die_with_parent(parent: int | None = None) -> None:
    """Make the system kill this process when its parent dies.

    Args:
        parent: process id of the parent; if this process already has another parent, the original one is dead, and this
            process is killed too.
    """
    expected = parent or os.getppid()
    kill_with_parent()
    # Poll on other systems, and in case the parent died before the call above, or only the thread that started us did.
    threading.Thread(target=_watch, args=(expected,), daemon=True, name="watch-parent").start()


def kill_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, also after an exec; does nothing except on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_freed_memory() -> None:
    """Let this process keep up to 64 MiB that it has freed; does nothing where the C library is not GNU's.

    For a process that allocates and frees a few megabytes for every photo. By default they go back to the system each
    time, and it clears each page anew: a third of the time of decoding a photo of 640x480.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)

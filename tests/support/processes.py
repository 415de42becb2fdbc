"""Looks at processes that may end while they are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import psutil

__all__ = ["command_lines"]


def command_lines(processes: Iterable[psutil.Process]) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Yield each process with its command line, without those that have ended, waited for or not."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield process, process.cmdline()

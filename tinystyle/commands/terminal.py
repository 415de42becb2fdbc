"""Where commands write: results to stdout, progress to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinystyle.user_errors import errors

__all__ = ["FAILED", "STOPPED", "photo_progress", "screen"]

FAILED, STOPPED = 1, 75  # 75 is EX_TEMPFAIL of sysexits.h: run it again
screen = Console(highlight=False, markup=False, emoji=False)  # paths may hold brackets, and :names:


@contextmanager
def photo_progress() -> Iterator[Callable[[int, int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields a function of (done, total, quarantined)."""
    columns = (
        TextColumn("{task.completed}/{task.total} photos, {task.fields[bad]} unusable"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None, bad=0, visible=False)  # until there is something to count
        yield lambda done, total, bad: bar.update(task, completed=done, total=total, bad=bad, visible=True)

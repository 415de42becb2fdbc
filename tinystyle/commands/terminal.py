"""Terminal output and exit codes of commands. Results go to stdout, the rest to stderr; errors are one sentence."""

from __future__ import annotations

import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import ControlType
from typer.exceptions import TyperException

from tinystyle.commands.mistakes import mistake
from tinystyle.data.processes import stop_signals
from tinystyle.data.streams import forget_empty_terminal
from tinystyle.errors import UserError, debugging, sentence, with_parameters

__all__ = [
    "BUG", "FAILED", "INTERRUPTED", "STOPPED", "USAGE_ERROR", "check_current_folder", "errors", "frame_progress",
    "log_to_stderr", "photo_progress", "refuse_empty", "reporting_errors", "resumable", "say", "screen",
]  # fmt: skip

FAILED, USAGE_ERROR = 1, 2
BUG, STOPPED = 70, 75  # EX_SOFTWARE and EX_TEMPFAIL of sysexits.h; the latter means: run the command again
INTERRUPTED = 130
"""Exit code that shells report for a command ended by SIGINT."""
forget_empty_terminal()
screen = Console(highlight=False, markup=False, emoji=False)  # paths may contain brackets and :names:
errors = Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Print a message of the library to stderr, in which parameter names in backticks become option names."""
    errors.print(with_parameters(text, _option), soft_wrap=True)


class _Sentences(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # The bar of a training process may be on this line; it is drawn again below.
        errors.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
        say(record.getMessage())


def log_to_stderr() -> None:
    """Print the library's log messages to stderr, in the form of `say`."""
    logger = logging.getLogger("tinystyle")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(_Sentences())


def _option(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


@contextmanager
def reporting_errors() -> Iterator[None]:
    """End the command if the block raises: with one sentence for a user error, with a traceback for a bug."""
    try:
        yield
    except TyperException as error:
        say(f"Error: {mistake(error)}")
        sys.exit(USAGE_ERROR)
    except Exception as error:
        text = sentence(error)
        if text is None or debugging():
            traceback.print_exc()
        if text is not None:
            say(f"Error: {text}")
            sys.exit(USAGE_ERROR)
        say("This is a bug in tinystyle, please report it with the traceback above.")
        sys.exit(BUG)


class _Asked(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised where Ctrl-C would raise a KeyboardInterrupt."""


@contextmanager
def resumable() -> Iterator[None]:
    """End the command with one sentence if it is asked to stop in the block: by Ctrl-C, SIGTERM, or a closed terminal.

    The exit code is 130 for Ctrl-C, as in shells, and 75 for the others.
    """

    def ask(_number: int, _frame: FrameType | None) -> None:
        raise _Asked

    before = {number: signal.signal(number, ask) for number in stop_signals() if number != signal.SIGINT}
    try:
        yield
    except KeyboardInterrupt as error:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # while what the block has begun is cleaned up
        say("Interrupted; what is done is kept, run the same command again to continue")
        raise typer.Exit(STOPPED if isinstance(error, _Asked) else INTERRUPTED) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_current_folder() -> None:
    """Reject a current folder that was deleted: relative paths mean nothing there, and torch's libraries do not load.

    Raises:
        UserError: it does not exist, or is hidden from this user.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UserError("the current folder does not exist any more; change to another one") from error


def refuse_empty(arguments: Sequence[str]) -> None:
    """Reject empty arguments, which mostly come from unset shell variables, and as a path mean the current folder.

    And memory://, which ends with the command.

    Raises:
        UserError: an argument or the value of an option is empty, or is in this process's memory.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            option = option or (before if before.startswith("--") else "an argument")
            raise UserError(f"{option} is empty; give a value, or leave it out")
        if (value if equals and option.startswith("--") else argument).startswith("memory://"):
            raise UserError(f"{argument}: is gone when the command ends; give a path, s3://, http:// or https://")


@contextmanager
def photo_progress() -> Iterator[Callable[[int, int, int], None]]:
    """Show a progress bar if stderr is a terminal; yield the function that updates it, an ingest `Progress`."""
    columns = (
        TextColumn("{task.completed}/{task.total} photos, {task.fields[bad]} unusable"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None, bad=0, visible=False)  # invisible until there is something to count
        yield lambda done, total, bad: bar.update(task, completed=done, total=total, bad=bad, visible=True)


@contextmanager
def frame_progress() -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar if stderr is a terminal; yield the function that updates it: (frames done, frames in total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None, visible=False)  # invisible until there is something to count
        began: list[tuple[float, int]] = []

        def update(done: int, total: int | None) -> None:
            now = time.monotonic()
            if not began:  # after the frames of an earlier run
                began.append((now, done))
            seconds, first = now - began[0][0], began[0][1]
            rate = f", {(done - first) / seconds:.1f} a second" if seconds > 1 else ""
            text = f"{done}{f'/{total}' if total else ''} frames{rate}"
            bar.update(task, completed=done, total=total and max(total, done), description=text, visible=True)

        yield update

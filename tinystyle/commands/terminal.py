"""Terminal output and exit codes of commands. Results go to stdout, the rest to stderr; errors are one sentence."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinystyle.errors import UserError, debugging, sentence, with_parameters

__all__ = [
    "BUG", "FAILED", "INTERRUPTED", "STOPPED", "USAGE_ERROR", "errors", "log_to_stderr", "photo_progress", "refuse_empty",
    "reporting_errors", "resumable", "say", "screen",
]  # fmt: skip

FAILED, USAGE_ERROR = 1, 2
BUG, STOPPED = 70, 75  # EX_SOFTWARE and EX_TEMPFAIL of sysexits.h; the latter means: run the command again
INTERRUPTED = 130
"""Exit code that shells report for a command ended by SIGINT."""
screen = Console(highlight=False, markup=False, emoji=False)  # paths may contain brackets and :names:
errors = Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(text: str) -> None:
    """Print a message of the library to stderr, in which parameter names in backticks become option names."""
    errors.print(with_parameters(text, _option), soft_wrap=True)


class _Sentences(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
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
    except Exception as error:
        text = sentence(error)
        if text is None or debugging():
            traceback.print_exc()
        if text is not None:
            say(f"Error: {text}")
            sys.exit(USAGE_ERROR)
        say("This is a bug in tinystyle, please report it with the traceback above.")
        sys.exit(BUG)


@contextmanager
def resumable() -> Iterator[None]:
    """On Ctrl-C in the block, print that the same command resumes, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt as error:
        say("Interrupted; what is done is kept, run the same command again to continue")
        raise typer.Exit(INTERRUPTED) from error


def refuse_empty(arguments: Sequence[str]) -> None:
    """Reject empty arguments, which mostly come from unset shell variables, and as a path mean the current folder.

    Raises:
        UserError: an argument or the value of an option is empty.
    """
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            option = option or (before if before.startswith("--") else "an argument")
            raise UserError(f"{option} is empty; give a value, or leave it out")


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

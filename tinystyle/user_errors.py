"""A user's mistake as one sentence on stderr and an exit code, never a traceback. Knows no command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console

__all__ = ["INTERRUPTED", "USAGE_ERROR", "errors", "one_sentence", "refuse_empty", "resumable"]

USAGE_ERROR = 2
INTERRUPTED = 130
"""What a shell says of a command that SIGINT ended."""
errors = Console(stderr=True, highlight=False, markup=False, emoji=False)  # paths may hold brackets, and :names:


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the command with exit code 2 and one sentence where the block raises a user error."""
    try:
        yield
    except ValidationError as error:
        _exit(_first_complaint(error))
    except OSError as error:
        _exit(f"{error.filename}: {_lower(error.strerror)}" if error.filename and error.strerror else str(error))
    except ValueError as error:
        _exit(str(error))


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C is no fault where the same command goes on from what stands."""
    try:
        yield
    except KeyboardInterrupt as error:
        errors.print("Interrupted; what is done stands, run the same command again to go on", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from error


def refuse_empty(arguments: Sequence[str]) -> None:
    """Raise ValueError on an empty argument: as a path it would mean the current folder, and it is most often a
    shell variable that is not set."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            option = option or (before if before.startswith("--") else "an argument")
            raise ValueError(f"{option} is empty; give a value, or leave it out")


def _exit(message: str) -> None:
    errors.print("Error: " + " ".join(message.split()), soft_wrap=True)
    sys.exit(USAGE_ERROR)


def _first_complaint(error: ValidationError) -> str:
    """Pydantic's first complaint, in terms of the command line."""
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return text
    field = next(part for part in reversed(first["loc"]) if isinstance(part, str))  # a number is a place within a field
    option = "--" + field.replace("_", "-")
    return f"{option} {first['input']}: {_lower(text)}"


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]

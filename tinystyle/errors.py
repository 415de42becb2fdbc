"""Users' mistakes, told apart from bugs: `UserError`, and the one sentence that each becomes where a command ends.

A `UserError` is raised wherever a user can act. Its text is one clear sentence that names parameters in backticks, as in
"`size` 12 is too small"; the command line spells them as its options. Every other error but an OSError that says which file it
is about is a bug, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from pydantic import ValidationError

__all__ = [
    "DEBUG_VARIABLE",
    "USER_ERRORS",
    "UnavailableError",
    "UserError",
    "complaint",
    "debugging",
    "sentence",
    "with_parameters",
]

DEBUG_VARIABLE = "TINYSTYLE_DEBUG"
"""Environment variable that, set to 1, has tracebacks of users' mistakes printed too."""

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
"""What a write may fail with, on a file whose name Python does not tell."""


class UserError(ValueError):
    """A mistake that the user can correct: the text says in one sentence what is wrong and what to do."""


class UnavailableError(UserError, OSError):
    """A server, a store or a disk fails for now; the same call may succeed later."""


USER_ERRORS = (UserError, ValidationError, OSError)
"""What `sentence` may have a sentence for, to catch."""


def sentence(error: BaseException) -> str | None:
    """The error as one sentence for a user; None if it is a bug."""
    if isinstance(error, UserError):
        text = str(error)
    elif isinstance(error, ValidationError):
        text = complaint(error)
    elif isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {_lower(error.strerror)}"
    elif isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        text = _lower(error.strerror or os.strerror(error.errno))
    else:
        return None
    return " ".join(text.split())


def with_parameters(text: str, spelled: Callable[[str], str]) -> str:
    """`text` with each name of a parameter, which stands in backticks, as `spelled` has it."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda name: spelled(name[1]), text)


def complaint(error: ValidationError) -> str:
    """The first of pydantic's complaints, with the name of the field in backticks, its value, and what is wrong with it."""
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    fields = [part for part in first["loc"] if isinstance(part, str)]  # a number is a place within a field
    if not fields:
        return text
    value = "" if first["type"] == "missing" else f" {first['input']}"
    return f"`{fields[-1]}`{value}: {_lower(text)}"


def debugging() -> bool:
    """Whether tracebacks of users' mistakes are wanted."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]

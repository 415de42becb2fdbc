"""User errors, as opposed to bugs: `UserError`, and the one-sentence message that a command prints for each.

Raise a `UserError` wherever the user can fix the problem. Its text is one clear sentence that names parameters in
backticks, as in "`size` 12 is too small"; the command line replaces these by its option names. Every other error is a
bug and keeps its traceback, except an OSError that names its file or that the machine causes, such as a full disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from pydantic import ValidationError

__all__ = [
    "DEBUG_VARIABLE",
    "FINAL",
    "USER_ERRORS",
    "UnavailableError",
    "UserError",
    "complaint",
    "debugging",
    "is_temporary",
    "sentence",
    "shortened",
    "with_parameters",
]

DEBUG_VARIABLE = "TINYSTYLE_DEBUG"
"""Environment variable; set to 1, it makes commands print the tracebacks of user errors too."""

_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
"""Error numbers of an OSError that the machine causes, and that is reported to the user even if it names no file."""

FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Kinds of OSError that a second attempt will not fix."""
_LONGEST_VALUE = 200
"""Number of characters of an invalid value that a sentence repeats."""
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that reverse the direction of a line: a terminal would obey them."""
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)
_QUERY = re.compile(r"(\bhttps?://[^\s?'\"]*)\?[^\s'\"<>)\],;]*", re.IGNORECASE)


class UserError(ValueError):
    """An error that the user can correct; its text says in one sentence what is wrong and what to do."""


class UnavailableError(UserError, OSError):
    """A temporary failure of a server, an object store or a disk; the same call may succeed later."""


USER_ERRORS = (UserError, ValidationError, OSError)
"""Exception types to catch for `sentence`, which returns None for those that are bugs."""


def is_temporary(error: object) -> bool:
    """Return whether the same call may succeed later: after a failure of a server, an object store or a disk."""
    return isinstance(error, OSError) and not isinstance(error, FINAL)


def sentence(error: BaseException) -> str | None:
    """Return the error as one sentence for the user, or None if it is a bug, not an error that the user can correct.

    Addresses in it lose user, password and query, which may be secrets.
    """
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
    return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(_without_secrets(text).split()))


def _without_secrets(text: str) -> str:
    return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` characters; from a longer one, the middle is left out."""
    return text if len(text) <= length else f"{text[: length - length // 4 - 3]}...{text[-(length // 4) :]}"


def with_parameters(text: str, spelled: Callable[[str], str]) -> str:
    """Replace each parameter name in `text`, which is in backticks, by `spelled(name)`."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", lambda name: spelled(name[1]), text)


def complaint(error: ValidationError) -> str:
    """Return pydantic's first validation error: the field's name in backticks, its value, and what is wrong with it."""
    first = error.errors()[0]
    text = first["msg"].removeprefix("Value error, ")
    fields = [part for part in first["loc"] if isinstance(part, str)]  # numbers are positions within a field
    if not fields:
        return text
    value = "" if first["type"] == "missing" else f" {shortened(_without_secrets(str(first['input'])), _LONGEST_VALUE)}"
    return f"`{fields[-1]}`{value}: {_lower(text)}"


def debugging() -> bool:
    """Return whether tracebacks of user errors are to be printed: whether $TINYSTYLE_DEBUG is set, and not to 0."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]

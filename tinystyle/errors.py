"""User errors, as opposed to bugs: `UserError`, and the one-sentence message that a command prints for each.

Raise a `UserError` wherever the user can fix the problem. Its text is one clear sentence that names parameters in
backticks, as in "`size` 12 is too small"; the command line replaces these by its option names. Every other error is a
bug and keeps its traceback, except an OSError that names its file or that the machine causes, such as a full disk.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from pydantic import ValidationError

__all__ = [
    "DEBUG_VARIABLE",
    "FINAL",
    "USER_ERRORS",
    "UnavailableError",
    "UserError",
    "closest",
    "complaint",
    "debugging",
    "is_temporary",
    "lowered",
    "nearest",
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
        text = f"{error.filename}: {lowered(error.strerror)}"
    elif isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        text = lowered(error.strerror or os.strerror(error.errno))
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
    given = str(first["input"])
    text = first["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    if meant := _whole_number(given) if first["type"].startswith("int_") else "":
        text += f"; did you mean {meant}?"
    fields = [part for part in first["loc"] if isinstance(part, str)]  # numbers are positions within a field
    if not fields and not isinstance(first["input"], str):  # about several fields, which the text names
        return text
    name = f"`{fields[-1]}` " if fields else ""
    if first["type"] == "missing":
        return f"{name}is missing"
    return f"{name}{shortened(_without_secrets(given), _LONGEST_VALUE)}: {lowered(text).rstrip('.')}"


def closest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean NAME?)" with the one of `known` that is most like `name`, or nothing if none is like it."""
    found = nearest(name, known)
    return f" (did you mean {found}?)" if found else ""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of `known` that is most like `name`, in any case of its letters, or None if none is like it.

    Args:
        cutoff: difflib's ratio, 0 to 1, from which two names are like each other.
    """
    lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), lower, n=1, cutoff=cutoff)
    return lower[found[0]] if found else None


def _whole_number(text: str) -> str:
    """Return the whole number that 4k, 1e4 or 4,000 stands for, as text; empty if it is none."""
    number = re.fullmatch(r"(\d[\d,_]*(?:\.\d*)?(?:e\+?\d{1,2})?)([km]?)", text.strip().lower())
    if not number:
        return ""
    value = float(re.sub("[,_]", "", number[1])) * {"": 1, "k": 1e3, "m": 1e6}[number[2]]
    return str(int(value)) if value.is_integer() else ""


def debugging() -> bool:
    """Return whether tracebacks of user errors are to be printed: whether $TINYSTYLE_DEBUG is set, and not to 0."""
    return os.environ.get(DEBUG_VARIABLE, "").lower() not in ("", "0", "false", "no")


def lowered(text: str) -> str:
    """Return a sentence to stand after a colon: its first letter in lower case, if it begins with an ordinary word."""
    return text[:1].lower() + text[1:] if re.match(r"(?:[A-Z][a-z]*|[a-z]+)\b(?![-_.:/=])", text) else text

"""Which addresses of files are accepted at all, and how one is shown: without user, password and query.

Also which of them are local paths, and which path that is. Opens no file and no connection. What an accepted address
may lead to is decided in `permission`.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator

from tinystyle.errors import UserError, shortened

__all__ = [
    "WEB",
    "Address",
    "check",
    "full",
    "has_secrets",
    "is_remote",
    "local_only",
    "local_path",
    "public",
    "shown",
    "withhold",
]

WEB = ("http", "https")
SCHEMES = {"file", "s3", "s3a", "memory", *WEB}
"""Kinds of addresses that are read; `memory` is for tests."""
LONGEST = 4096
"""Maximum length in characters; a signed address takes 500 to 2000."""
WITHHELD = "TINYSTYLE_WITHHELD"
"""Environment variable by which child processes know the parts of addresses that are recorded nowhere, as JSON."""

_PARTS = re.compile(r"([^:/?#]*)://([^/?#]*)(.*)", re.DOTALL)
_OF_STORES = {"s3", "s3a", "memory"}
_FILE = re.compile(r"file:(?://([^/]*))?(/.*)?", re.DOTALL | re.IGNORECASE)
"""A file URI: file:///PATH, file://localhost/PATH or file:/PATH (RFC 8089), in upper or lower case."""
_ONE_SLASH = re.compile(rf"({'|'.join(sorted(SCHEMES - {'file'}))}|gs|az|hf|abfs):(?:/(?!/)|$)", re.IGNORECASE)
"""What a path library makes of an address; and as a path, a folder that nobody has."""
_OF_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")
_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_INVISIBLE = {"Cc", "Zl", "Zp"}
_REVERSING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def is_remote(uri: str | Path) -> bool:
    """Return whether `uri` is outside the local file system."""
    return "://" in str(uri) and not _FILE.match(str(uri))


def local_path(uri: str | Path) -> Path:
    """Return the path of a local file, given by its path or file URI.

    In a path, "~" is the home folder, and "~name" that of a user; in a URI, %20 and the like are decoded.

    Raises:
        UserError: it is an address of something else, another machine's file, or no path of this machine.
    """
    text = str(uri)
    if not text:
        raise UserError("a path is empty; give a file or folder")
    if match := _FILE.fullmatch(text):
        host, path = match[1] or "", match[2] or ""
        if host.lower() not in ("", "localhost") or not path:
            raise UserError(f"{shown(uri)}: is not a file of this machine; give its path, or file:///PATH")
        text = os.fsdecode(unquote_to_bytes(path))
    elif fault := _no_path(text):
        raise UserError(f"{shown(uri)}: {fault}")
    else:
        text = os.path.expanduser(text)  # noqa: PTH111 - for a Path, ./~a and ~a are the same
        if text == "~" or text.startswith("~/"):
            raise UserError(f"{shown(uri)}: the home folder is not known; set HOME, or give a whole path")
    if "\0" in text:
        raise UserError(f"{shown(uri)}: has control characters; remove them")
    return Path(text)


def local_only(uri: str | Path, name: str, instead: str = "") -> Path:
    """Return the local path that a parameter must be; `local_path` says which forms it may have.

    Args:
        uri: the value of the parameter.
        name: its name as the error shows it, such as "`out`".
        instead: what takes an address, for the error, such as "`checkpoints` takes s3://".

    Raises:
        UserError: it is an address, or no path of this machine.
    """
    if is_remote(uri) or _ONE_SLASH.match(str(uri)):
        advice = f"; {instead}" if instead else ""
        raise UserError(f"{name} {shown(uri)}: is an address; give a path on this machine{advice}")
    try:
        return local_path(uri)
    except UserError as error:
        raise UserError(f"{name} {error}") from error


def public(uri: str | Path) -> str:
    """Return an address that is safe to record: without user, password, query and fragment, which may be secrets."""
    parts = _PARTS.fullmatch(str(uri))
    if not parts or not is_remote(uri):
        return str(uri)
    kind, authority, rest = parts.groups()
    if kind in _OF_STORES:  # a key may have these characters
        return f"{kind}://{authority.rpartition('@')[2]}{rest}"
    return f"{kind}://{authority.rpartition('@')[2]}{re.split('[?#]', rest, maxsplit=1)[0]}"


def has_secrets(uri: str) -> bool:
    """Return whether `public` would leave out a part of the address."""
    return is_remote(uri) and public(uri).rstrip("/") != uri.rstrip("/")


def shown(uri: str | Path) -> str:
    """Return an address for a sentence: public, of one line, at most 200 characters."""
    text = "".join(f"\\x{ord(character):02x}" if _hidden(character) else character for character in public(uri))
    return shortened(text, 200)


def check(uri: str | Path) -> str:
    """Check an address by its text alone, and return it as a string.

    Raises:
        UserError: it is too long, has invisible characters, chains addresses, is of an unknown kind, or is malformed.
    """
    if fault := _fault(str(uri)):
        raise UserError(f"{shown(uri)}: {fault}")
    return str(uri)


def withhold(uri: str) -> str:
    """Check an address and return its public form; `full` knows the rest, in this process and its children.

    So a configuration, and whatever is named, logged or stored from it, never has a password or a signature.

    Raises:
        UserError: as in `check`, or another address of the same public form is known already; without the address,
            which validation adds.
    """
    if fault := _fault(uri):
        raise UserError(fault)
    short = public(uri)
    if short != uri and is_remote(uri):
        known = _withheld()
        if known.get(short, uri) != uri:
            raise UserError("was given before with another query or password; download the two to files of their own")
        os.environ[WITHHELD] = json.dumps(known | {short: uri})
    return short


def full(uri: str | Path) -> str:
    """Return the address that `withhold` made public, or `uri` itself."""
    return _withheld().get(str(uri), str(uri))


Address = Annotated[str, AfterValidator(withhold)]
"""A field of a configuration that is a path or URI; it holds the public form."""


def _withheld() -> dict[str, str]:
    known: dict[str, str] = json.loads(os.environ.get(WITHHELD) or "{}")
    return known


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or character in _REVERSING


def _no_path(text: str) -> str | None:
    """Return why a text that is not a file URI cannot be a local path, or None."""
    if "://" in text:
        return _fault(text) or "is an address; give a path on this machine"
    if slash := _ONE_SLASH.match(text):
        return f"has one slash; write {slash[1].lower()}://{text[slash.end() :]}"
    if _OF_WINDOWS.match(text) and not os.path.lexists(text):
        return "is a path of Windows; give one of this machine"
    return None


def _fault(text: str) -> str | None:
    """Return what is wrong with an address, or None."""
    if len(text) > LONGEST:
        return f"has {len(text):,} characters; an address has at most {LONGEST:,}"
    if any(_hidden(character) for character in text):
        return "has control characters; remove them"
    if _FILE.match(text):
        return None
    kind, slashes, rest = text.partition("://")
    if not slashes:
        return _no_path(text)
    if kind not in SCHEMES:
        if kind.lower() in SCHEMES:
            return f"write {kind.lower()}:// in lower case"
        return "this kind of address is not read; give a path, s3://, http:// or https://"
    if "::" in rest.partition("/")[2].partition("?")[0] or ("::" in rest and kind not in WEB):
        return "addresses within addresses (::) are not read; unpack the file"
    return _web_fault(text, rest) if kind in WEB else _store_fault(kind, rest)


def _web_fault(text: str, rest: str) -> str | None:
    import yarl  # the reader's own parser, so that what is checked is what is read

    try:
        url = yarl.URL(text)
        host, port = url.host, url.port
    except ValueError:
        host, port = None, None
    authority = rest.partition("/")[0]
    return None if host and port and not {"\\", " "} & set(authority) else "is not a valid web address"


def _store_fault(kind: str, rest: str) -> str | None:
    bucket, _, key = rest.partition("/")
    if kind in ("s3", "s3a"):
        if "@" in bucket:
            return "a bucket has no user and password; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if not _BUCKET.fullmatch(bucket):
            return "is not s3://BUCKET/KEY"
        if "?versionId=" in key:
            return "versions of objects are not read; copy the version to a key of its own"
    return "give the key without . and .." if {".", ".."} & set(key.split("/")) else None

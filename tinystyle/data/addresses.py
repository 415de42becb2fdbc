"""Which addresses of files are accepted at all, and how one is shown: without user, password and query.

Opens no file and no connection. What an accepted address may lead to is decided in `permission`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from tinystyle.errors import UserError, shortened

__all__ = ["WEB", "Address", "check", "full", "has_secrets", "is_remote", "public", "shown", "withhold"]

WEB = ("http", "https")
SCHEMES = {"file", "s3", "s3a", "memory", *WEB}
"""Kinds of addresses that are read; `memory` is for tests."""
OPTIONAL_SCHEMES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}
"""More of them, each read where the package that is named here is installed."""
LONGEST = 4096
"""Maximum length in characters; a signed address takes 500 to 2000."""
WITHHELD = "TINYSTYLE_WITHHELD"
"""Environment variable by which child processes know the parts of addresses that are recorded nowhere, as JSON."""

_PARTS = re.compile(r"([^:/?#]*)://([^/?#]*)(.*)", re.DOTALL)
_OF_STORES = {"s3", "s3a", "memory", *OPTIONAL_SCHEMES}
_KIND = re.compile(r"[a-z][a-z0-9+.-]*")
_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_INVISIBLE = {"Cc", "Zl", "Zp"}
_REVERSING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def is_remote(uri: str | Path) -> bool:
    """Return whether `uri` is outside the local file system."""
    return "://" in str(uri) and not str(uri).startswith("file://")


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


def _fault(text: str) -> str | None:
    """Return what is wrong with an address, or None."""
    if len(text) > LONGEST:
        return f"has {len(text):,} characters; an address has at most {LONGEST:,}"
    if any(_hidden(character) for character in text):
        return "has control characters; remove them"
    if "://" not in text:
        return None
    kind, _, rest = text.partition("://")
    package = OPTIONAL_SCHEMES.get(kind, "")
    if not _KIND.fullmatch(kind) or kind not in {*SCHEMES, *OPTIONAL_SCHEMES}:
        return "this kind of address is not read; give a path, s3://, http:// or https://"
    if package and importlib.util.find_spec(package) is None:
        return f"{kind}:// is read with another package: pip install {package}"
    if kind == "file":
        return None
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
        if "?" in key or "#" in key:
            return "an s3:// address has a bucket and a key, and no options after ? or #"
    return "give the key without . and .." if {".", ".."} & set(key.split("/")) else None

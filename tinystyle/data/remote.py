"""Access to remote file systems through fsspec: which one a URI belongs to, what is tried again, and how errors read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from tinystyle.data import addresses
from tinystyle.data.addresses import public, shown
from tinystyle.data.permission import Permission
from tinystyle.errors import FINAL, UnavailableError, UserError

__all__ = [
    "NO_CREDENTIALS",
    "READ_ATTEMPTS",
    "WRITE_ATTEMPTS",
    "call",
    "checked",
    "file_system",
    "is_anonymous",
    "naming",
    "refuse_anonymous",
    "retrying",
]

# Errors that a second attempt will not fix.
_FINAL = (*FINAL, ValueError, ImportError)
_OF_THIS_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Error numbers that say nothing about the other side: the local file that is read or written is at fault."""
NO_CREDENTIALS = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
# Messages for backend errors that the user can fix, by the name of the exception.
_SAYINGS = {  # none of these is temporary, either
    "NoCredentialsError": NO_CREDENTIALS,
    "NotImplementedError": "this kind of address can be read only",
}
_WRITES = {"pipe_file", "put_file", "rm_file", "cp_file"}
_BARE = {"Forbidden": "forbidden; check the keys, their permissions, and this machine's clock"}
"""Messages for answers that have none, such as those to HEAD requests, by the phrase of their status."""
# The first contact is a read and should fail within seconds; a write may follow hours of work.
READ_ATTEMPTS, WRITE_ATTEMPTS = 4, 8


def checked(uri: str | Path) -> str:
    """Return the full address of a URI that has been checked."""
    return addresses.check(addresses.full(uri))


def file_system(uri: str | Path) -> tuple[Any, str]:
    """Return fsspec's file system for a URI, and the path of the URI there.

    Raises:
        UserError: the URI is not a permitted one, or its package is not installed.
    """
    address = checked(uri)
    scheme = address.partition("://")[0] if "://" in address else "file"
    if scheme in addresses.WEB:
        from tinystyle.data.web import WebFileSystem

        return WebFileSystem(Permission.given()), address
    options: dict[str, Any] = {}
    if scheme in ("s3", "s3a") and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
        # Only `retrying` retries: with botocore's retries too, reporting an unreachable server takes most of a minute.
        options["config_kwargs"] = {"connect_timeout": 5, "retries": {"max_attempts": 0}}
    if scheme in ("s3", "s3a"):
        options |= {"anon": is_anonymous(), "use_listings_cache": False}  # what was listed once may have changed
    try:
        filesystem = fsspec.filesystem(scheme, **options)
    except (ValueError, ImportError) as error:
        raise UserError(f"{shown(uri)}: {error}") from error
    return filesystem, filesystem._strip_protocol(address)


def is_anonymous() -> bool:
    """Return whether there are no credentials for S3, so that requests go unsigned, which public buckets answer."""
    if "anon" in fsspec.config.conf.get("s3", {}):
        return bool(fsspec.config.conf["s3"]["anon"])
    names = ("AWS_", "HOME")
    return _finds_no_credentials(tuple(sorted(item for item in os.environ.items() if item[0].startswith(names))))


@lru_cache(maxsize=8)
def _finds_no_credentials(_environment: tuple[tuple[str, str], ...]) -> bool:
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        return Session().get_credentials() is None
    except BotoCoreError:  # incomplete or without its profile: whoever signs reports it
        return False


def refuse_anonymous(uri: str | Path) -> None:
    """Raise PermissionError if something is to be written to S3 without credentials."""
    if _is_s3(uri) and is_anonymous():
        raise PermissionError(errno.EACCES, NO_CREDENTIALS, public(uri))


def _is_s3(uri: str | Path) -> bool:
    return str(uri).startswith(("s3://", "s3a://"))


def call(uri: str | Path, method: str, *args: Any, before: str | None = None, attempts: int = READ_ATTEMPTS) -> Any:
    """Call a method of the file system of `uri` with its path (after `before`, if given); errors name `uri`."""
    filesystem, path = file_system(uri)
    if method in _WRITES:
        refuse_anonymous(uri)
    with naming(uri):
        return retrying(
            getattr(filesystem, method), *([before] if before is not None else []), path, *args, attempts=attempts
        )


@contextmanager
def naming(uri: str | Path) -> Iterator[None]:
    """Give every OSError of the block the name of `uri`, except one of this machine, such as its full disk."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", public(uri)) from error
    except OSError as error:
        if error.errno in _OF_THIS_MACHINE:
            raise
        text = error.strerror or str(error)
        text = _BARE.get(text, text)
        if _is_s3(uri) and is_anonymous() and NO_CREDENTIALS not in text:
            refused = isinstance(error, PermissionError)
            text = f"{'is not public' if refused else text.rstrip('.')}, and there are {NO_CREDENTIALS}"
        raise OSError(error.errno or errno.EIO, text, public(uri)) from error


def retrying(function: Any, *args: Any, attempts: int = READ_ATTEMPTS) -> Any:
    """Call a function, and retry temporary failures for some seconds (four attempts) to half a minute (eight)."""
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        ):
            with attempt:
                return function(*args)
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:  # a backend's own exceptions (aiohttp, botocore) become one that callers know
        name = type(error).__name__
        if name in _SAYINGS:
            raise PermissionError(errno.EACCES, _SAYINGS[name]) from error
        raise UnavailableError(f"{name}: {error}") from error


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, Exception) or isinstance(error, _FINAL) or type(error).__name__ in _SAYINGS:
        return False
    return getattr(error, "errno", None) not in _OF_THIS_MACHINE

"""Where models are published: an S3 bucket or a local folder, with conditional writes that lose no other writer's data.

Does not depend on models. `tinystyle.data.storage` has no such write: fsspec's file operations neither return an entity
tag with the bytes nor write on condition of one. So `S3Place` makes the calls of the S3 protocol through s3fs.
"""

from __future__ import annotations

import errno
import hashlib
import mimetypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import fsspec
from fsspec.asyn import sync

from tinystyle.data import remote, storage
from tinystyle.data.addresses import local_only
from tinystyle.data.locks import exclusive
from tinystyle.errors import UserError

__all__ = ["MAX_LINK_SECONDS", "LocalPlace", "Place", "S3Place", "open_place", "presign"]

MAX_LINK_SECONDS = 7 * 24 * 3600
"""Maximum lifetime of a link in seconds, as limited by AWS signature version 4."""
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "OperationAborted")
_REASONS = {  # S3 error code -> (errno, what to do)
    "NoSuchBucket": (errno.ENOENT, "there is no such bucket; create it, or give another `root`"),
    "AccessDenied": (errno.EACCES, "access denied; use the keys of one who may publish"),
    "InvalidAccessKeyId": (errno.EACCES, "the server does not know the access key; correct AWS_ACCESS_KEY_ID"),
    "RequestTimeTooSkewed": (errno.EIO, "this machine's clock and the store's differ by too much; set the wrong one"),
    "SignatureDoesNotMatch": (
        errno.EACCES,
        "the secret key does not fit the access key; correct AWS_SECRET_ACCESS_KEY",
    ),
}


class Place(Protocol):
    """A root below which files are stored under names with slashes."""

    uri: str

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a file's content and its revision, which differs for any other content; None if there is no file."""

    def write(self, name: str, data: bytes, revision: str | None) -> str | None:
        """Write a file atomically if it still has that `revision` (None: no file).

        Returns:
            The file's revision now; None if it was not written.
        """

    def link(self, name: str, seconds: int) -> str:
        """Return an address at which anybody can read the file for `seconds` seconds."""


def open_place(root: str) -> Place:
    """Return the place for a root, s3://BUCKET[/PREFIX] or a local folder, without contacting a server.

    Raises:
        UserError: it is neither.
    """
    if root.startswith("s3://"):
        return S3Place(root)
    if storage.is_remote(root):
        raise UserError(f"{root}: models are published to s3://BUCKET or a local folder; give one of these")
    return LocalPlace(root)


def presign(uri: str, seconds: int) -> str:
    """Return an address at which anybody can read an s3:// object for `seconds`; for a local file, its file:// address.

    Args:
        uri: URI of one file.
        seconds: 1 to MAX_LINK_SECONDS (a week).

    Raises:
        UserError: `seconds` is out of range, or `uri` names no file.
    """
    if not 1 <= seconds <= MAX_LINK_SECONDS:
        raise UserError(f"a link can last from 1 second to a week ({MAX_LINK_SECONDS} s), not {seconds} s")
    root, _, name = uri.rpartition("/")
    if not name or root in ("s3:/", "s3:"):
        raise UserError(f"{uri}: names no file; give s3://BUCKET/NAME or a path")
    return open_place(root).link(name, seconds)


class LocalPlace:
    """A local folder, created at the first write. Writers take turns by locking it."""

    def __init__(self, root: str) -> None:
        self.uri = root.rstrip("/") or "/"
        self._folder = local_only(root, "`root`")

    def read(self, name: str) -> tuple[bytes, str] | None:
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return data, _local_revision(data)

    def write(self, name: str, data: bytes, revision: str | None) -> str | None:
        with exclusive(str(self._folder), wait=True):
            found = self.read(name)
            if (found[1] if found else None) != revision:
                return None
            storage.write_bytes(self._folder / name, data)
            return _local_revision(data)

    def link(self, name: str, seconds: int) -> str:  # noqa: ARG002 - a local address does not expire
        return (self._folder / name).resolve().as_uri()


class S3Place:
    """A prefix in a bucket, with the endpoint and keys in the usual AWS variables. Threads may share one."""

    def __init__(self, root: str) -> None:
        self._bucket, _, prefix = root.removeprefix("s3://").rstrip("/").partition("/")
        if not re.fullmatch(r"[a-zA-Z0-9._-]{1,255}", self._bucket):
            raise UserError(f"{root}: names no bucket; give s3://BUCKET or s3://BUCKET/PREFIX")
        self.uri = root.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        settings = {
            "connect_timeout": 5,
            "read_timeout": 60,
            "retries": {"mode": "standard", "max_attempts": 4},
            **fsspec.config.conf.get("s3", {}).get("config_kwargs", {}),  # the user's own
            "signature_version": "s3v4",  # required by conditional writes and long-lived links
        }
        # A client of its own, so that keys and endpoint are those of the environment now.
        self._anonymous = remote.is_anonymous()
        self._s3: Any = fsspec.filesystem(
            "s3", anon=self._anonymous, config_kwargs=settings, skip_instance_cache=True, use_listings_cache=False
        )
        self._s3.retries = 1  # botocore retries, and knows better than s3fs which failures are temporary

    def read(self, name: str) -> tuple[bytes, str] | None:
        with self._plain_errors(name):
            try:
                answer = self._s3.call_s3("get_object", Bucket=self._bucket, Key=self._prefix + name)
            except FileNotFoundError as error:
                if _fault(error).get("Code") == "NoSuchKey":
                    return None
                raise
            return sync(self._s3.loop, _content, answer["Body"]), answer["ETag"]

    def write(self, name: str, data: bytes, revision: str | None) -> str | None:
        remote.refuse_anonymous(storage.join(self.uri, name))
        condition = {"IfNoneMatch": "*"} if revision is None else {"IfMatch": revision}
        kind = mimetypes.guess_type(name)[0] or ("text/plain" if "." not in name else "application/octet-stream")
        # A client that cached an index would miss a rollback.
        kept = "no-cache" if name == "index.json" else "max-age=31536000, immutable" if "/" in name else "max-age=300"
        with self._plain_errors(name):
            try:
                answer = self._s3.call_s3(
                    "put_object",
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=data,
                    ContentType=kind,
                    CacheControl=kept,
                    **condition,
                )
            except OSError as error:
                code = _fault(error).get("Code")
                if code in _CONFLICTS or (code == "NoSuchKey" and revision is not None):  # changed or removed
                    return None
                raise
        written: str = answer["ETag"]
        return written

    def link(self, name: str, seconds: int) -> str:
        with self._plain_errors(name):
            address: str = self._s3.sign(f"{self._bucket}/{self._prefix}{name}", expiration=seconds)
        return address

    @contextmanager
    def _plain_errors(self, name: str) -> Iterator[None]:
        """Convert the errors of s3fs and botocore to an OSError, or a UserError, with one sentence."""
        from aiohttp import ClientError
        from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

        uri = storage.join(self.uri, name)
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise OSError(errno.EACCES, remote.NO_CREDENTIALS, uri) from error
        except (BotoCoreError, ClientError) as error:
            raise OSError(errno.EIO, " ".join(str(error).split()), uri) from error
        except OSError as error:
            fault = _fault(error)
            code, said = fault.get("Code", ""), fault.get("Message") or error
            number, sentence = _REASONS.get(code, (errno.EIO, f"{code}: {said}" if code else str(said)))
            if code == "AccessDenied" and self._anonymous:
                sentence = f"is not public, and there are {remote.NO_CREDENTIALS}"
            raise OSError(number, sentence, uri) from error
        except ValueError as error:  # the endpoint is not an address, or the bucket's name is not possible
            raise UserError(f"{uri}: {error}; correct AWS_ENDPOINT_URL or `root`") from error


def _local_revision(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _fault(error: OSError) -> dict[str, str]:
    """Return the Code, such as NoSuchKey, and the Message of an S3 answer that s3fs has turned into `error`."""
    answer: dict[str, dict[str, str]] = getattr(error.__cause__, "response", None) or {}
    return answer.get("Error", {})


async def _content(body: Any) -> bytes:
    async with body:  # also closes the connection if it breaks
        data: bytes = await body.read()
        return data

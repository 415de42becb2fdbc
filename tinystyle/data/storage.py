"""Reads and writes files anywhere: a local path, s3://, https://, memory://, through fsspec.

Does not depend on photos or networks. Writes are atomic: a file appears under its final name only once it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from tinystyle.data import addresses, remote
from tinystyle.data.addresses import is_remote, local_path, shown
from tinystyle.errors import UnavailableError, UserError, is_temporary

__all__ = [
    "StoredFile",
    "atomic_path",
    "cache_dir",
    "cache_root",
    "check_writable",
    "copy",
    "exists",
    "find",
    "is_remote",
    "is_web",
    "join",
    "local_path",
    "naming",
    "read_bytes",
    "remove",
    "sha256",
    "unreadable",
    "write_bytes",
]

# What is read from the web if the caller sets no limit: of a file that is kept in memory, and of one that is saved.
_MEMORY_LIMIT, _FILE_LIMIT = (1 << 30, 600.0), (1 << 33, 7200.0)


def cache_dir(subfolder: str = "") -> Path:
    """Return the cache folder (created if absent): $TINYSTYLE_CACHE, or the platform's cache folder for the user.

    Raises:
        UserError: there is none, or it cannot be created.
    """
    folder = cache_root() / subfolder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: no cache can be made there ({error.strerror}); set TINYSTYLE_CACHE to a folder that can be written to"
        ) from error
    return folder


def cache_root() -> Path:
    """Return the cache folder, which need not exist.

    Raises:
        UserError: the user has no home folder, and no other is set.
    """
    if given := os.environ.get("TINYSTYLE_CACHE"):
        return Path(given)
    try:
        return platformdirs.user_cache_path("tinystyle")
    except RuntimeError as error:
        raise UserError("there is no home folder for the cache; set TINYSTYLE_CACHE to a folder, or HOME") from error


def join(uri: str | Path, *names: str) -> str:
    """Return `uri` with `names` appended as path components."""
    head = str(uri)
    stripped = head.rstrip("/")
    return (head if stripped[-1:] in ("", ":") else stripped + "/") + "/".join(names)


def exists(uri: str | Path) -> bool:
    """Return whether a file or folder exists at `uri`."""
    if not is_remote(uri):
        return local_path(uri).exists()
    return bool(remote.call(uri, "exists"))


def read_bytes(uri: str | Path, limit: tuple[int, float] | None = None) -> bytes:
    """Return the content of a file.

    Args:
        uri: path or URI.
        limit: maximum number of bytes, which are counted while they are read, and of seconds that a web server may take.
            By default only what comes from the web is limited, to 1 GiB and 10 minutes.

    Raises:
        UserError: the file is over the limit, or is on a server that may not be contacted.
        OSError: it is missing or cannot be read (FileNotFoundError if missing).
    """
    if is_web(uri):
        from tinystyle.data import web

        content: bytes = remote.retrying(partial(web.read, remote.checked(uri), web.Limit(*(limit or _MEMORY_LIMIT))))
        return content
    most = limit[0] if limit else -1
    if not is_remote(uri):
        path = local_path(uri)
        if path.is_char_device():  # /dev/zero has no end
            raise OSError(errno.EINVAL, "is a device, not a file", str(path))
        with path.open("rb") as file:
            return _of_size(uri, file.read(most + 1 if limit else -1), most)
    if limit and int(remote.call(uri, "info").get("size") or 0) > most:
        raise _too_large(uri, most)
    data: bytes = remote.call(uri, "cat_file")
    return data


def is_web(uri: str | Path) -> bool:
    """Return whether `uri` is read over http or https."""
    return str(uri).startswith(tuple(f"{kind}://" for kind in addresses.WEB))


def _of_size(uri: str | Path, data: bytes, most: int) -> bytes:
    if 0 <= most < len(data):
        raise _too_large(uri, most)
    return data


def _too_large(uri: str | Path, most: int) -> UserError:
    return UserError(f"{shown(uri)}: is larger than {most / 1e6:,.0f} MB; give a smaller file")


def unreadable(uri: str | Path, error: OSError, text: str) -> UserError:
    """Return the error, with the message `text`, for a file that could not be read because of `error`.

    An UnavailableError says that an object store may answer later; a web address that does not answer may be a mistake.
    """
    store = is_remote(uri) and not is_web(uri)
    return UnavailableError(text) if store and is_temporary(error) else UserError(text)


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write a file atomically, creating folders as needed."""
    if not is_remote(uri):
        with atomic_path(local_path(uri)) as temporary:
            temporary.write_bytes(data)
        return
    remote.call(uri, "pipe_file", data, attempts=remote.WRITE_ATTEMPTS)


def copy(source: str | Path, destination: str | Path) -> None:
    """Copy a local file to a path or URI, or a remote one to a local path, with an atomic write."""
    if is_remote(destination):
        remote.call(destination, "put_file", before=str(local_path(source)), attempts=remote.WRITE_ATTEMPTS)
        return
    with atomic_path(local_path(destination)) as temporary:
        if is_web(source):
            from tinystyle.data import web

            remote.retrying(partial(web.save, remote.checked(source), temporary, web.Limit(*_FILE_LIMIT)))
        elif is_remote(source):
            remote.call(source, "get_file", str(temporary))
        else:
            shutil.copyfile(local_path(source), temporary)


def remove(uri: str | Path) -> None:
    """Remove a file; do nothing if it does not exist."""
    if not is_remote(uri):
        local_path(uri).unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        remote.call(uri, "rm_file")


class StoredFile(NamedTuple):
    """A file as `find` lists it."""

    uri: str
    bytes: int
    modified: datetime
    """In UTC."""


def find(folder: str | Path) -> list[StoredFile]:
    """List all files below a folder, sorted by name; none if it does not exist.

    Raises:
        OSError: it cannot be listed.
    """
    if not is_remote(folder):
        found = [(str(path), path.stat()) for path in sorted(local_path(folder).rglob("*")) if path.is_file()]
        return [StoredFile(uri, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)) for uri, stat in found]
    filesystem, _ = remote.file_system(folder)
    filesystem.invalidate_cache()
    try:
        there: dict[str, dict[str, Any]] = remote.call(folder, "find", None, False, True)  # maxdepth, withdirs, detail
    except FileNotFoundError:
        return []
    times = {path: info.get("LastModified") or info.get("created") for path, info in there.items()}
    if not all(isinstance(time, datetime) for time in times.values()):
        raise UserError(f"{folder}: this kind of address does not say when a file was changed")
    return [
        StoredFile(str(filesystem.unstrip_protocol(path)), int(info["size"]), times[path].astimezone(UTC))  # type: ignore[union-attr]
        for path, info in sorted(there.items())
    ]


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; rename it to `path` if the block succeeds, else remove it."""
    temporary = path.with_name(f".{path.name[:60]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary), str(path.parent)):
            # Name the requested file: the temporary name means nothing to anybody, and a full disk gives no name.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block that names no file, as that of a full disk, the name of `path`."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def check_writable(folder: Path) -> None:
    """Create a local folder if absent, and check now that files can be written there.

    Raises:
        UserError: they cannot.
    """
    probe = folder / f".write-test-{secrets.token_hex(4)}"
    try:
        write_bytes(probe, b"")
        remove(probe)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror}); give another folder") from error


def check_can_be_made(folder: Path) -> None:
    """Check that a local folder exists and can be written to, or can be made; unlike `check_writable`, make nothing.

    Raises:
        UserError: neither.
    """
    above = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), Path())
    if not above.is_dir():
        problem = (
            "is a file; give a folder"
            if above == folder
            else f"cannot be made ({above} is a file); give another folder"
        )
        raise UserError(f"{folder} {problem}")
    if not os.access(above, os.W_OK | os.X_OK) or os.statvfs(above).f_flag & os.ST_RDONLY:
        raise UserError(f"{folder} cannot be written to (no permission, or read-only); give another folder")

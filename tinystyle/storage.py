"""Files anywhere: a local path, s3://, https://, memory://, through fsspec. Knows nothing of photos or networks.

What is written appears under its final name whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
import platformdirs
from tenacity import Retrying, retry_if_not_exception_type, stop_after_attempt, wait_exponential_jitter

__all__ = [
    "atomic_path",
    "cache_dir",
    "copy",
    "exists",
    "fetch",
    "is_remote",
    "join",
    "read_bytes",
    "remove",
    "sha256",
    "write_bytes",
]

# What will not be different a second later.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, ImportError)


def cache_dir(subfolder: str = "") -> Path:
    """The cache folder (made if absent): $TINYSTYLE_CACHE, or the user's cache folder by the platform's custom."""
    root = Path(os.environ.get("TINYSTYLE_CACHE") or platformdirs.user_cache_path("tinystyle"))
    folder = root / subfolder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def is_remote(uri: str | Path) -> bool:
    """Whether `uri` names something outside the local file system."""
    return "://" in str(uri) and not str(uri).startswith("file://")


def join(uri: str | Path, *names: str) -> str:
    """`uri` with `names` below it."""
    return "/".join([str(uri).rstrip("/") or "/", *names])


def exists(uri: str | Path) -> bool:
    """Whether a file or folder stands at `uri`."""
    if not is_remote(uri):
        return _local(uri).exists()
    filesystem, path = _remote(uri)
    return bool(_retrying(filesystem.exists, path))


def read_bytes(uri: str | Path) -> bytes:
    """The whole file.

    Raises:
        OSError: it is missing or cannot be read (FileNotFoundError if missing).
    """
    if not is_remote(uri):
        return _local(uri).read_bytes()
    filesystem, path = _remote(uri)
    data: bytes = _retrying(filesystem.cat_file, path)
    return data


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write a file whole or not at all, making folders as needed."""
    if not is_remote(uri):
        with atomic_path(_local(uri)) as temporary:
            temporary.write_bytes(data)
        return
    filesystem, path = _remote(uri)
    _retrying(filesystem.pipe_file, path, data)


def copy(source: str | Path, destination: str | Path) -> None:
    """Copy a local file to a path or URI, or a remote one to a local path; the destination appears whole or not at all."""
    if is_remote(destination):
        filesystem, path = _remote(destination)
        _retrying(filesystem.put_file, str(_local(source)), path)
        return
    with atomic_path(_local(destination)) as temporary:
        if is_remote(source):
            filesystem, path = _remote(source)
            _retrying(filesystem.get_file, path, str(temporary))
        else:
            shutil.copyfile(_local(source), temporary)


def remove(uri: str | Path) -> None:
    """Remove a file; none there is no error."""
    if not is_remote(uri):
        _local(uri).unlink(missing_ok=True)
        return
    filesystem, path = _remote(uri)
    with suppress(FileNotFoundError):
        filesystem.rm_file(path)


def fetch(uri: str | Path, subfolder: str) -> Path:
    """A local path with the content of `uri`: itself where it is local, else a copy in the cache, fetched once.

    Raises:
        OSError: it is missing or cannot be read.
    """
    if not is_remote(uri):
        path = _local(uri)
        if not path.is_file():
            raise FileNotFoundError("no such file")
        return path
    name = hashlib.sha256(str(uri).encode()).hexdigest()[:16] + "-" + str(uri).rsplit("/", 1)[-1]
    cached = cache_dir(subfolder) / name
    if not cached.exists():
        copy(uri, cached)
    return cached


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give it what an ordinary new file would have.
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _local(uri: str | Path) -> Path:
    return Path(str(uri).removeprefix("file://")).expanduser()


def _remote(uri: str | Path) -> tuple[Any, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(str(uri))
    except (ValueError, ImportError) as error:
        raise ValueError(f"{uri}: {error}") from error
    return filesystem, path


def _retrying(function: Any, *args: Any) -> Any:
    """Call, and on a fault that may pass call again: four attempts over some seconds."""
    try:
        for attempt in Retrying(
            stop=stop_after_attempt(4),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            retry=retry_if_not_exception_type(_FINAL),
            reraise=True,
        ):
            with attempt:
                return function(*args)
    except (OSError, *_FINAL):
        raise
    except Exception as error:  # a backend's own family (aiohttp, botocore), as the one that callers know
        raise OSError(f"{type(error).__name__}: {error}") from error

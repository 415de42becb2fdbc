"""Local copies of single remote files, such as weights, fetched again when the file has changed."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
from pathlib import Path, PurePosixPath
from typing import Any

from tinystyle.data import remote, storage
from tinystyle.data.addresses import public, shown

__all__ = ["fetch"]

_LOG = logging.getLogger(__name__)
_TELLING = ("size", "ETag", "LastModified", "Last-Modified", "created", "Content-MD5", "Digest")
"""What servers say of a file that changes when the file does, by the names of fsspec."""


def fetch(uri: str | Path, subfolder: str, *, fixed: bool = False) -> Path:
    """Return a local path with the content of `uri`: itself if it is local, else a copy in the cache.

    The copy is fetched again if the file's size, entity tag or time have changed, or its server does not tell. While the
    server does not answer, an earlier copy serves.

    Args:
        uri: path or URI of a file.
        subfolder: where the copy is in the cache.
        fixed: whether the file never changes, so that its server need not be asked.

    Raises:
        OSError: it is missing, cannot be read, or is a folder or pipe.
    """
    if not storage.is_remote(uri):
        path = storage.local_path(uri)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        if not path.is_file():  # it may be read once only, and is read twice
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        return path
    # In a signed address, only the path names the file.
    name = PurePosixPath(public(uri)).name[-80:]
    copy = storage.cache_dir(subfolder) / f"{hashlib.sha256(str(uri).encode()).hexdigest()[:16]}-{name}"
    if fixed and copy.exists():
        return copy
    remembered = copy.with_name(f"{copy.name}.state")
    state = _state(uri)
    if state and copy.exists() and remembered.exists() and remembered.read_text() == state:
        return copy
    try:
        storage.copy(uri, copy)
    except FileNotFoundError:
        raise
    except OSError as error:
        if not copy.exists():
            raise
        _LOG.warning("%s cannot be read (%s); an earlier copy is used", shown(uri), error.strerror or error)
        return copy
    storage.write_bytes(remembered, state.encode())
    return copy


def _state(uri: str | Path) -> str:
    """Return a text that changes when a remote file does; empty if its server does not tell."""
    try:
        info: dict[str, Any] = remote.call(uri, "info")
    except OSError:
        return ""
    return json.dumps({name: str(info[name]) for name in _TELLING if info.get(name) is not None}, sort_keys=True)

"""Sources of photos: a local folder, an object store prefix, or a zip file (local, remote, over https).

Lists and reads files; does not depend on what is done with the bytes. A member of a remote zip is one byte range, so
members are read in any order, many at a time, and none is fetched twice.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zipfile
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tinystyle.data import addresses, remote, storage
from tinystyle.data.addresses import public
from tinystyle.data.reasons import UNREADABLE, Unusable
from tinystyle.data.zip_members import (
    FOLDER,
    NOT_REGULAR,
    Entry,
    list_zip,
    named_like_an_image,
    refuse_large,
)
from tinystyle.errors import UserError, lowered

__all__ = ["Source", "in_utf8", "open_source"]

_LOCAL_READS, _REMOTE_READS = 4, 32
_ANNOTATIONS = "annotations"
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


class Source:
    """The files at a source of photos, by name. It has all regular files; decoding finds out which are not images.

    Raises:
        UserError: there are no files.
    """

    def __init__(
        self, uri: str, entries: dict[str, Entry], problems: Iterable[tuple[str, str]], *, remote: bool
    ) -> None:
        ignored = _annotation_folders(entries)
        self.uri = uri
        """Absolute path, or URI without credentials."""
        self.remote = remote
        self.parallel_reads = _REMOTE_READS if remote else _LOCAL_READS
        """Number of simultaneous reads beyond which reading gets no faster."""
        self.problems = sorted((name, reason) for name, reason in problems if not name.startswith(ignored))
        """(name, reason) of each listed entry that is not a readable file."""
        self._entries = {name: entry for name, entry in entries.items() if not name.startswith(ignored)}
        if not self._entries and not self.problems:
            raise UserError(f"{uri} holds no files")

    def names(self) -> list[str]:
        """Return the sorted names of all files, relative to the source, with "/" between folders."""
        return sorted(self._entries)

    def state(self, name: str) -> str:
        """Return what changes when the file does: its size, and times or checksum."""
        return self._entries[name].state

    def fingerprint(self) -> str:
        """Return a hexadecimal digest of the listing: names, sizes, and times or checksums."""
        listing = "\0".join(f"{name}\0{self._entries[name].state}" for name in self.names())
        return hashlib.sha256(listing.encode()).hexdigest()

    def read(self, name: str) -> bytes:
        """Return the file's bytes. May be called from several threads.

        Raises:
            Unusable: it cannot be read; the reason begins with "unreadable" if it may be readable at another time.
        """
        try:
            return self._entries[name].read()
        except OSError as error:
            raise Unusable(f"{UNREADABLE}: {_why(error)}") from error


def open_source(uri: str) -> Source:
    """List a local folder, a local or remote zip file, or an object store prefix.

    Raises:
        UserError: nothing exists there, or nothing that can be listed.
    """
    try:
        if not storage.is_remote(uri):
            return _open_local(uri)
        if storage.is_web(uri) or public(uri).lower().endswith(".zip"):
            return _open_remote_zip(uri)
        return _open_prefix(uri)
    except FileNotFoundError as error:
        # Over https, every failure is reported as FileNotFoundError, with the real one as its cause.
        cause = error.__cause__ if storage.is_web(uri) else None
        if cause is not None and getattr(cause, "status", None) != 404:
            raise UserError(f"{_public(uri)} cannot be read: {cause}") from error
        raise UserError(f"{_public(uri)}: no such file or folder") from error
    except OSError as error:
        raise storage.unreadable(uri, error, f"{_public(uri)} cannot be read: {_why(error)}") from error


def _open_local(uri: str) -> Source:
    path = storage.local_path(uri).resolve(strict=True)
    shown = in_utf8(str(path))
    if path.is_dir():
        entries, problems = _scan(path)
        return Source(shown, entries, problems, remote=False)
    if not path.is_file():
        raise UserError(f"{addresses.shown(uri)} is neither a folder nor a zip file")

    def fetch(start: int, end: int) -> bytes:
        with path.open("rb") as file:
            return os.pread(file.fileno(), end - start, start)

    with path.open("rb") as file:
        if file.read(2) != b"PK" and not zipfile.is_zipfile(file):
            raise UserError(f"{addresses.shown(uri)} is neither a folder nor a zip file")
        entries, problems = list_zip(shown, file, fetch)
    return Source(shown, entries, problems, remote=False)


def _scan(root: Path) -> tuple[dict[str, Entry], list[tuple[str, str]]]:
    entries: dict[str, Entry] = {}
    problems: list[tuple[str, str]] = []
    next(root.iterdir(), None)  # the root itself must be readable
    folders = [(root, "", frozenset([_identity(root.stat())]))]
    while folders:
        folder, prefix, ancestors = folders.pop()
        try:
            found = list(os.scandir(folder))
        except OSError as error:
            problems.append((prefix, f"unreadable: {_why(error)}"))
            continue
        for item in sorted(found, key=lambda item: os.fsencode(item.name)):
            name = prefix + in_utf8(item.name)
            while name in entries:  # one has a backslash in its name where the other has a byte that is not UTF-8
                name += "~"
            try:
                status = item.stat()
            except OSError as error:
                problems.append((name, _why_no_stat(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                if _identity(status) in ancestors:
                    problems.append((name, "link loop"))
                    continue
                if named_like_an_image(name):
                    problems.append((name, FOLDER))
                folders.append((Path(item.path), f"{name}/", ancestors | {_identity(status)}))
            elif stat.S_ISREG(status.st_mode):
                entries[name] = Entry(_state_of(status), partial(_read_local, item.path))
            else:  # never opened: a FIFO would wait for a writer forever
                problems.append((name, NOT_REGULAR))
    return entries, problems


def _state_of(status: os.stat_result) -> str:
    """Return the state of a local file; its time of change tells of permissions, and of a date that was set back."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _read_local(path: str) -> bytes:
    refuse_large(Path(path).stat().st_size)
    return Path(path).read_bytes()


def _open_prefix(uri: str) -> Source:
    filesystem, path = remote.file_system(uri)
    filesystem.invalidate_cache()
    with remote.naming(uri):
        listing: dict[str, dict[str, Any]] = remote.retrying(partial(filesystem.find, path, detail=True))
    root = path.rstrip("/") + "/"

    def read(key: str, size: int, storage_class: str) -> bytes:
        refuse_large(size)
        try:
            # As patiently as a write: what cannot be read now is left out, while a store that is started again is back soon.
            data: bytes = remote.retrying(filesystem.cat_file, key, attempts=remote.WRITE_ATTEMPTS)
        except PermissionError as error:
            if storage_class in _ARCHIVES:
                raise Unusable(f"{UNREADABLE} in storage class {storage_class}; restore it first") from error
            raise
        return data

    entries = {}
    for key, info in listing.items():
        # Stores have no folders, but some consoles leave an empty object named like one.
        if key.startswith(root) and not info["name"].endswith("/") and info["type"] == "file":
            size = int(info.get("size") or 0)
            state = f"{size} {info.get('ETag') or info.get('LastModified') or info.get('created')}"
            entries[key[len(root) :]] = Entry(state, partial(read, key, size, str(info.get("StorageClass"))))
    return Source(_public(uri), entries, [], remote=True)


def _open_remote_zip(uri: str) -> Source:
    from tinystyle.data.web import NoRangesError

    filesystem, path = remote.file_system(uri)
    with nullcontext() if storage.is_web(uri) else remote.naming(uri):
        info = remote.retrying(filesystem.info, path)
    no_ranges = f"{_public(uri)}: the server does not serve parts of a file; download the zip and ingest the local copy"
    if info.get("size") is None or info.get("partial") is False:
        raise UserError(no_ranges)

    attempts = remote.READ_ATTEMPTS if storage.is_web(uri) else remote.WRITE_ATTEMPTS

    def fetch(start: int, end: int) -> bytes:
        data: bytes = filesystem.cat_file(path, start=start, end=end)
        if len(data) != end - start:
            raise ConnectionError(f"{len(data)} of {end - start} bytes came")
        return data

    def listing() -> tuple[dict[str, Entry], list[tuple[str, str]]]:
        with filesystem.open(path, "rb", block_size=2**20, cache_type="readahead", size=info["size"]) as file:
            return list_zip(_public(uri), file, partial(remote.retrying, fetch, attempts=attempts))

    try:
        entries, problems = remote.retrying(listing)
    except NoRangesError as error:
        raise UserError(no_ranges) from error
    return Source(_public(uri), entries, problems, remote=True)


def _annotation_folders(names: Iterable[str]) -> tuple[str, ...]:
    """Return the `annotations/` folders that are beside folders of images, as in COCO's layout."""
    children: dict[str, set[str]] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(len(parts) - 1):
            children.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    holders = (parent for parent, folders in children.items() if _ANNOTATIONS in folders and len(folders) > 1)
    return tuple(f"{parent}/{_ANNOTATIONS}/".removeprefix("/") for parent in holders)


def _public(uri: str) -> str:
    return public(uri).rstrip("/")


def in_utf8(name: str) -> str:
    """Return a name for a shard: what is not UTF-8 on disk becomes \\x and two digits."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _why_no_stat(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "dangling link"
    return "link loop" if error.errno == errno.ELOOP else f"unreadable: {_why(error)}"


def _why(error: OSError) -> str:
    return lowered(" ".join((error.strerror or str(error) or type(error).__name__).split()))[:200]

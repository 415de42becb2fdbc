"""File operations for a dataset that is being written, in a folder or at any URI: list, create, copy, describe.

Makes no decisions about the dataset.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pyarrow as pa

from tinystyle.data import remote, shards, storage
from tinystyle.data.locks import ConcurrentIngestError
from tinystyle.data.manifest import ShardInfo
from tinystyle.data.shards import ShardIndex
from tinystyle.errors import UserError

__all__ = [
    "GENERATIONS",
    "OURS",
    "PARTITIONS",
    "SHARD",
    "create",
    "damaged",
    "describe",
    "link_or_copy",
    "list_files",
    "number_of",
    "read_index_at",
    "remove_half_written",
]

SHARD = re.compile(r"shard-([0-9]{5,9})\.arrow")
PARTITIONS = "ingest-partitions"
"""Subfolder of a dataset in which its partitions are ingested before they are merged."""
GENERATIONS = "ingest-sync"
"""Subfolder of a dataset in which its next generation is made before it takes its place."""
OURS = re.compile(
    rf"\.?(shard-[0-9]+\.arrow|manifest\.json)(\..*\.tmp)?|{PARTITIONS}|{GENERATIONS}"
)  # includes files that a killed process left half-written


def number_of(file: str) -> int:
    """Return the number in the name of a shard file."""
    match = SHARD.fullmatch(file)
    assert match
    return int(match[1])


def create(destination: str, file: str, data: bytes) -> None:
    """Write a shard that does not exist yet; in an object store, an existing one with the same bytes is accepted.

    Args:
        destination: folder or URI of the dataset.
        file: name of the shard file.
        data: its content.

    Raises:
        ConcurrentIngestError: the object store has a file with this name and other bytes.
        OSError: the file cannot be written.
    """
    uri = storage.join(destination, file)
    if not storage.is_remote(uri):  # the caller holds the lock of `exclusive`
        storage.write_bytes(uri, data)
        return
    filesystem, path = remote.file_system(uri)
    remote.refuse_anonymous(uri)

    def create() -> None:
        try:
            filesystem.pipe_file(path, data, mode="create")
        except OSError as error:
            if error.errno == errno.ENOSYS:  # a store without conditional writes
                filesystem.pipe_file(path, data)
                return
            # Stores and backends report "it exists" in several ways; one cause is a lost response to the first attempt.
            try:
                standing = filesystem.cat_file(path)
            except OSError:
                raise error from None
            if standing != data:
                raise ConcurrentIngestError(destination) from error

    with remote.naming(uri):
        remote.retrying(create, attempts=remote.WRITE_ATTEMPTS)


def link_or_copy(source: str, target: str) -> None:
    """Create the file `target` as a hard link to `source`, or as a copy; in an object store, as a server-side copy."""
    if storage.is_remote(source):
        filesystem, path = remote.file_system(source)
        with remote.naming(target):
            remote.retrying(filesystem.cp_file, path, remote.file_system(target)[1], attempts=remote.WRITE_ATTEMPTS)
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without links, or the target exists
        storage.copy(source, target)


def list_files(destination: str) -> dict[str, int]:
    """Return the names and the sizes in bytes of everything directly in `destination`; folders have size -1."""
    if not storage.is_remote(destination):
        items = list(os.scandir(destination))
        return {item.name: -1 if item.is_dir() else item.stat(follow_symlinks=False).st_size for item in items}
    filesystem, path = remote.file_system(destination)
    filesystem.invalidate_cache()
    try:
        with remote.naming(destination):
            listing = remote.retrying(partial(filesystem.ls, path, detail=True))
    except FileNotFoundError:
        return {}
    return {
        item["name"].rstrip("/").rsplit("/", 1)[-1]: int(item["size"] or 0) if item["type"] == "file" else -1
        for item in listing
        if item["name"].strip("/") != path.strip("/")
    }


def remove_half_written(destination: str, files: Collection[str]) -> None:
    """Remove those of `files` that are temporary files of an interrupted ingest; at a URI, there are none."""
    if not storage.is_remote(destination):
        for file in files:
            if file.startswith(".") and OURS.fullmatch(file):
                Path(destination, file).unlink(missing_ok=True)


def read_index_at(destination: str, file: str) -> ShardIndex:
    """Read the index of the shard `file` of the dataset at `destination`, without the bytes of the photos.

    Raises:
        UserError: the shard is damaged.
        OSError: it cannot be read.
    """
    uri = storage.join(destination, file)
    try:
        if not storage.is_remote(uri):
            with pa.memory_map(uri) as mapped:
                return shards.read_index(mapped)
        filesystem, path = remote.file_system(uri)

        def read() -> ShardIndex:
            # Fetch exactly the parts that are requested, which do not include the photos.
            with filesystem.open(path, "rb", cache_type="none") as opened:
                return shards.read_index(pa.PythonFile(opened, "r"))

        with remote.naming(uri):
            index: ShardIndex = remote.retrying(read)
        return index
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(damaged(destination, file)) from error


def describe(uri: str, file: str, count: int) -> ShardInfo:
    """Return the manifest's entry for a shard that no manifest lists yet because the ingest was interrupted.

    Args:
        uri: path or URI of the shard.
        file: name of the shard file.
        count: number of photos in it.
    """
    data = storage.read_bytes(uri)
    return ShardInfo(file=file, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), count=count)


def damaged(destination: str, file: str) -> str:
    """Return the error message for a damaged shard."""
    return f"{storage.join(destination, file)} is damaged; remove the dataset and ingest it again"

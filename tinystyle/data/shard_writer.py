"""A dataset being made: what stands already, and further shards. Knows the format, not where photos come from.

The destination is a local folder or any URI. A shard appears whole or not at all and never changes; the manifest comes
last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from tinystyle import storage
from tinystyle.data import shards
from tinystyle.data.decode import PreparedPhoto
from tinystyle.data.manifest import FORMAT, MANIFEST, Manifest, Quarantined, ShardInfo
from tinystyle.data.shards import ShardIndex, ShardRow

__all__ = ["ShardWriter", "exclusive"]

_SHARD = re.compile(r"shard-([0-9]{5,9})\.arrow")
_OURS = re.compile(
    r"\.?(shard-[0-9]+\.arrow|manifest\.json)(\..*\.tmp)?"
)  # also what a killed process left half-written
_PARALLEL_READS = 8


class ShardWriter:
    """Adds shards to what stands at `destination`.

    Args:
        destination: local folder or URI; made if absent.
        size: short side of the photos in pixels.
        source: recorded as where the photos come from.
        held_out: names of the photos that are never trained on; None holds out one in twenty by their hash.

    Raises:
        ValueError: something else stands there: another size, source or held-out rule, damage, or no dataset at all.
        OSError: it cannot be read.
    """

    def __init__(self, destination: str, size: int, source: str, held_out: Collection[str] | None) -> None:
        self.destination = destination
        self.size = size
        self.source = source
        self.names_by_hash: dict[str, str] = {}
        """Every photo in the dataset: its pixels' hash and its name."""
        self.quarantined: dict[str, str] = {}
        """Names and reasons, as the shards tell."""
        self._held_out_names = None if held_out is None else frozenset(held_out)
        self._held_out: list[str] = []
        self._shards: list[ShardInfo] = []
        self._load()

    def append(self, photos: Sequence[tuple[str, PreparedPhoto]], quarantined: Sequence[tuple[str, str]]) -> None:
        """Write one further shard.

        Raises:
            OSError: it cannot be written; what stood before still stands.
        """
        rows = [ShardRow(name, photo, self._holds_out(name, photo.sha256)) for name, photo in photos]
        entries = [Quarantined(name=name, reason=reason) for name, reason in quarantined]
        data = shards.encode_shard(rows, entries, self.size, self.source)
        number = int(self._shards[-1].file[len("shard-") : -len(".arrow")]) + 1 if self._shards else 0
        info = ShardInfo(
            file=f"shard-{number:05d}.arrow", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), count=len(rows)
        )
        self._write(info.file, data)
        hashes = [row.photo.sha256 for row in rows]
        names, flags = [row.name for row in rows], [row.held_out for row in rows]
        self._add(info, ShardIndex(self.size, self.source, names, hashes, flags, entries))

    def finish(self, problems: Sequence[tuple[str, str]]) -> Manifest:
        """Write the manifest, with `problems` (name, reason) among the quarantined.

        Raises:
            OSError: it cannot be written.
        """
        names = set(self.names_by_hash.values())
        reasons = {name: reason for name, reason in (*self.quarantined.items(), *problems) if name not in names}
        manifest = Manifest(
            format=FORMAT,
            count=len(names),
            size=self.size,
            source=self.source,
            shards=self._shards,
            quarantined=[Quarantined(name=name, reason=reasons[name]) for name in sorted(reasons)],
            held_out=sorted(self._held_out),
        )
        target = storage.join(self.destination, MANIFEST)
        if not storage.exists(target) or storage.read_bytes(target) != manifest.to_json():
            self._write(MANIFEST, manifest.to_json())
        return manifest

    def _holds_out(self, name: str, sha256: str) -> bool:
        return shards.holds_out(sha256) if self._held_out_names is None else name in self._held_out_names

    def _write(self, file: str, data: bytes) -> None:
        try:
            storage.write_bytes(storage.join(self.destination, file), data)
        except OSError as error:
            raise OSError(
                f"{self.destination} cannot be written: {error.strerror or error}; "
                "what stands there is whole, and the same command continues from it"
            ) from error

    def _load(self) -> None:
        files = _files(self.destination)
        if files and not any(_OURS.fullmatch(file) for file in files):
            raise ValueError(f"{self.destination} holds files but no shard dataset; give an empty or a new folder")
        _remove_half_written(self.destination, files)
        listed: dict[str, ShardInfo] = {}
        if MANIFEST in files:
            manifest = Manifest.read(self.destination)
            self._refuse_another(manifest.size, manifest.source)
            listed = {shard.file: shard for shard in manifest.shards}
        standing = sorted((file for file in files if _SHARD.fullmatch(file)), key=lambda file: (len(file), file))
        if missing := listed.keys() - set(standing):
            raise ValueError(f"{self.destination} is incomplete: {min(missing)} is missing; remove the dataset")
        with ThreadPoolExecutor(_PARALLEL_READS) as threads:
            indices = threads.map(partial(_read_index, self.destination), standing)
            for file, index in zip(standing, indices, strict=True):
                self._refuse_another(index.size, index.source)
                expected = list(map(self._holds_out, index.names, index.sha256))
                if index.held_out != expected:
                    raise ValueError(
                        f"{self.destination} holds out other photos than asked for; give another destination"
                    )
                info = listed.get(file) or _describe(storage.join(self.destination, file), file, len(index.names))
                if info.bytes != files[file]:
                    raise ValueError(_damaged(self.destination, file))
                self._add(info, index)

    def _add(self, info: ShardInfo, index: ShardIndex) -> None:
        self._shards.append(info)
        self.names_by_hash.update(zip(index.sha256, index.names, strict=True))
        self.quarantined.update((entry.name, entry.reason) for entry in index.quarantined)
        for name, held in zip(index.names, index.held_out, strict=True):
            self.quarantined.pop(name, None)  # unreadable when an earlier shard was made
            if held:
                self._held_out.append(name)

    def _refuse_another(self, size: int, source: str) -> None:
        if size != self.size:
            raise ValueError(
                f"{self.destination} holds photos of size {size}, not {self.size}; give another destination"
            )
        if source != self.source:
            raise ValueError(f"{self.destination} was ingested from {source}; give another destination")


@contextmanager
def exclusive(destination: str, *, wait: bool) -> Iterator[None]:
    """Keep other processes from writing to a local `destination` (made if absent) meanwhile; a URI is not guarded.

    Raises:
        ValueError: another process does, and `wait` is false.
        OSError: the folder cannot be made.
    """
    if storage.is_remote(destination):
        yield
        return
    folder = Path(destination)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{destination} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise ValueError(f"{destination} is being written by another ingest; wait until it ends") from error
        except OSError:
            pass  # a network file system without locks
        yield
    finally:
        os.close(descriptor)


def _files(destination: str) -> dict[str, int]:
    """Names and sizes of what stands directly at `destination`; folders have size -1."""
    if not storage.is_remote(destination):
        items = list(os.scandir(destination))
        return {item.name: -1 if item.is_dir() else item.stat(follow_symlinks=False).st_size for item in items}
    filesystem, path = storage._remote(destination)
    filesystem.invalidate_cache()
    try:
        listing = storage._retrying(partial(filesystem.ls, path, detail=True))
    except FileNotFoundError:
        return {}
    return {
        item["name"].rstrip("/").rsplit("/", 1)[-1]: int(item["size"] or 0) if item["type"] == "file" else -1
        for item in listing
        if item["name"].strip("/") != path.strip("/")
    }


def _remove_half_written(destination: str, files: Collection[str]) -> None:
    if not storage.is_remote(destination):
        for file in files:
            if file.startswith(".") and _OURS.fullmatch(file):
                Path(destination, file).unlink(missing_ok=True)


def _read_index(destination: str, file: str) -> ShardIndex:
    uri = storage.join(destination, file)
    try:
        if not storage.is_remote(uri):
            with pa.memory_map(uri) as mapped:
                return shards.read_index(mapped)
        filesystem, path = storage._remote(uri)

        def read() -> ShardIndex:
            # Exactly the parts that are asked for: the photos stay where they are.
            with filesystem.open(path, "rb", cache_type="none") as opened:
                return shards.read_index(pa.PythonFile(opened, "r"))

        index: ShardIndex = storage._retrying(read)
        return index
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(_damaged(destination, file)) from error


def _describe(uri: str, file: str, count: int) -> ShardInfo:
    """A shard that no manifest lists yet, because the ingest was interrupted."""
    data = storage.read_bytes(uri)
    return ShardInfo(file=file, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), count=count)


def _damaged(destination: str, file: str) -> str:
    return f"{storage.join(destination, file)} is damaged; remove the dataset and ingest it again"

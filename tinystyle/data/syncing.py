"""Brings a dataset in line with its source: adds what is new, replaces what has changed, drops what has vanished.

The result has the photos, in the order, and so the identity, that an ingest of the source as it is now would have. Files
that have not changed are not read again: their photos are taken from the shards, each of which is first compared with
its checksum.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tinystyle.data import storage
from tinystyle.data.changes import cut, has_changed
from tinystyle.data.decode import PreparedPhoto, Unusable
from tinystyle.data.file_kinds import is_worth_another_try
from tinystyle.data.generations import complete_generation, discard_generations, generation_folder
from tinystyle.data.images import decoder
from tinystyle.data.ingest import Progress, open_for_ingest, write_groups
from tinystyle.data.locks import exclusive
from tinystyle.data.manifest import Manifest, ShardInfo
from tinystyle.data.reasons import UNREADABLE
from tinystyle.data.shard_files import damaged, number_of
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.shards import ShardIndex
from tinystyle.data.sources import Source
from tinystyle.errors import UserError

__all__ = ["Changes", "sync_dataset", "sync_with"]

_DUPLICATE = "duplicate of "
_OPEN_SHARDS = 8


@dataclass(frozen=True)
class Changes:
    """How many files of the source are new, have changed or have vanished since they were ingested."""

    new: int
    changed: int
    vanished: int

    def __str__(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.vanished:,} vanished"


def sync_dataset(
    source: str,
    destination: str,
    *,
    size: int = 256,
    held_out: Collection[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    photos_per_shard: int = 512,
) -> tuple[Manifest, Changes]:
    """Bring the dataset at `destination` in line with its source, or ingest the source if there is no dataset yet.

    An interrupted call changes nothing, and the same call resumes it.

    Args:
        source, destination, size, held_out, workers, progress, photos_per_shard: as in `ingest`.

    Returns:
        The manifest, and what differed.

    Raises:
        UserError: as in `ingest`; or a folder of the source cannot be read, so that nobody knows what has vanished.
        ConcurrentIngestError, OSError: as in `ingest`.
    """
    if min(size, photos_per_shard, 1 if workers is None else workers) < 1:
        raise UserError("size, workers and photos per shard must be at least 1")
    opened, destination = open_for_ingest(source, destination)
    with exclusive(destination, wait=False):
        return sync_with(opened, destination, size, held_out, workers, progress, photos_per_shard)


def sync_with(
    source: Source,
    destination: str,
    size: int,
    held_out: Collection[str] | None,
    workers: int | None,
    progress: Progress | None,
    photos_per_shard: int,
) -> tuple[Manifest, Changes]:
    """Do what `sync_dataset` does, with a listed source; the caller holds the lock of the destination."""
    closed = [name for name, reason in source.problems if name.endswith("/") and reason.startswith(UNREADABLE)]
    if closed:
        raise UserError(
            f"{source.uri}: {min(closed)} cannot be read, so that nobody knows what is gone; open it, then sync"
        )
    complete_generation(destination)
    before = ShardWriter(destination, size, source.uri, held_out)
    changes = _changes(source, before)
    if _in_line(source, before, changes):
        discard_generations(destination)
        return before.finish(source.problems), changes
    names = source.names()
    key = _key(source, before, photos_per_shard)
    folder = generation_folder(destination, key)
    discard_generations(destination, keep=folder)
    with exclusive(folder, wait=True):
        first = number_of(before.shards[-1][0].file) + 1 if before.shards else 0
        after = ShardWriter(folder, size, source.uri, held_out, first=first)
        known = _Known(source, before)
        pending: list[Sequence[str]] = []

        def write() -> None:
            write_groups(source, after, pending, names, workers, progress, len(source.problems), known)
            pending.clear()

        for group in cut(names, photos_per_shard)[len(after.shards) :]:  # each group becomes one shard
            shard = known.shard_of(group)
            if shard:
                write()
            if shard and known.fits(shard[1], after):
                after.adopt(storage.join(destination, shard[0].file), *shard)
            else:
                pending.append(group)
        write()
        if not after.names_by_hash:
            raise UserError(f"{source.uri} holds no usable photo any more; the dataset is left as it was")
        manifest = after.finish(source.problems)
    complete_generation(destination)
    return manifest, changes


def _changes(source: Source, before: ShardWriter) -> Changes:
    files, recorded = set(source.names()), {*before.names_by_hash.values(), *before.quarantined}
    changed = sum(has_changed(name, source, before) for name in files & recorded)
    return Changes(len(files - recorded), changed, len(recorded - files))


def _in_line(source: Source, before: ShardWriter, changes: Changes) -> bool:
    """Return whether an ingest of the source would make the same dataset."""
    if any(index.decoder != decoder() for _, index in before.shards):
        return False
    if changes != Changes(0, 0, 0) or before.states.keys() != set(source.names()):
        return False
    names = [name for _, index in before.shards for name in index.names]
    originals = {name: reason.removeprefix(_DUPLICATE) for name, reason in before.quarantined.items()}
    if names != sorted(names) or any(
        original > name for name, original in originals.items() if before.quarantined[name].startswith(_DUPLICATE)
    ):
        return False
    return not any(
        _is_readable(name, source) for name, reason in before.quarantined.items() if is_worth_another_try(reason)
    )


def _is_readable(name: str, source: Source) -> bool:
    try:
        source.read(name)
    except Unusable as reason:
        return not str(reason).startswith(UNREADABLE)
    return True


def _key(source: Source, before: ShardWriter, photos_per_shard: int) -> str:
    """Return a name for the generation that follows from what there is and what it is made of."""
    shards = [info.sha256 for info, _ in before.shards]
    facts = [shards, before.size, source.uri, source.fingerprint(), photos_per_shard]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


class _Known:
    """What is known of unchanged files: their photos, or why there are none. Threads may share it."""

    def __init__(self, source: Source, before: ShardWriter) -> None:
        self._before = before
        decoded = {name for _, index in before.shards if index.decoder == decoder() for name in index.states}
        self._unchanged = {name for name in decoded & set(source.names()) if not has_changed(name, source, before)}
        self._places = {name: (info, row) for info, index in before.shards for row, name in enumerate(index.names)}
        self._by_first = {min(index.states): (info, index) for info, index in before.shards if index.states}
        self._opening = threading.Lock()
        self._open = functools.lru_cache(_OPEN_SHARDS)(self._opened)

    def __call__(self, name: str) -> PreparedPhoto | str | None:
        if name not in self._unchanged:
            return None
        if name in self._places:
            return self._photo(name)
        reason = self._before.quarantined.get(name)
        if reason is None or is_worth_another_try(reason):
            return None
        if not reason.startswith(_DUPLICATE):
            return reason
        original = reason.removeprefix(_DUPLICATE)
        return self._photo(original) if original in self._places and original in self._unchanged else None

    def shard_of(self, group: Sequence[str]) -> tuple[ShardInfo, ShardIndex] | None:
        """Return the shard that has exactly these files, if none of them needs to be read again."""
        info, index = self._by_first.get(group[0], (None, None))
        if info is None or index is None or {*index.names, *(entry.name for entry in index.quarantined)} != set(group):
            return None
        current = all(
            self._before.quarantined.get(entry.name) == entry.reason and not is_worth_another_try(entry.reason)
            for entry in index.quarantined
        )
        return (info, index) if current and self._unchanged.issuperset(group) else None

    def fits(self, index: ShardIndex, after: ShardWriter) -> bool:
        """Return whether the photos of a shard are no duplicates of those before it, and its duplicates still are."""
        if any(sha256 in after.names_by_hash for sha256 in index.sha256):
            return False
        there = {*after.names_by_hash.values(), *index.names} & self._unchanged
        reasons = [entry.reason for entry in index.quarantined if entry.reason.startswith(_DUPLICATE)]
        return all(reason.removeprefix(_DUPLICATE) in there for reason in reasons)

    def _photo(self, name: str) -> PreparedPhoto:
        info, row = self._places[name]
        with self._opening:
            batch = self._open(info.file, info.sha256)
        values = {column: batch.column(column)[row].as_py() for column in ("jpeg", "sha256", "width", "height")}
        return PreparedPhoto(**values)

    def _opened(self, file: str, sha256: str) -> Any:
        uri = storage.join(self._before.destination, file)
        if storage.is_remote(uri):
            data = storage.read_bytes(uri)
            found, opened = hashlib.sha256(data).hexdigest(), pa.BufferReader(data)
        else:
            path = storage.local_path(uri)
            found, opened = storage.sha256(path), pa.memory_map(str(path))
        if found != sha256:
            raise UserError(damaged(self._before.destination, file))
        return pa.ipc.open_file(opened).get_batch(0)

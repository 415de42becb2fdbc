"""Writes a dataset: loads what already exists, and adds shards. Does not depend on where photos come from.

The destination is a local folder or any URI. Each shard is written atomically and never changes; the manifest is
written last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from tinystyle.data import shards, storage
from tinystyle.data.decode import PreparedPhoto
from tinystyle.data.images import decoder
from tinystyle.data.manifest import FORMAT, MANIFEST, Manifest, Quarantined, ShardInfo
from tinystyle.data.shard_files import (
    OURS,
    SHARD,
    create,
    damaged,
    describe,
    link_or_copy,
    list_files,
    number_of,
    read_index_at,
    remove_half_written,
)
from tinystyle.data.shards import ShardIndex, ShardRow
from tinystyle.errors import UnavailableError, UserError

__all__ = ["ShardWriter"]

_PARALLEL_READS = 8


class ShardWriter:
    """Adds shards to the dataset at `destination`.

    Args:
        destination: local folder or URI; created if absent.
        size: short side of the photos in pixels.
        source: where the photos come from; recorded in the dataset.
        held_out: names of the photos that are never used for training; None holds out one in twenty by their hash.
        first: number of the first shard, if there is none yet.

    Raises:
        UserError: the destination contains a dataset of another size, source or choice of held-out photos, a damaged
            one, or files that are no dataset.
        OSError: it cannot be read.
    """

    def __init__(
        self, destination: str, size: int, source: str, held_out: Collection[str] | None, *, first: int = 0
    ) -> None:
        self.destination = destination
        self._first = first
        self.size = size
        self.source = source
        self.names_by_hash: dict[str, str] = {}
        """Every photo in the dataset: hash of its pixels -> name."""
        self.quarantined: dict[str, str] = {}
        """Quarantined files, as recorded in the shards: name -> reason."""
        self.states: dict[str, str] = {}
        """State of every file when it was listed for the shard that records it last: name -> state."""
        self._held_out_names = None if held_out is None else frozenset(held_out)
        self._held_out: list[str] = []
        self.shards: list[tuple[ShardInfo, ShardIndex]] = []
        """Shards in the order in which they were written."""
        self._load()

    def append(
        self,
        photos: Sequence[tuple[str, PreparedPhoto]],
        quarantined: Sequence[tuple[str, str]],
        states: Mapping[str, str],
    ) -> None:
        """Write a shard with `photos` (name, photo), which also records the `quarantined` files (name, reason).

        Args:
            photos: name and photo.
            quarantined: name and reason.
            states: state of each of these files, by name.

        Raises:
            OSError: it cannot be written; existing shards are unchanged.
            ConcurrentIngestError: another process wrote a different shard with this number.
        """
        rows = [ShardRow(name, photo, self._holds_out(name, photo.sha256)) for name, photo in photos]
        entries = [Quarantined(name=name, reason=reason) for name, reason in quarantined]
        states = {name: states[name] for name in sorted((*dict(photos), *dict(quarantined))) if name in states}
        data = shards.encode_shard(rows, entries, self.size, self.source, states)
        info = ShardInfo(
            file=self._next_file(), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), count=len(rows)
        )
        with self._explaining():
            create(self.destination, info.file, data)
        hashes = [row.photo.sha256 for row in rows]
        names, flags = [row.name for row in rows], [row.held_out for row in rows]
        self._add(info, ShardIndex(self.size, self.source, names, hashes, flags, entries, states, decoder()))

    def adopt(self, uri: str, info: ShardInfo, index: ShardIndex) -> None:
        """Add a finished shard of another dataset in the same store or file system, without downloading it.

        Args:
            uri: path or URI of the shard.
            info: its entry in the manifest of the other dataset.
            index: its index.

        Raises:
            OSError: the shard cannot be copied; existing shards are unchanged.
        """
        info = info.model_copy(update={"file": self._next_file()})
        with self._explaining():
            link_or_copy(uri, storage.join(self.destination, info.file))
        self._add(info, index)

    def finish(self, problems: Sequence[tuple[str, str]]) -> Manifest:
        """Write the manifest, with `problems` (name, reason) among the quarantined files, and return it.

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
            shards=[info for info, _ in self.shards],
            quarantined=[Quarantined(name=name, reason=reasons[name]) for name in sorted(reasons)],
            held_out=sorted(self._held_out),
            photos=self._photos_sha256(),
        )
        target = storage.join(self.destination, MANIFEST)
        if not storage.exists(target) or storage.read_bytes(target) != manifest.to_json():
            with self._explaining():
                storage.write_bytes(target, manifest.to_json())
        return manifest

    def _photos_sha256(self) -> str:
        digest = hashlib.sha256()
        for _, index in self.shards:
            for sha256, held_out in zip(index.sha256, index.held_out, strict=True):
                digest.update(f"{sha256} {held_out:d}\n".encode())
        return digest.hexdigest()

    def _holds_out(self, name: str, sha256: str) -> bool:
        return shards.holds_out(sha256) if self._held_out_names is None else name in self._held_out_names

    def _next_file(self) -> str:
        number = number_of(self.shards[-1][0].file) + 1 if self.shards else self._first
        return f"shard-{number:05d}.arrow"

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"{self.destination} cannot be written: {error.strerror or error}; "
                "the existing shards are complete, and the same command resumes from them"
            ) from error

    def _load(self) -> None:
        files = list_files(self.destination)
        if files and not any(OURS.fullmatch(file) for file in files):
            raise UserError(f"{self.destination} holds files but no shard dataset; give an empty or a new folder")
        remove_half_written(self.destination, files)
        listed: dict[str, ShardInfo] = {}
        if MANIFEST in files:
            manifest = Manifest.read(self.destination)
            self._refuse_another(manifest.size, manifest.source)
            listed = {shard.file: shard for shard in manifest.shards}
        standing = sorted((file for file in files if SHARD.fullmatch(file)), key=lambda file: (len(file), file))
        if missing := listed.keys() - set(standing):
            raise UserError(f"{self.destination} is incomplete: {min(missing)} is missing; remove the dataset")
        with ThreadPoolExecutor(_PARALLEL_READS) as threads:
            indices = threads.map(partial(read_index_at, self.destination), standing)
            for file, index in zip(standing, indices, strict=True):
                self._refuse_another(index.size, index.source)
                expected = list(map(self._holds_out, index.names, index.sha256))
                if index.held_out != expected:
                    raise UserError(
                        f"{self.destination} holds out other photos than this ingest would; give another destination"
                    )
                info = listed.get(file) or describe(storage.join(self.destination, file), file, len(index.names))
                if info.bytes != files[file]:
                    raise UserError(damaged(self.destination, file))
                self._add(info, index)

    def _add(self, info: ShardInfo, index: ShardIndex) -> None:
        self.shards.append((info, index))
        self.names_by_hash.update(zip(index.sha256, index.names, strict=True))
        self.states.update(index.states)
        self.quarantined.update((entry.name, entry.reason) for entry in index.quarantined)
        for name, held in zip(index.names, index.held_out, strict=True):
            self.quarantined.pop(name, None)  # it was unreadable when an earlier shard was made
            if held:
                self._held_out.append(name)

    def _refuse_another(self, size: int, source: str) -> None:
        if size != self.size:
            raise UserError(
                f"{self.destination} holds photos with a short side of {size} pixels, not {self.size}; "
                "give another destination"
            )
        if source != self.source:
            raise UserError(f"{self.destination} was ingested from {source}; give another destination")

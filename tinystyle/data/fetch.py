"""Brings a dataset to this machine, and finds what is damaged in it before anybody trains on it."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tinystyle.data import cache, storage
from tinystyle.data.checked_files import differing_shards
from tinystyle.data.manifest import MANIFEST, Manifest, ShardInfo, damaged_shard
from tinystyle.errors import UnavailableError, UserError

__all__ = ["discard_if_damaged", "sync"]

_LOG = logging.getLogger(__name__)
_PARALLEL_FETCHES = 8


def sync(dataset: str) -> Path:
    """Return a local path of a dataset: itself if it is local, else a copy in the cache.

    Missing, changed and damaged parts of the copy are fetched; those that were there and differ are logged. Every shard
    is compared with its checksum once, and again only if its file has changed. The call may be interrupted, and several
    processes may make it at once. The copy is kept at least until this process ends; other datasets that nobody uses
    may be removed to make room for it.

    Raises:
        UserError: there is no dataset at `dataset`, it is damaged there, or it is larger than the limit of the cache.
        OSError: it cannot be fetched, or datasets that other processes use leave too little space in the cache.
    """
    manifest = Manifest.read(dataset)
    if not storage.is_remote(dataset):
        folder = storage.local_path(dataset)
        differing = differing_shards(folder, manifest.shards, _checks_of_local(folder))
        if differing:
            raise UserError(damaged_shard(folder / differing[0].file))
        return folder
    name, key = dataset.rstrip("/").rsplit("/", 1)[-1], hashlib.sha256(dataset.rstrip("/").encode()).hexdigest()
    folder = storage.cache_dir("datasets") / f"{name}-{key[:16]}"
    cache.reserve(folder, sum(shard.bytes for shard in manifest.shards), dataset)
    differing = differing_shards(folder, manifest.shards, cache.checks_of(folder))
    replaced = [shard.file for shard in differing if os.path.lexists(folder / shard.file)]
    with ThreadPoolExecutor(_PARALLEL_FETCHES) as threads:
        try:
            list(threads.map(lambda shard: _fetch(dataset, shard, folder), differing))
        finally:
            threads.shutdown(cancel_futures=True)
    if replaced:
        _LOG.warning(
            "%s in %s differed from the checksum of the dataset, and was fetched again", ", ".join(replaced), folder
        )
    if not (folder / MANIFEST).is_file() or (folder / MANIFEST).read_bytes() != manifest.to_json():
        storage.write_bytes(folder / MANIFEST, manifest.to_json())
    return folder


def discard_if_damaged(folder: Path) -> None:
    """Empty the folder of an ingested dataset in the cache if a shard is missing or differs from its checksum.

    Its photos could be ingested again alone, but into another shard, which would make another dataset.

    Args:
        folder: the dataset; nothing is done if it has no manifest.
    """
    if not (folder / MANIFEST).exists():
        return
    try:
        what = ", ".join(
            shard.file for shard in differing_shards(folder, Manifest.read(folder).shards, cache.checks_of(folder))
        )
    except (UserError, IsADirectoryError):
        what = MANIFEST
    if not what:
        return
    _LOG.warning("%s in %s differed from the checksum; the photos are ingested again", what, folder)
    # The manifest first: what remains if this is interrupted is then not a dataset.
    for path in sorted(folder.iterdir(), key=lambda each: each.name != MANIFEST):
        _discard(path)


def _fetch(dataset: str, shard: ShardInfo, folder: Path) -> None:
    """Fetch a shard, twice if need be, since it may have been damaged on its way."""
    uri, path = storage.join(dataset, shard.file), folder / shard.file
    with storage.atomic_path(path) as temporary:
        storage.copy(uri, temporary)
        if (first := storage.sha256(temporary)) != shard.sha256:
            storage.copy(uri, temporary)
            second = storage.sha256(temporary)
            if first == second:
                raise UserError(
                    f"{uri} is damaged: it differs from its checksum; remove the dataset and ingest it again"
                )
            if second != shard.sha256:
                raise UnavailableError(f"{uri} arrives damaged, each time in another way; try again later")
        if path.is_dir():
            _discard(path)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _checks_of_local(folder: Path) -> Path:
    """Return the file that remembers the checksums of a dataset outside the cache."""
    key = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()
    return storage.cache_root() / "checks" / f"{key[:16]}.json"

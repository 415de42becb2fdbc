"""Ingests photos into a shard dataset: threads read, processes decode, this process writes in the order of the names.

The result depends on the photos alone, not on the number of workers or on where an earlier run was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tinystyle.data import cache, storage
from tinystyle.data.decode import PreparedPhoto, Unusable
from tinystyle.data.decode_pool import DecodePool
from tinystyle.data.fetch import discard_if_damaged, sync
from tinystyle.data.locks import exclusive
from tinystyle.data.manifest import MANIFEST, Manifest
from tinystyle.data.processes import cpu_count
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.sources import Source, open_source
from tinystyle.errors import UnavailableError, UserError

__all__ = [
    "UNREADABLE",
    "Progress",
    "dataset_for_training",
    "groups_to_do",
    "ingest",
    "is_dataset",
    "open_for_ingest",
    "refuse_nothing_usable",
    "write_groups",
]

Progress = Callable[[int, int, int], None]
"""Callback with three numbers: photos done, photos in total, and how many of those done are quarantined (unusable)."""

UNREADABLE = "unreadable"
"""Prefix of the reason for quarantining a photo that may be readable at another time."""
# This many unreadable photos in a row mean that a remote source is gone, not that the photos are damaged.
_GONE = 64


def ingest(
    source: str,
    destination: str,
    *,
    size: int = 256,
    held_out: Collection[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    photos_per_shard: int = 512,
) -> Manifest:
    """Convert the photos at `source` to a shard dataset, or resume or extend the one at `destination`.

    Existing shards are not rewritten: new photos go to additional shards. Photos that could not be read are tried
    again.

    Args:
        source: folder, zip file, object store prefix or https address of a zip file.
        destination: folder or URI.
        size: short side of the stored photos in pixels; smaller photos are enlarged, and photos whose short side is
            under half of it are quarantined.
        held_out: names of the photos to exclude from training; None selects one in twenty, by the hash of the pixels.
        workers: number of decoding processes; None means one per core.
        progress: called after each photo.
        photos_per_shard: number of source files, usable or not, that one shard covers.

    Returns:
        The manifest, as written to the destination.

    Raises:
        UserError: an argument is out of range, the source contains no usable photo, or the destination contains other
            files or a dataset of another source or size.
        ConcurrentIngestError: another process writes to the destination.
        OSError: the destination cannot be written, or a remote source stops answering. The same call resumes later.
    """
    if min(size, photos_per_shard, 1 if workers is None else workers) < 1:
        raise UserError("size, workers and photos per shard must be at least 1")
    opened, destination = open_for_ingest(source, destination)
    if unknown := set(held_out or ()) - set(opened.names()):
        raise UserError(f"{source} holds no photo {min(unknown)!r} to hold out")
    with exclusive(destination, wait=False):
        return _ingest(opened, destination, size, held_out, workers, progress, photos_per_shard)


def is_dataset(photos: str) -> bool:
    """Return whether `photos` is a shard dataset, as opposed to photos that have yet to be ingested."""
    return not photos.startswith(("http://", "https://")) and storage.exists(storage.join(photos, MANIFEST))


def dataset_for_training(
    photos: str, size: int, progress: Progress | None = None, *, ingest_size: int | None = None
) -> Path:
    """Return the local path of a shard dataset whose photos have a short side of at least `size` pixels.

    Args:
        photos: a shard dataset (folder or URI; a remote one is fetched into the cache), or any source that `ingest`
            accepts, which is ingested into the cache, and again if files were added, removed or changed, or what was
            ingested has been damaged since.
        size: minimum short side in pixels.
        progress: called after each photo that is ingested.
        ingest_size: short side, in pixels, at which this call ingests photos; by default `size`.

    Raises:
        UserError: there is no usable photo, or the dataset's photos are smaller than `size`.
        OSError: the photos cannot be read, or the cache cannot be written.
    """
    if is_dataset(photos):
        manifest = Manifest.read(photos)
        if manifest.size < size:
            raise UserError(
                f"{photos} holds photos with a short side of {manifest.size} pixels, {size} are needed; "
                f"ingest with `size` {size}"
            )
        return sync(photos)
    source, size = open_source(photos), ingest_size or size
    key = hashlib.sha256(f"{source.uri}\0{size}\0{source.fingerprint()}".encode()).hexdigest()
    folder = storage.cache_dir("ingested") / f"{source.uri.rsplit('/', 1)[-1]}-{key[:16]}"
    cache.hold(folder)
    with exclusive(str(folder), wait=True):
        discard_if_damaged(folder)
        if not (folder / MANIFEST).exists():
            _ingest(source, str(folder), size, None, None, progress, 512)
        refuse_nothing_usable(Manifest.read(folder))
    cache.trim(folder)
    return folder


def _ingest(
    source: Source,
    destination: str,
    size: int,
    held_out: Collection[str] | None,
    workers: int | None,
    progress: Progress | None,
    photos_per_shard: int,
) -> Manifest:
    writer = ShardWriter(destination, size, source.uri, held_out)
    names = source.names()
    write_groups(
        source, writer, groups_to_do(names, writer, photos_per_shard), names, workers, progress, len(source.problems)
    )
    manifest = writer.finish(source.problems)
    refuse_nothing_usable(manifest)
    return manifest


def open_for_ingest(source: str, destination: str) -> tuple[Source, str]:
    """List the source, and return it with the destination in its canonical form.

    Raises:
        UserError: the source is empty, or the destination is inside it.
    """
    opened = open_source(source)
    destination = destination.removeprefix("file://")
    if storage.is_remote(destination):
        destination = destination.rstrip("/")
        inside = f"{destination}/".startswith(f"{opened.uri}/")
    else:
        destination = str(Path(destination).expanduser().resolve())
        inside = Path(destination).is_relative_to(opened.uri)
    if inside:
        raise UserError(f"{destination} lies inside the source {opened.uri}; give a destination elsewhere")
    return opened, destination


def groups_to_do(names: Sequence[str], writer: ShardWriter, photos_per_shard: int) -> list[Sequence[str]]:
    """Return the names of the files that are still to be ingested, in one group for each additional shard.

    These are new files, and quarantined ones that could not be read.

    Args:
        names: names of all files of the source.
        writer: the dataset so far.
        photos_per_shard: maximum size of a group.
    """
    standing = set(writer.names_by_hash.values())
    new = [name for name in names if name not in standing and name not in writer.quarantined]
    # After the new names, so that shards are cut where an uninterrupted run would cut them.
    again = [name for name in names if writer.quarantined.get(name, "").startswith(UNREADABLE)]
    return [*_cut(new, photos_per_shard), *_cut(again, photos_per_shard)]


def write_groups(
    source: Source,
    writer: ShardWriter,
    groups: Sequence[Sequence[str]],
    names: Collection[str],
    workers: int | None,
    progress: Progress | None,
    problems: int = 0,
) -> None:
    """Read and decode `groups` of `names`, and write one shard for each group.

    Raises:
        OSError: as in `ingest`.
        ConcurrentIngestError: another process writes to the same dataset.
    """
    if not groups:
        return
    workers = workers or cpu_count()
    to_do = set(itertools.chain(*groups))
    tally = _Tally(progress, total=len(names) + problems)
    tally.done = tally.total - len(to_do)
    tally.quarantined = problems + sum(name in writer.quarantined for name in names if name not in to_do)
    pool = DecodePool(workers)

    def prepare(name: str) -> PreparedPhoto | str:
        try:
            return pool.prepare(source.read(name), writer.size)
        except Unusable as reason:
            return str(reason)

    outcomes = _map_in_order(prepare, itertools.chain(*groups), threads=source.parallel_reads + 2 * workers)
    with pool, closing(outcomes):  # after an error, no thread continues to read
        seen = dict(writer.names_by_hash)
        in_a_row = 0
        for group in groups:
            photos: list[tuple[str, PreparedPhoto]] = []
            quarantined: list[tuple[str, str]] = []
            for name, outcome in zip(group, outcomes, strict=False):
                if isinstance(outcome, PreparedPhoto) and outcome.sha256 not in seen:
                    seen[outcome.sha256] = name
                    photos.append((name, outcome))
                    in_a_row = 0
                else:
                    reason = outcome if isinstance(outcome, str) else f"duplicate of {seen[outcome.sha256]}"
                    in_a_row = in_a_row + 1 if reason.startswith(UNREADABLE) else 0
                    if source.remote and in_a_row >= _GONE:
                        raise UnavailableError(
                            f"{source.uri} stopped responding ({reason}); run the same command later to resume"
                        )
                    quarantined.append((name, reason))
                tally.count(isinstance(outcome, str) or seen[outcome.sha256] != name)
            # Photos that are still unreadable are already recorded in an earlier shard.
            quarantined = [
                (name, reason)
                for name, reason in quarantined
                if not (reason.startswith(UNREADABLE) and name in writer.quarantined)
            ]
            if photos or quarantined:
                writer.append(photos, quarantined)


class _Tally:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total = progress, total
        self.done = self.quarantined = 0

    def count(self, quarantined: bool) -> None:
        self.done += 1
        self.quarantined += quarantined
        if self.progress:
            self.progress(self.done, self.total, self.quarantined)


def _map_in_order(
    function: Callable[[str], PreparedPhoto | str], names: Iterable[str], threads: int
) -> Generator[PreparedPhoto | str]:
    """Yield results in the order of `names`; a limited number is in progress or waiting."""
    executor = ThreadPoolExecutor(threads)
    pending: deque[Future[PreparedPhoto | str]] = deque()
    try:
        for name in names:
            pending.append(executor.submit(function, name))
            if len(pending) == 4 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _cut(names: Sequence[str], length: int) -> list[Sequence[str]]:
    return [names[start : start + length] for start in range(0, len(names), length)]


def refuse_nothing_usable(manifest: Manifest) -> None:
    """Raise UserError if a dataset contains no photo; the message has the reasons why its files cannot be used."""
    if manifest.count == 0:
        reasons = Counter(entry.reason.split(":")[0] for entry in manifest.quarantined).most_common(3)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise UserError(f"{manifest.source} holds no usable photo: {told}")

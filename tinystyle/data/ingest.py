"""Ingests photos into a shard dataset: threads read, processes decode, this process writes in the order of the names.

The result depends on the photos alone, not on the number of workers or on where an earlier run was interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tinystyle.data import addresses, cache, storage
from tinystyle.data.changes import changes_of, groups_to_do
from tinystyle.data.decode import PreparedPhoto, Unusable
from tinystyle.data.decode_pool import DecodePool
from tinystyle.data.fetch import discard_if_damaged, sync
from tinystyle.data.generations import complete_generation
from tinystyle.data.images import decoder
from tinystyle.data.locks import exclusive
from tinystyle.data.manifest import MANIFEST, Manifest
from tinystyle.data.processes import cpu_count
from tinystyle.data.reasons import UNREADABLE
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.sources import Source, in_utf8, open_source
from tinystyle.errors import UnavailableError, UserError

__all__ = [
    "Progress",
    "check_large_enough",
    "dataset_for_training",
    "ingest",
    "is_dataset",
    "open_for_ingest",
    "refuse_nothing_usable",
    "write_groups",
]

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int, int], None]
"""Callback with three numbers: photos done, photos in total, and how many of those done are quarantined (unusable)."""

# This many unreadable photos in a row mean that a remote source is gone, not that the photos are damaged.
_GONE = 64
_WAITING = 128


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
    again, and so are quarantined ones that have changed. What has changed or vanished of the photos in the dataset is
    logged; `syncing.sync_dataset` brings them in line.

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
        check_large_enough(photos, size)
        return sync(photos)
    source, size = open_source(photos), ingest_size or size
    key = hashlib.sha256(f"{source.uri}\0{size}\0{source.fingerprint()}\0{decoder()}".encode()).hexdigest()
    folder = storage.cache_dir("ingested") / f"{source.uri.rsplit('/', 1)[-1]}-{key[:16]}"
    cache.hold(folder)
    with exclusive(str(folder), wait=True):
        discard_if_damaged(folder)
        if not (folder / MANIFEST).exists():
            _ingest(source, str(folder), size, None, None, progress, 512)
        elif any(entry.reason.startswith(UNREADABLE) for entry in Manifest.read(folder).quarantined):
            from tinystyle.data.syncing import sync_with  # which needs this module

            sync_with(source, str(folder), size, None, None, progress, 512)
        refuse_nothing_usable(Manifest.read(folder))
    cache.trim(folder)
    return folder


def check_large_enough(dataset: str, size: int) -> None:
    """Raise UserError if the photos of a dataset have a short side of less than `size` pixels."""
    manifest = Manifest.read(dataset)
    if manifest.size < size:
        raise UserError(
            f"{dataset} holds photos with a short side of {manifest.size} pixels, {size} are needed; ingest with `size` {size}"
        )


def _ingest(
    source: Source,
    destination: str,
    size: int,
    held_out: Collection[str] | None,
    workers: int | None,
    progress: Progress | None,
    photos_per_shard: int,
) -> Manifest:
    complete_generation(destination)
    writer = ShardWriter(destination, size, source.uri, held_out)
    if changes := changes_of(source, writer):
        _LOG.warning("%s: %s", destination, changes)
    groups = groups_to_do(source, writer, photos_per_shard)
    write_groups(source, writer, groups, source.names(), workers, progress, len(source.problems))
    manifest = writer.finish(source.problems)
    refuse_nothing_usable(manifest)
    return manifest


def open_for_ingest(source: str, destination: str) -> tuple[Source, str]:
    """List the source, and return it with the destination in its canonical form.

    Raises:
        UserError: the source is empty, or the destination is inside it.
    """
    opened = open_source(source)
    if storage.is_remote(destination):
        destination = addresses.check(destination).rstrip("/")
        inside = f"{destination}/".startswith(f"{opened.uri}/")
    else:
        destination = str(storage.local_path(destination).resolve())
        inside = Path(in_utf8(destination)).is_relative_to(opened.uri)
    if inside:
        raise UserError(f"{destination} lies inside the source {opened.uri}; give a destination elsewhere")
    return opened, destination


def write_groups(
    source: Source,
    writer: ShardWriter,
    groups: Sequence[Sequence[str]],
    names: Collection[str],
    workers: int | None,
    progress: Progress | None,
    problems: int = 0,
    known: Callable[[str], PreparedPhoto | str | None] = lambda _: None,
) -> None:
    """Read and decode `groups` of `names`, and write one shard for each group.

    `known` returns the photo of a name, or the reason why there is none, if the file need not be read.

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
        if (outcome := known(name)) is not None:
            return outcome
        try:
            return pool.prepare(source.read(name), writer.size)
        except Unusable as reason:
            return str(reason)

    outcomes = _map_in_order(prepare, itertools.chain(*groups), threads=source.parallel_reads + 2 * workers)
    with pool, closing(outcomes):  # after an error, no thread continues to read
        seen = dict(writer.names_by_hash)
        notes: defaultdict[str, list[str]] = defaultdict(list)
        in_a_row = 0
        for group in groups:
            photos: list[tuple[str, PreparedPhoto]] = []
            quarantined: list[tuple[str, str]] = []
            for name, outcome in zip(group, outcomes, strict=False):
                if isinstance(outcome, PreparedPhoto) and outcome.note:
                    notes[outcome.note].append(name)
                if isinstance(outcome, PreparedPhoto) and outcome.sha256 not in seen:
                    seen[outcome.sha256] = name
                    photos.append((name, outcome))
                    in_a_row = 0
                else:
                    reason = outcome if isinstance(outcome, str) else f"duplicate of {seen[outcome.sha256]}"
                    in_a_row = in_a_row + 1 if reason.startswith(f"{UNREADABLE}:") else 0
                    if source.remote and in_a_row >= _GONE:
                        raise UnavailableError(
                            f"{source.uri} stopped responding ({reason}); run the same command later to resume"
                        )
                    quarantined.append((name, reason))
                tally.count(isinstance(outcome, str) or seen[outcome.sha256] != name)
            states = {name: source.state(name) for name in group}
            # Photos that are still unreadable are already recorded in an earlier shard.
            quarantined = [
                (name, reason)
                for name, reason in quarantined
                if not (
                    reason.startswith(UNREADABLE)
                    and name in writer.quarantined
                    and writer.states.get(name) == states[name]
                )
            ]
            if photos or quarantined:
                writer.append(photos, quarantined, states)
        for note, odd in notes.items():
            _LOG.warning(
                "%s: of %s, %s", source.uri, f"{len(odd)} photos such as {odd[0]}" if odd[1:] else odd[0], note
            )


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
    """Yield results in the order of `names`; a limited number is in progress or waiting.

    Those that wait let the workers go on while a shard is written. Each is a JPEG file of some ten kilobytes.
    """
    most = max(4 * threads, _WAITING)
    executor = ThreadPoolExecutor(threads)
    pending: deque[Future[PreparedPhoto | str]] = deque()
    try:
        for name in names:
            pending.append(executor.submit(function, name))
            if len(pending) == most:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def refuse_nothing_usable(manifest: Manifest) -> None:
    """Raise UserError if a dataset contains no photo; the message has the reasons why its files cannot be used."""
    if manifest.count == 0:
        reasons = Counter(entry.reason.split(":")[0] for entry in manifest.quarantined).most_common(3)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons)
        raise UserError(f"{manifest.source} holds no usable photo: {told}")

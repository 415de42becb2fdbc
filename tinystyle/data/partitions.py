"""Splits one ingest into partitions for several processes or machines, and merges them into the dataset.

A plan cuts the names into groups, one for each shard, and gives every partition consecutive groups. The merged dataset
is therefore bit-identical to the one that `ingest` makes of the same source if there are enough photos for a shard in
each partition; otherwise it has the same photos. Partitions are stored below the destination, in
`ingest-partitions/<key of the plan>/<index>`, each as a dataset of its own. The merge fetches only shards with a photo
that an earlier partition holds too.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinystyle.data import shards, storage
from tinystyle.data.changes import changes_of, cut, groups_to_do, looked_at_again
from tinystyle.data.file_kinds import is_worth_another_try
from tinystyle.data.generations import complete_generation
from tinystyle.data.ingest import (
    Progress,
    open_for_ingest,
    refuse_nothing_usable,
    write_groups,
)
from tinystyle.data.locks import ConcurrentIngestError, exclusive
from tinystyle.data.manifest import Manifest, Quarantined
from tinystyle.data.partition_plan import Plan, partition_folders, remove_partitions, standing_plan
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.errors import UserError

__all__ = ["PartitionReport", "Plan", "ingest_partition", "merge_partitions", "plan_partitions", "reasons_of"]


_LEAST_PER_SHARD = 8


@dataclass(frozen=True)
class PartitionReport:
    """What a partition contains after its ingest; duplicates of other partitions' photos count until the merge."""

    index: int
    of: int
    photos: int
    quarantined: dict[str, int]
    """Number of files for each reason, without the details of the reason."""


def plan_partitions(source: str, destination: str, of: int, *, size: int = 256, photos_per_shard: int = 512) -> Plan:
    """Split the files still to be ingested into `of` partitions; after an interruption, return the existing plan.

    If an interrupted ingest had another number of partitions, or the source has changed since, its result is merged
    first.

    Args:
        source: folder, zip file, object store prefix or https address of a zip file.
        destination: folder or URI.
        of: number of partitions.
        size: short side of the photos in pixels.
        photos_per_shard: maximum number of photos per shard; fewer are used if a partition would otherwise be empty.

    Raises:
        UserError: as in `ingest`.
        OSError: the destination cannot be written.
    """
    if min(size, photos_per_shard, of) < 1:
        raise UserError("size, partitions and photos per shard must be at least 1")
    opened, destination = open_for_ingest(source, destination)
    with exclusive(destination, wait=True):
        standing = standing_plan(destination)
        if standing and standing.is_of(opened, size, photos_per_shard, of):
            return standing
        complete_generation(destination)
        writer = ShardWriter(destination, size, opened.uri, None)
        for folder in partition_folders(destination):
            _merge(ShardWriter(folder, size, opened.uri, None), writer)
        remove_partitions(destination)
        groups = groups_to_do(opened, writer, photos_per_shard)
        if len(groups) < of:  # smaller shards are better than partitions with nothing to do
            smaller = max(_LEAST_PER_SHARD, math.ceil(sum(map(len, groups)) / of))
            groups = groups_to_do(opened, writer, min(smaller, photos_per_shard))
        cuts = [len(groups) * index // of for index in range(of + 1)]
        plan = Plan(
            source=opened.uri,
            fingerprint=opened.fingerprint(),
            destination=destination,
            size=size,
            photos_per_shard=photos_per_shard,
            partitions=[list(map(list, groups[start:end])) for start, end in itertools.pairwise(cuts)],
            problems=[Quarantined(name=name, reason=reason) for name, reason in opened.problems],
            changes=changes_of(opened, writer),
        )
        if plan.to_do:
            plan.write()
    return plan


def ingest_partition(
    source: str,
    destination: str,
    index: int,
    of: int,
    *,
    size: int = 256,
    workers: int | None = None,
    progress: Progress | None = None,
    photos_per_shard: int = 512,
) -> PartitionReport:
    """Ingest one partition, or the rest of one that was interrupted; create the plan if there is none.

    Several processes may ingest the same partition at once: on one file system the second waits; in an object store
    each continues from what the other has written.

    Args:
        source, destination, size, photos_per_shard: as in `plan_partitions`.
        index: 1 to `of`.
        of: total number of partitions.
        workers: number of decoding processes; None means one per core.
        progress: called after each photo, with the numbers of this partition.

    Raises:
        UserError: as in `ingest`, or the existing plan has another source, size or number of partitions.
        OSError: as in `ingest`. The same call resumes later.
    """
    if not 1 <= index <= of:
        raise UserError(f"there is no partition {index} of {of}; count from 1")
    opened, destination = open_for_ingest(source, destination)
    plan = standing_plan(destination)
    if plan is None:
        plan = plan_partitions(source, destination, of, size=size, photos_per_shard=photos_per_shard)
    elif not plan.is_of(opened, size, photos_per_shard, of):
        raise UserError(
            f"{destination} is being ingested in {len(plan.partitions)} partitions at size {plan.size} from "
            f"{plan.source} as it was listed then; plan the ingest anew, or name that source, size and number"
        )
    names, groups = plan.names(index), plan.partitions[index - 1]
    if not groups:
        return PartitionReport(index, of, 0, {})
    with exclusive(plan.folder(index), wait=True):
        if standing_plan(destination) != plan:  # another process has done it meanwhile, and all were merged
            _remove_empty(plan.folder(index))
            return PartitionReport(index, of, 0, {})
        while True:
            writer = ShardWriter(plan.folder(index), size, opened.uri, None)
            done = _names_in(writer)
            rest = [[name for name in group if name not in done] for group in groups]
            again = [name for name in names if name in writer.quarantined and looked_at_again(name, opened, writer)]
            to_do = [group for group in [*rest, *cut(again, photos_per_shard)] if group]
            with suppress(ConcurrentIngestError):
                write_groups(opened, writer, to_do, names, workers, progress)
                break
        manifest = writer.finish([])
    return PartitionReport(index, of, manifest.count, reasons_of(manifest))


def merge_partitions(plan: Plan) -> Manifest:
    """Merge the plan's partitions into the dataset at the destination, and remove the partitions.

    After an interruption, the same call resumes; it does nothing if the merge is complete.

    Raises:
        UserError: a partition is unfinished, or no photo is usable.
        OSError: the destination cannot be written.
    """
    with exclusive(plan.destination, wait=True):
        parts = {index: _opened(plan, index) for index in plan.to_do}
        writer = ShardWriter(plan.destination, plan.size, plan.source, None)
        done = _names_in(writer)
        if standing_plan(plan.destination) == plan:  # otherwise another process has merged it
            done -= writer.quarantined.keys()  # the plan has those of them that are looked at again
        for index, part in parts.items():
            if missing := set(plan.names(index)) - done - (_names_in(part) if part else set()):
                raise UserError(
                    f"partition {index} of {len(plan.partitions)} of {plan.destination} is not finished "
                    f"({len(missing)} photos to go); run it, then merge again"
                )
        for part in parts.values():
            if part:
                _merge(part, writer)
        manifest = writer.finish([(entry.name, entry.reason) for entry in plan.problems])
        remove_partitions(plan.destination)
    refuse_nothing_usable(manifest)
    return manifest


def reasons_of(manifest: Manifest) -> dict[str, int]:
    """Count the quarantined files for each reason, most frequent first, without the details of the reason."""
    short = (entry.reason.split(":")[0].split(" of ")[0] for entry in manifest.quarantined)
    return dict(Counter(short).most_common())


def _merge(part: ShardWriter, writer: ShardWriter) -> None:
    """Append to `writer` everything in `part` that it lacks, shard by shard."""
    names = set(writer.names_by_hash.values())
    # If the photo that a partition kept turns out to be a duplicate, then the partition's own duplicates of it are
    # duplicates of the earlier photo too.
    originals: dict[str, str] = {}
    for info, index in part.shards:
        kept, entries = set(), []
        for name, sha256 in zip(index.names, index.sha256, strict=True):
            original = writer.names_by_hash.get(sha256, name)
            if original != name:
                originals[f"duplicate of {name}"] = f"duplicate of {original}"
                entries.append(Quarantined(name=name, reason=f"duplicate of {original}"))
            elif name not in names:
                kept.add(name)
        for entry in index.quarantined:
            entries.append(Quarantined(name=entry.name, reason=originals.get(entry.reason, entry.reason)))
        entries = [entry for entry in entries if entry.name not in names and _is_news(entry, part, writer)]
        entries.sort(key=lambda entry: entry.name)
        if len(kept) == len(index.names) and entries == index.quarantined:
            writer.adopt(storage.join(part.destination, info.file), info, index)
        elif kept or entries:
            photos = shards.read_photos(storage.read_bytes(storage.join(part.destination, info.file))) if kept else []
            writer.append(
                [(name, photo) for name, photo in photos if name in kept],
                [(entry.name, entry.reason) for entry in entries],
                index.states,
            )
        names |= kept


def _is_news(entry: Quarantined, part: ShardWriter, writer: ShardWriter) -> bool:
    known = writer.quarantined.get(entry.name)
    return (
        known is None
        or writer.states.get(entry.name) != part.states.get(entry.name)
        or (is_worth_another_try(known) and not is_worth_another_try(entry.reason))
    )


def _names_in(writer: ShardWriter) -> set[str]:
    return set(writer.names_by_hash.values()) | writer.quarantined.keys()


def _opened(plan: Plan, index: int) -> ShardWriter | None:
    """Open what exists of a partition; return None if nothing does."""
    folder = plan.folder(index)
    if not storage.is_remote(folder) and not Path(folder).is_dir():
        return None
    return ShardWriter(folder, plan.size, plan.source, None)


def _remove_empty(folder: str) -> None:
    """Remove empty folders that waiting for a lock has created again after the merge."""
    if not storage.is_remote(folder):
        for path in (Path(folder), *Path(folder).parents[:2]):
            with suppress(OSError):
                path.rmdir()

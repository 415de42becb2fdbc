"""The plan of a partitioned ingest: which partition makes which shards. Kept at the destination during the ingest."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from contextlib import suppress
from functools import partial

from pydantic import BaseModel, ConfigDict, ValidationError

from tinystyle.data import remote, storage
from tinystyle.data.manifest import Quarantined
from tinystyle.data.shard_files import PARTITIONS
from tinystyle.data.sources import Source
from tinystyle.errors import UserError

__all__ = ["Plan", "partition_folders", "remove_partitions", "standing_plan"]

_PLAN = "plan.json"


class Plan(BaseModel):
    """Which partition ingests which names. Stored at the destination while the ingest is in progress."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    source: str
    fingerprint: str
    """Fingerprint of the source listing. The plan is invalid if the listing has changed."""
    destination: str
    size: int
    photos_per_shard: int
    partitions: list[list[list[str]]]
    """Names for each shard of each partition; a partition may have no shards."""
    problems: list[Quarantined]
    """Entries of the source listing that are not files."""
    changes: str = ""
    """What has changed or vanished of the photos in the dataset, in words."""

    @property
    def to_do(self) -> list[int]:
        """Indices, from 1, of the partitions that are not empty."""
        return [index for index, groups in enumerate(self.partitions, 1) if groups]

    def names(self, index: int) -> list[str]:
        """Return the names that partition `index`, from 1, covers."""
        return list(itertools.chain(*self.partitions[index - 1]))

    def folder(self, index: int) -> str:
        """Return the folder or URI where partition `index`, from 1, is made."""
        key = hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
        return storage.join(self.destination, PARTITIONS, key, f"{index:04d}")

    def is_of(self, source: Source, size: int, photos_per_shard: int, of: int) -> bool:
        """Return whether this is a plan for `source`, with the files that it has now, and for `of` partitions."""
        asked = (source.uri, source.fingerprint(), size, photos_per_shard, of)
        return asked == (self.source, self.fingerprint, self.size, self.photos_per_shard, len(self.partitions))

    def write(self) -> None:
        """Write the plan to the destination.

        Raises:
            OSError: it cannot be written.
        """
        storage.write_bytes(_uri(self.destination), self.model_dump_json().encode())


def standing_plan(destination: str) -> Plan | None:
    """Return the plan of the ingest that is in progress at `destination`; None if there is none.

    Raises:
        UserError: the plan is damaged.
        OSError: the plan cannot be read.
    """
    try:
        plan = Plan.model_validate_json(storage.read_bytes(_uri(destination)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise UserError(f"{_uri(destination)} is damaged; remove it and ingest again") from error
    return plan if plan.destination == destination else None


def partition_folders(destination: str) -> list[str]:
    """Return the folder of every partition that has shards, of any plan."""
    root = storage.join(destination, PARTITIONS)
    filesystem, path = remote.file_system(root)
    filesystem.invalidate_cache()
    with remote.naming(root):
        names = remote.retrying(partial(filesystem.find, path))
    found = (name[len(path.rstrip("/")) + 1 :] for name in names)
    return [storage.join(root, folder) for folder in sorted({name.rpartition("/")[0] for name in found}) if folder]


def remove_partitions(destination: str) -> None:
    """Remove all partitions and their plan."""
    # The plan first: without it nobody uses the rest, and the next plan removes it.
    storage.remove(_uri(destination))
    root = storage.join(destination, PARTITIONS)
    if not storage.is_remote(root):
        shutil.rmtree(root, ignore_errors=True)
        return
    filesystem, path = remote.file_system(root)
    filesystem.invalidate_cache()
    with suppress(FileNotFoundError), remote.naming(root):
        remote.retrying(partial(filesystem.rm, path, recursive=True))


def _uri(destination: str) -> str:
    return storage.join(destination, PARTITIONS, _PLAN)

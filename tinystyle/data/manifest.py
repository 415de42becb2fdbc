"""manifest.json: what a shard dataset contains, and what it leaves out and why."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["FORMAT", "MANIFEST", "Manifest", "Quarantined", "ShardInfo", "damaged_shard"]

FORMAT = 1
"""Version of the format; increased by hand when a reader of the old format could not read the new one."""
MANIFEST = "manifest.json"


class _Model(BaseModel):
    # A later version may have more fields; those that this version knows remain readable.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Quarantined(_Model):
    """A file of the source that is not in the dataset, and the reason."""

    name: str
    reason: str


class ShardInfo(_Model):
    """One shard file."""

    file: str = Field(pattern=r"^shard-[0-9]{5,9}\.arrow$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    count: int = Field(ge=0)


class Manifest(_Model):
    """Content of a dataset, stored as `manifest.json`. A dataset without it is unfinished."""

    format: int
    count: int
    """Number of photos."""
    size: int
    """Short side of the photos in pixels."""
    source: str
    shards: list[ShardInfo]
    quarantined: list[Quarantined]
    held_out: list[str]
    """Names of the photos that are never used for training."""
    photos: str | None = None
    """Hexadecimal SHA-256 of the photos in order: of their pixels' hashes, and which are held out. None in a dataset of
    an earlier version."""

    def sha256(self) -> str:
        """Return the dataset's identity, as hexadecimal SHA-256: what a training sees of it.

        That is the photos' pixels, their order, their size and which are held out; neither where they came from, nor
        their names, nor how they are divided into shards. Of a dataset of an earlier version, all of the manifest.
        """
        content = self.model_dump()
        if self.photos is None:
            del content["photos"]
        else:
            content = {name: content[name] for name in ("format", "size", "photos")}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return (json.dumps(self.model_dump(exclude_none=True), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, dataset: str | Path) -> Manifest:
        """Read the manifest of the dataset at a local path or URI.

        Raises:
            UserError: there is none, it is damaged, or its format is newer.
            OSError: it cannot be read.
        """
        try:
            data = storage.read_bytes(storage.join(dataset, MANIFEST))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{dataset} is not a shard dataset: it holds no {MANIFEST}; make one with `tinystyle ingest`"
            ) from error
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise UserError(
                f"{storage.join(dataset, MANIFEST)} is damaged or is not the manifest of a shard dataset"
            ) from error
        if manifest.format > FORMAT:
            raise UserError(f"{dataset} was made by a later tinystyle; update this one to read it")
        return manifest


def damaged_shard(path: Path) -> str:
    """Return the error message for a damaged shard on this machine."""
    return f"{path} is damaged; remove the dataset and fetch or ingest it again"

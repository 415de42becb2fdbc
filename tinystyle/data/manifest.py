"""manifest.json: what a dataset of shards holds, and what it leaves out and why."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["FORMAT", "MANIFEST", "Manifest", "Quarantined", "ShardInfo"]

FORMAT = 1
"""Raised by hand when a reader of the old format could not read the new one."""
MANIFEST = "manifest.json"


class _Model(BaseModel):
    # A later version may say more; what this one knows stays readable.
    model_config = ConfigDict(extra="ignore", frozen=True)


class Quarantined(_Model):
    """A file of the source that is not in the dataset, and why."""

    name: str
    reason: str


class ShardInfo(_Model):
    """One shard file."""

    file: str = Field(pattern=r"^shard-[0-9]{5,9}\.arrow$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    count: int = Field(ge=0)


class Manifest(_Model):
    """What a dataset holds; `manifest.json`. A dataset without one is unfinished."""

    format: int
    count: int
    """Photos."""
    size: int
    """Their short side in pixels."""
    source: str
    shards: list[ShardInfo]
    quarantined: list[Quarantined]
    held_out: list[str]
    """Names of the photos that are never trained on."""

    def sha256(self) -> str:
        """The dataset's identity, hexadecimal: the hash of everything the manifest says."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> bytes:
        """The file."""
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, dataset: str | Path) -> Manifest:
        """The manifest of the dataset at a local path or URI.

        Raises:
            ValueError: there is none, it is damaged, or it is of a later format.
            OSError: it cannot be read.
        """
        try:
            data = storage.read_bytes(storage.join(dataset, MANIFEST))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"{dataset} is no shard dataset: it holds no {MANIFEST}; make one with `tinystyle ingest`"
            ) from error
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            raise UserError(
                f"{storage.join(dataset, MANIFEST)} is damaged or no manifest of a shard dataset"
            ) from error
        if manifest.format > FORMAT:
            raise UserError(f"{dataset} was made by a later tinystyle; update this one to read it")
        return manifest

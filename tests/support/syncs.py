"""A source of photographs in every condition, and its ingests and syncs."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.badimages import encoded, photograph, save_photographs
from tinystyle.data import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.shards import ShardDataset
from tinystyle.data.syncing import Changes, sync_dataset

__all__ = ["fill", "ingested", "rows", "synced", "upset"]


def ingested(source: Path | str, out: Path | str) -> Manifest:
    return ingest.ingest(str(source), str(out), size=64, workers=1, photos_per_shard=4)


def synced(source: Path | str, out: Path | str) -> tuple[Manifest, Changes]:
    return sync_dataset(str(source), str(out), size=64, workers=1, photos_per_shard=4)


def rows(dataset: Path) -> list[tuple[str, bytes]]:
    shards = ShardDataset(dataset)
    shards.verify()
    return [(shards.name(index), shards.jpeg(index)) for index in range(len(shards))]


def fill(photos: Path) -> None:
    """Write 14 files: 12 photos, a duplicate and a file that is none."""
    save_photographs(photos, 14)
    (photos / "photo-0003.jpg").write_text("no photo")
    shutil.copy(photos / "photo-0001.jpg", photos / "photo-0009.jpg")


def upset(photos: Path) -> None:
    """Change a source in every way at once."""
    (photos / "photo-0001.jpg").unlink()  # its duplicate, photo-0009, takes its place
    (photos / "photo-0012.jpg").unlink()
    (photos / "photo-0003.jpg").write_bytes(encoded(photograph(50), "JPEG"))
    (photos / "photo-0005.jpg").write_bytes(encoded(photograph(51), "JPEG"))
    (photos / "photo-0006.jpg").write_text("no photo any more")
    shutil.copy(photos / "photo-0008.jpg", photos / "a-duplicate.jpg")
    save_photographs(photos, 3, first=20)

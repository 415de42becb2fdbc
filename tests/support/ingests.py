"""Folders of photographs to ingest, with all that an ingest has to tell apart."""

from __future__ import annotations

from pathlib import Path

from tests.support.badimages import save_photographs
from tests.support.files import contents
from tinystyle.data.ingest import ingest

__all__ = ["ingested", "save_mixed_photos", "save_partitioned_photos"]


def ingested(photos: Path) -> dict[str, bytes]:
    """What an uninterrupted ingest with one worker makes of a folder: file name -> content."""
    folder = photos.parent / "reference"
    ingest(str(photos), str(folder), size=64, workers=1, photos_per_shard=8)
    return contents(folder)


def save_mixed_photos(folder: Path) -> Path:
    """50 files in `folder`, which is returned: one is empty, one a duplicate."""
    save_photographs(folder, 50)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0030.jpg").write_bytes((folder / "photo-0002.jpg").read_bytes())
    return folder


def save_partitioned_photos(folder: Path) -> Path:
    """48 files in `folder`, which is returned: bad ones, and duplicates within partitions and across them.

    Of three partitions, each holds sixteen.
    """
    save_photographs(folder, 48)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0040.jpg").write_text("no photo")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    for first, second in ((2, 5), (3, 20), (20, 22), (20, 30), (17, 44), (33, 47)):
        (folder / f"photo-{second:04d}.jpg").write_bytes((folder / f"photo-{first:04d}.jpg").read_bytes())
    return folder

"""Folders of photographs to ingest, with all that an ingest has to tell apart."""

from __future__ import annotations

from pathlib import Path

from tests.support.badimages import save_photographs

__all__ = ["save_mixed_photos", "save_partitioned_photos"]


def save_mixed_photos(folder: Path) -> None:
    """50 files: one is empty, one a duplicate."""
    save_photographs(folder, 50)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0030.jpg").write_bytes((folder / "photo-0002.jpg").read_bytes())


def save_partitioned_photos(folder: Path) -> None:
    """48 files: bad ones, and duplicates within partitions and across them; of three, each holds sixteen."""
    save_photographs(folder, 48)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0040.jpg").write_text("no photo")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    for first, second in ((2, 5), (3, 20), (20, 22), (20, 30), (17, 44), (33, 47)):
        (folder / f"photo-{second:04d}.jpg").write_bytes((folder / f"photo-{first:04d}.jpg").read_bytes())

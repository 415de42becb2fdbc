"""Disks that are full: what stands there is whole. Needs root, to mount a small file system."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.disks import grow, small_disk
from tests.support.files import contents
from tests.support.ingests import save_mixed_photos
from tinystyle.data import remote, storage
from tinystyle.data.ingest import ingest


def test_an_ingest_onto_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    photos = tmp_path_factory.mktemp("ingest") / "photos"
    save_mixed_photos(photos)
    ingest(str(photos), str(photos.parent / "reference"), size=64, workers=1, photos_per_shard=8)
    reference = contents(photos.parent / "reference")
    with small_disk(tmp_path / "disk", "220k") as disk:
        with pytest.raises(OSError, match=r"No space left"):
            ingest(str(photos), str(disk / "out"), size=64, photos_per_shard=8)
        standing = contents(disk / "out")
        assert standing
        assert standing.items() < reference.items()
        grow(disk, "8m")
        ingest(str(photos), str(disk / "out"), size=64, photos_per_shard=8)
        assert contents(disk / "out") == reference


def test_a_full_disk_keeps_what_stands(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        path = disk / "file"
        storage.write_bytes(path, b"old")
        with pytest.raises(OSError, match="No space left") as caught:
            storage.write_bytes(path, bytes(10**6))
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert path.read_bytes() == b"old"
        assert [*disk.iterdir()] == [path]
        storage.write_bytes(path, b"new")
        assert path.read_bytes() == b"new"


def test_a_file_that_is_fetched_onto_a_full_disk_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes("memory://full-disk/file", bytes(10**6))
    filesystem, _ = remote.file_system("memory://full-disk/file")
    asked: list[str] = []

    def get_file(path: str, *arguments: object) -> None:
        asked.append(path)
        real(path, *arguments)

    real = filesystem.get_file
    monkeypatch.setattr(filesystem, "get_file", get_file)
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OSError, match="No space left") as caught:
            storage.copy("memory://full-disk/file", disk / "file")
        assert caught.value.filename == str(disk / "file"), "not the address, which is well"
        assert len(asked) == 1
        assert [*disk.iterdir()] == []

"""Disks that are full: what stands there is whole. Needs root, to mount a small file system."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import contents
from tests.support.ingests import save_mixed_photos
from tinystyle.data import storage
from tinystyle.data.ingest import ingest


def test_an_ingest_onto_a_full_disk_goes_on_when_there_is_room(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    photos = tmp_path_factory.mktemp("ingest") / "photos"
    save_mixed_photos(photos)
    ingest(str(photos), str(photos.parent / "reference"), size=64, workers=1, photos_per_shard=8)
    reference = contents(photos.parent / "reference")
    mount = ["mount", "-t", "tmpfs", "-o", "size=220k", "none", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        with pytest.raises(OSError, match=r"No space left"):
            ingest(str(photos), str(tmp_path / "out"), size=64, photos_per_shard=8)
        standing = contents(tmp_path / "out")
        assert standing
        assert standing.items() < reference.items()
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path)], check=True)
        ingest(str(photos), str(tmp_path / "out"), size=64, photos_per_shard=8)
        assert contents(tmp_path / "out") == reference
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_stands(small_disk: Path) -> None:
    path = small_disk / "file"
    storage.write_bytes(path, b"old")
    with pytest.raises(OSError, match="No space left") as caught:
        storage.write_bytes(path, bytes(10**6))
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert [*small_disk.iterdir()] == [path]
    storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"

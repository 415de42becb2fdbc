"""Syncs that are cut off, or would lose or spread something: nothing that stood is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.badimages import save_photographs
from tests.support.files import contents
from tests.support.syncs import fill, ingested, rows, synced, upset
from tinystyle.data import generations, sources, storage
from tinystyle.data.manifest import Manifest
from tinystyle.data.syncing import sync_dataset
from tinystyle.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    fill(folder)
    return folder


class Stopped(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("after", range(0, 15, 3))
def test_an_interrupted_sync_changes_nothing_and_resumes(after: int, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingested(photos, out)
    before = contents(out)
    upset(photos)
    calls = 0

    def stop(*_: int) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise Stopped

    with pytest.raises(Stopped):
        sync_dataset(str(photos), str(out), size=64, workers=1, photos_per_shard=4, progress=stop)
    assert {name: data for name, data in contents(out).items() if not name.startswith("ingest-sync/")} == before
    assert len(rows(out)) == 12
    manifest, _ = synced(photos, out)
    assert manifest.sha256() == ingested(photos, tmp_path / "fresh").sha256()
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(shard.file for shard in manifest.shards)}


@pytest.mark.parametrize(
    ("name", "at"), [("link_or_copy", 1), ("link_or_copy", 3), ("write_bytes", 1), ("remove", 1), ("remove", 3)]
)
def test_an_interrupted_exchange_is_completed_by_whoever_writes_next(
    name: str, at: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    ingested(photos, out)
    upset(photos)
    owner = generations if name == "link_or_copy" else storage
    real, calls = getattr(owner, name), 0

    def fail(place: object, *rest: object) -> None:
        nonlocal calls
        calls += owner is generations or "ingest-sync" not in str(place)
        if calls == at:
            raise Stopped
        real(place, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(Stopped):
            synced(photos, out)
    assert len(rows(out)) in (12, 14), "readers find the old one or the new one"
    fresh = ingested(photos, tmp_path / "fresh")
    assert ingested(photos, out).sha256() == fresh.sha256()
    assert {path.name for path in out.iterdir()} == {"manifest.json", *(s.file for s in Manifest.read(out).shards)}


def test_a_sync_that_would_lose_everything_is_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingested(photos, out)
    before = rows(out)
    for photo in photos.iterdir():
        photo.write_text("no photo")
    with pytest.raises(UserError, match="no usable photo any more"):
        synced(photos, out)
    for photo in photos.iterdir():
        photo.unlink()
    with pytest.raises(UserError, match="holds no files"):
        synced(photos, out)
    assert rows(out) == before


def test_a_sync_does_not_take_a_closed_folder_for_an_empty_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photographs(photos / "inner", 2, first=60)
    ingested(photos, tmp_path / "out")
    scandir = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "inner":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(sources.os, "scandir", closed)
    with pytest.raises(UserError, match=r"inner/ cannot be read"):
        synced(photos, tmp_path / "out")


def test_a_damaged_shard_is_not_copied_into_a_new_one(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingested(photos, out)
    shard = out / "shard-00001.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    (photos / "photo-0000.jpg").unlink()
    with pytest.raises(UserError, match=r"shard-00001\.arrow is damaged"):
        synced(photos, out)

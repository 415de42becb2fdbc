"""Datasets and their sources: what is looked at again, what is said, and what `sync` makes of it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tests.support.badimages import encoded, photograph, save_photographs
from tests.support.command_line import Run
from tests.support.syncs import fill, ingested, rows, synced, upset
from tinystyle.data import ingest, sources, storage
from tinystyle.data.ingest import dataset_for_training
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import ingest_partition, merge_partitions, plan_partitions
from tinystyle.data.syncing import Changes
from tinystyle.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    fill(folder)
    return folder


@pytest.mark.parametrize("destination", ["folder", "store"])
def test_a_sync_makes_what_a_fresh_ingest_makes(destination: str, photos: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out") if destination == "folder" else f"memory://{uuid.uuid4().hex}/out"
    ingested(photos, out)
    upset(photos)
    save_photographs(photos, 1, first=30)
    manifest, changes = synced(photos, out)
    fresh = ingested(photos, tmp_path / "fresh")
    assert str(changes) == "5 new, 3 changed, 2 vanished"
    assert manifest.sha256() == fresh.sha256()
    assert (manifest.quarantined, manifest.held_out) == (fresh.quarantined, fresh.held_out)
    local = ingest.sync(out)
    assert rows(local) == rows(tmp_path / "fresh")
    assert storage.exists(storage.join(out, "ingest-sync")) is False
    before = Manifest.read(out)
    assert synced(photos, out) == (before, Changes(0, 0, 0))
    assert ingested(photos, out) == before


def test_a_sync_orders_what_was_added_over_time_and_reads_no_photo_twice(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingested(photos, tmp_path / "out")
    save_photographs(photos / "a", 2, first=40)
    assert ingested(photos, tmp_path / "out").sha256() != ingested(photos, tmp_path / "fresh").sha256()
    read: list[str] = []
    monkeypatch.setattr(sources.Source, "read", lambda _self, name: read.append(name))
    manifest, changes = synced(photos, tmp_path / "out")
    assert changes == Changes(0, 0, 0)
    assert manifest.sha256() == Manifest.read(tmp_path / "fresh").sha256()
    assert read == []


def test_what_has_changed_or_vanished_is_said_and_kept(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = ingested(photos, tmp_path / "out")
    assert caplog.messages == []
    (photos / "photo-0012.jpg").unlink()
    (photos / "photo-0005.jpg").write_bytes(encoded(photograph(51), "JPEG"))
    stat = (photos / "photo-0006.jpg").stat()
    (photos / "photo-0006.jpg").write_bytes((photos / "photo-0006.jpg").read_bytes()[::-1])
    os.utime(photos / "photo-0006.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the date says nothing
    assert ingested(photos, tmp_path / "out") == before
    assert caplog.messages == [
        f"{tmp_path / 'out'}: since the ingest, 2 of its photos have changed at {photos} and 1 have vanished; `sync` "
        "brings it in line"
    ]
    plan = plan_partitions(str(photos), str(tmp_path / "out"), 2, size=64, photos_per_shard=4)
    assert plan.changes.startswith("since the ingest, 2 of its photos have changed")


def test_what_was_left_out_is_looked_at_again_when_it_has_changed(photos: Path, tmp_path: Path) -> None:
    assert ingested(photos, tmp_path / "out").count == 12
    ingest_partitions(photos, tmp_path / "parts")
    (photos / "photo-0003.jpg").write_bytes(encoded(photograph(50), "JPEG"))
    assert ingested(photos, tmp_path / "out").count == 13
    assert ingest_partitions(photos, tmp_path / "parts").count == 13
    (photos / "photo-0009.jpg").write_bytes(b"another fault")
    assert {entry.name: entry.reason for entry in ingested(photos, tmp_path / "out").quarantined} == {
        "photo-0009.jpg": "not an image"
    }
    shards = sorted(tmp_path.glob("out/shard-*"))
    ingested(photos, tmp_path / "out")
    assert sorted(tmp_path.glob("out/shard-*")) == shards, "nothing is recorded twice"


def ingest_partitions(photos: Path, out: Path) -> Manifest:
    plan = plan_partitions(str(photos), str(out), 2, size=64, photos_per_shard=4)
    for index in plan.to_do:
        with pytest.raises(UserError, match=f"partition {index} of 2"):
            merge_partitions(plan)
        ingest_partition(str(photos), str(out), index, 2, size=64, workers=1, photos_per_shard=4)
    return merge_partitions(plan)


def test_a_photo_that_could_not_be_read_is_read_when_it_can_be(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    read = sources.Source.read
    locked = {"photo-0004.jpg", "photo-0008.jpg"}

    def refuse(self: sources.Source, name: str) -> bytes:
        if name in locked:
            raise sources.Unusable("unreadable: permission denied")
        return read(self, name)

    monkeypatch.setattr(sources.Source, "read", refuse)
    folder = dataset_for_training(str(photos), 64)
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert dataset_for_training(str(photos), 64) == folder
    assert ((folder / "manifest.json").stat().st_mtime_ns, Manifest.read(folder).count) == (stamp, 10)
    locked.clear()
    assert dataset_for_training(str(photos), 64) == folder
    assert Manifest.read(folder).sha256() == ingested(photos, tmp_path / "fresh").sha256()


def test_photos_of_another_decoder_are_decoded_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tinystyle.data.shards.decoder", lambda: "an earlier one")
        ingested(photos, tmp_path / "out")
    read, decoded = [], sources.Source.read
    monkeypatch.setattr(sources.Source, "read", lambda self, name: read.append(name) or decoded(self, name))
    assert synced(photos, tmp_path / "out")[1] == Changes(0, 0, 0)
    assert sorted(read) == sorted(photo.name for photo in photos.iterdir())
    assert synced(photos, tmp_path / "out")[1] == Changes(0, 0, 0)
    assert len(read) == 14, "once"


def test_a_dataset_of_an_earlier_version_is_synced(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sources.Source, "state", lambda *_: "")
        ingested(photos, tmp_path / "out")
    manifest, _ = synced(photos, tmp_path / "out")
    assert manifest.sha256() == ingested(photos, tmp_path / "fresh").sha256()


def test_the_command_says_what_has_changed_and_brings_it_in_line(photos: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = ("ingest", photos, out, "--size", 64)
    code, output, error = run(*line)
    assert (code, error, output[:22]) == (0, "", "12 photos in 1 shards ")
    upset(photos)
    code, output, error = run(*line)
    assert (code, output[:22]) == (0, "16 photos in 3 shards ")
    assert error == (
        f"{out}: since the ingest, 2 of its photos have changed at {photos} and 2 have vanished; --sync brings it in line\n"
    )
    code, output, error = run(*line, "--sync")
    assert (code, error) == (0, f"{out}: 0 new, 2 changed, 2 vanished\n")
    assert output.startswith("14 photos in 1 shards ")

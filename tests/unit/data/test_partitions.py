from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.badimages import encoded, photograph, save_photographs
from tests.integration.servers import object_store
from tinystyle.data import storage
from tinystyle.data.decode import prepare_photo
from tinystyle.data.ingest import ingest
from tinystyle.data.locks import ConcurrentIngestError
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import ingest_partition, merge_partitions, plan_partitions
from tinystyle.data.shard_writer import ShardWriter
from tinystyle.data.shards import ShardDataset

__all__ = ["object_store"]  # a fixture

PARTITION = (
    "import sys; from tinystyle.data.partitions import ingest_partition; "
    "ingest_partition(sys.argv[1], sys.argv[2], int(sys.argv[3]), 3, size=64, workers=1, photos_per_shard=8)"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 files: bad ones, and duplicates within partitions and across them; of three, each holds sixteen."""
    folder = tmp_path_factory.mktemp("partitions") / "photos"
    save_photographs(folder, 48)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0040.jpg").write_text("no photo")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    for first, second in ((2, 5), (3, 20), (20, 22), (20, 30), (17, 44), (33, 47)):
        (folder / f"photo-{second:04d}.jpg").write_bytes((folder / f"photo-{first:04d}.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    """What one ingest makes of `photos`."""
    folder = photos.parent / "reference"
    ingest(str(photos), str(folder), size=64, workers=1, photos_per_shard=8)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_partition(source: Path | str, out: Path | str, index: int, of: int = 3, **options: Callable[..., None]) -> None:
    ingest_partition(str(source), str(out), index, of, size=64, workers=1, photos_per_shard=8, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3, 1)])
def test_partitions_make_what_one_ingest_makes(
    photos: Path, reference: dict[str, bytes], tmp_path: Path, order: tuple[int, ...]
) -> None:
    plan = plan_partitions(str(photos), str(tmp_path / "out"), 3, size=64, photos_per_shard=8)
    assert [len(plan.names(index)) for index in (1, 2, 3)] == [16, 16, 16]
    for index in order:
        with pytest.raises(ValueError, match=r"partition \d of 3 of .* is not finished \(16 photos to go\)"):
            merge_partitions(plan)
        run_partition(photos, tmp_path / "out", index)
    manifest = merge_partitions(plan)
    assert content(tmp_path / "out") == reference
    reasons = {entry.name: entry.reason for entry in manifest.quarantined}
    assert reasons["photo-0030.jpg"] == reasons["photo-0022.jpg"] == "duplicate of photo-0003.jpg"
    assert reasons["dangling.jpg"] == "dangling link"
    assert merge_partitions(plan) == manifest
    again = plan_partitions(str(photos), str(tmp_path / "out"), 3, size=64, photos_per_shard=8)
    assert (again.to_do, merge_partitions(again)) == ([], manifest)
    assert content(tmp_path / "out") == reference


def test_a_killed_partition_is_run_again_alone(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    run_partition(photos, out, 1)
    run_partition(photos, out, 3)
    standing = {path: path.stat().st_mtime_ns for path in out.rglob("shard-*")}
    process = subprocess.Popen([sys.executable, "-c", PARTITION, str(photos), str(out), "2"])
    while not list(Path(plan.folder(2)).glob("shard-*")) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.wait() in (-signal.SIGKILL, 0)
    standing |= {path: path.stat().st_mtime_ns for path in Path(plan.folder(2)).glob("shard-*")}
    assert plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8) == plan
    run_partition(photos, out, 2)
    assert standing == {path: path.stat().st_mtime_ns for path in standing}, "what stands is not made again"
    merge_partitions(plan)
    assert content(out) == reference


def test_one_partition_in_two_processes(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    indices = ("1", "2", "2", "3")
    command = [sys.executable, "-c", PARTITION, str(photos), str(out)]
    processes = [subprocess.Popen([*command, index]) for index in indices]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    plan = plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    merge_partitions(plan)
    run_partition(photos, out, 2)
    merge_partitions(plan)
    assert content(out) == reference


def test_two_runs_of_a_partition_in_a_store(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    out = f"memory://{tmp_path.name}/out"
    another = iter([True])

    def twin(done: int, _total: int, _quarantined: int) -> None:
        if done == 10 and next(another, False):  # the first has written one shard of its two
            run_partition(photos, out, 2)

    run_partition(photos, out, 2, progress=twin)
    run_partition(photos, out, 3)
    run_partition(photos, out, 1)
    manifest = merge_partitions(plan_partitions(str(photos), out, 3, size=64, photos_per_shard=8))
    assert manifest.to_json() == reference["manifest.json"]
    for name, data in reference.items():
        assert storage.read_bytes(storage.join(out, name)) == data
    assert not storage.exists(f"{out}/ingest-partitions")


@pytest.mark.usefixtures("object_store")
def test_another_shard_of_the_same_number_is_refused(tmp_path: Path) -> None:
    """As of two runs in a store of which one could not read a photo."""
    out = f"s3://coco/{tmp_path.name}"
    first, twin, second = (ShardWriter(out, 64, "somewhere", None) for _ in range(3))
    photo = prepare_photo(encoded(photograph(1), "JPEG"), 64)
    for writer in (first, twin):
        writer.append([("a.jpg", photo)], [("b.jpg", "empty file")])
    with pytest.raises(ConcurrentIngestError, match="is being written by another ingest"):
        second.append([("a.jpg", photo)], [])
    third = ShardWriter(out, 64, "somewhere", None)
    assert (third.names_by_hash, third.quarantined) == ({photo.sha256: "a.jpg"}, {"b.jpg": "empty file"})


@pytest.mark.parametrize("merged", [1, 3, 6])
def test_an_interrupted_merge_goes_on(photos: Path, reference: dict[str, bytes], tmp_path: Path, merged: int) -> None:
    out = tmp_path / "out"
    plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    for index in (1, 2, 3):
        run_partition(photos, out, index)
    for number in range(merged):
        (out / f"shard-{number:05d}.arrow").write_bytes(reference[f"shard-{number:05d}.arrow"])
    merge_partitions(plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8))
    assert content(out) == reference


def test_another_number_of_partitions_keeps_what_is_done(
    photos: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    run_partition(photos, out, 1)
    with pytest.raises(ValueError, match="is being ingested in 3 partitions at size 64"):
        run_partition(photos, out, 1, of=2)
    plan = plan_partitions(str(photos), str(out), 2, size=64, photos_per_shard=8)
    assert sum(len(plan.names(index)) for index in (1, 2)) == 32
    for index in (2, 1):
        run_partition(photos, out, index, of=2)
    merge_partitions(plan)
    assert content(out) == reference


def test_a_grown_source(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    names = save_photographs(source, 20, first=10)
    ingest(str(source), str(out), size=64, workers=1, photos_per_shard=8)
    before = content(out)
    names += save_photographs(source, 10)
    (source / "zz.jpg").write_bytes((source / "photo-0015.jpg").read_bytes())
    plan = plan_partitions(str(source), str(out), 2, size=64, photos_per_shard=8)
    for index in plan.to_do:
        run_partition(source, out, index, of=2)
    manifest = merge_partitions(plan)
    after = content(out)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    shards = ShardDataset(out)
    shards.verify()
    assert sorted(shards.name(index) for index in range(len(shards))) == sorted(names)
    assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [("zz.jpg", "duplicate of photo-0015.jpg")]


def test_more_partitions_than_shards(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    plan = plan_partitions(str(photos), str(tmp_path / "out"), 4, size=64)
    assert [len(plan.names(index)) for index in range(1, 5)] == [12, 12, 12, 12]
    for index in random.Random(1).sample(range(1, 5), 4):
        ingest_partition(str(photos), str(tmp_path / "out"), index, 4, size=64, workers=1)
    manifest = merge_partitions(plan)
    expected = Manifest.model_validate_json(reference["manifest.json"])
    assert (manifest.count, manifest.quarantined, manifest.held_out) == (
        expected.count,
        expected.quarantined,
        expected.held_out,
    )


def test_arguments_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no partition 4 of 3; count from 1"):
        run_partition(photos, tmp_path / "out", 4)
    with pytest.raises(ValueError, match="must be at least 1"):
        plan_partitions(str(photos), str(tmp_path / "out"), 0)
    with pytest.raises(ValueError, match="lies inside the source"):
        plan_partitions(str(photos), str(photos / "out"), 2)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no photo")
    plan = plan_partitions(str(tmp_path / "bad"), str(tmp_path / "none"), 2)
    ingest_partition(str(tmp_path / "bad"), str(tmp_path / "none"), 2, 2, workers=1)
    with pytest.raises(ValueError, match="holds no usable photo: 1 not an image"):
        merge_partitions(plan)

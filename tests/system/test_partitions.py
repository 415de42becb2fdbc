"""Partitions in processes of their own, and in a real store."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.badimages import encoded, photograph
from tests.support.files import contents
from tests.support.ingests import ingested, save_partitioned_photos
from tinystyle.data.decode import prepare_photo
from tinystyle.data.locks import ConcurrentIngestError
from tinystyle.data.partitions import ingest_partition, merge_partitions, plan_partitions
from tinystyle.data.shard_writer import ShardWriter


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_partitioned_photos(tmp_path_factory.mktemp("partitions") / "photos")


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    return ingested(photos)


def run_partition(source: Path, out: Path, index: int) -> None:
    ingest_partition(str(source), str(out), index, 3, size=64, workers=1, photos_per_shard=8)


PARTITION = (
    "import sys; from tinystyle.data.partitions import ingest_partition; "
    "ingest_partition(sys.argv[1], sys.argv[2], int(sys.argv[3]), 3, size=64, workers=1, photos_per_shard=8)"
)


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
    assert contents(out) == reference


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
    assert contents(out) == reference


@pytest.mark.usefixtures("object_store")
def test_another_shard_of_the_same_number_is_refused(tmp_path: Path) -> None:
    """As of two runs in a store of which one could not read a photo."""
    out = f"s3://coco/{tmp_path.name}"
    first, twin, second = (ShardWriter(out, 64, "somewhere", None) for _ in range(3))
    photo = prepare_photo(encoded(photograph(1), "JPEG"), 64)
    for writer in (first, twin):
        writer.append([("a.jpg", photo)], [("b.jpg", "empty file")], {})
    with pytest.raises(ConcurrentIngestError, match="is being written"):
        second.append([("a.jpg", photo)], [], {})
    third = ShardWriter(out, 64, "somewhere", None)
    assert (third.names_by_hash, third.quarantined) == ({photo.sha256: "a.jpg"}, {"b.jpg": "empty file"})

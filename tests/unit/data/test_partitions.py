from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.badimages import save_photographs
from tests.support.files import contents
from tests.support.ingests import ingested, save_partitioned_photos
from tinystyle.data import storage
from tinystyle.data.ingest import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import ingest_partition, merge_partitions, plan_partitions
from tinystyle.data.shards import ShardDataset
from tinystyle.errors import UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_partitioned_photos(tmp_path_factory.mktemp("partitions") / "photos")


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    return ingested(photos)


def run_partition(source: Path | str, out: Path | str, index: int, of: int = 3, **options: Callable[..., None]) -> None:
    ingest_partition(str(source), str(out), index, of, size=64, workers=1, photos_per_shard=8, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3, 1)])
def test_partitions_make_what_one_ingest_makes(
    photos: Path, reference: dict[str, bytes], tmp_path: Path, order: tuple[int, ...]
) -> None:
    plan = plan_partitions(str(photos), str(tmp_path / "out"), 3, size=64, photos_per_shard=8)
    assert [len(plan.names(index)) for index in (1, 2, 3)] == [16, 16, 16]
    for index in order:
        with pytest.raises(UserError, match=r"partition \d of 3 .*16 photos"):
            merge_partitions(plan)
        run_partition(photos, tmp_path / "out", index)
    manifest = merge_partitions(plan)
    assert contents(tmp_path / "out") == reference
    reasons = {entry.name: entry.reason for entry in manifest.quarantined}
    assert reasons["photo-0030.jpg"] == reasons["photo-0022.jpg"] == "duplicate of photo-0003.jpg"
    assert reasons["dangling.jpg"] == "dangling link"
    assert merge_partitions(plan) == manifest
    again = plan_partitions(str(photos), str(tmp_path / "out"), 3, size=64, photos_per_shard=8)
    assert (again.to_do, merge_partitions(again)) == ([], manifest)
    assert contents(tmp_path / "out") == reference


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


@pytest.mark.parametrize("merged", [1, 3, 6])
def test_an_interrupted_merge_goes_on(photos: Path, reference: dict[str, bytes], tmp_path: Path, merged: int) -> None:
    out = tmp_path / "out"
    plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    for index in (1, 2, 3):
        run_partition(photos, out, index)
    for number in range(merged):
        (out / f"shard-{number:05d}.arrow").write_bytes(reference[f"shard-{number:05d}.arrow"])
    merge_partitions(plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8))
    assert contents(out) == reference


def test_another_number_of_partitions_keeps_what_is_done(
    photos: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan_partitions(str(photos), str(out), 3, size=64, photos_per_shard=8)
    run_partition(photos, out, 1)
    with pytest.raises(UserError, match="3 partitions at size 64"):
        run_partition(photos, out, 1, of=2)
    plan = plan_partitions(str(photos), str(out), 2, size=64, photos_per_shard=8)
    assert sum(len(plan.names(index)) for index in (1, 2)) == 32
    for index in (2, 1):
        run_partition(photos, out, index, of=2)
    merge_partitions(plan)
    assert contents(out) == reference


def test_a_grown_source(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "out"
    names = save_photographs(source, 20, first=10)
    ingest(str(source), str(out), size=64, workers=1, photos_per_shard=8)
    before = contents(out)
    names += save_photographs(source, 10)
    (source / "zz.jpg").write_bytes((source / "photo-0015.jpg").read_bytes())
    plan = plan_partitions(str(source), str(out), 2, size=64, photos_per_shard=8)
    for index in plan.to_do:
        run_partition(source, out, index, of=2)
    manifest = merge_partitions(plan)
    after = contents(out)
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
    with pytest.raises(UserError, match="no partition 4 of 3"):
        run_partition(photos, tmp_path / "out", 4)
    with pytest.raises(UserError, match="must be at least 1"):
        plan_partitions(str(photos), str(tmp_path / "out"), 0)
    with pytest.raises(UserError, match="lies inside the source"):
        plan_partitions(str(photos), str(photos / "out"), 2)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no photo")
    plan = plan_partitions(str(tmp_path / "bad"), str(tmp_path / "none"), 2)
    ingest_partition(str(tmp_path / "bad"), str(tmp_path / "none"), 2, 2, workers=1)
    with pytest.raises(UserError, match="no usable photo: 1 not an image"):
        merge_partitions(plan)

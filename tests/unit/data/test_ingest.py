from __future__ import annotations

import threading
import zipfile
from pathlib import Path

import pytest

from tests.support.badimages import make_bad_images, save_photographs
from tests.support.files import contents
from tests.support.ingests import ingested, save_mixed_photos
from tinystyle.data.ingest import dataset_for_training, ingest
from tinystyle.data.locks import ConcurrentIngestError
from tinystyle.data.shards import ShardDataset
from tinystyle.errors import UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_mixed_photos(tmp_path_factory.mktemp("ingest") / "photos")


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    return ingested(photos)


@pytest.mark.slow
def test_bad_images_among_good_ones(tmp_path: Path) -> None:
    expected = make_bad_images(tmp_path / "photos")
    assert sum(reason is not None for reason in expected.values()) >= 26
    calls: list[tuple[int, int, int]] = []
    manifest = ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=96, progress=lambda *c: calls.append(c))
    reasons = {entry.name: entry.reason for entry in manifest.quarantined}
    assert manifest.count + len(manifest.quarantined) == len(expected)
    wrong = {
        name: (reason, reasons.get(name))
        for name, reason in expected.items()
        if (name in reasons) != (reason is not None) or not reasons.get(name, "").startswith(reason or "")
    }
    assert wrong == {}
    shards = ShardDataset(tmp_path / "out")
    assert [shards.name(i) for i in range(len(shards))] == sorted(name for name in expected if expected[name] is None)
    assert all(min(shards.read(i).shape[:2]) == 96 for i in range(len(shards)))
    assert calls[-1] == (len(expected), len(expected), len(reasons))
    deep = next(i for i in range(len(shards)) if shards.name(i) == "16 bit.png")
    assert 120 < shards.read(deep).mean() < 135


def test_a_grown_source_adds_shards_and_rewrites_none(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    save_photographs(photos, 12, first=10)
    ingest(str(photos), str(out), size=64, photos_per_shard=8)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("shard-*")}
    save_photographs(photos, 5, first=5)
    (photos / "zz.jpg").write_bytes((photos / "photo-0012.jpg").read_bytes())
    manifest = ingest(str(photos), str(out), size=64, photos_per_shard=8)
    assert {name: ((out / name).read_bytes(), (out / name).stat().st_mtime_ns) for name in before} == before
    assert manifest.count == 17
    assert [shard.file for shard in manifest.shards] == [f"shard-0000{i}.arrow" for i in range(3)]
    assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [("zz.jpg", "duplicate of photo-0012.jpg")]
    names = [ShardDataset(out).name(i) for i in range(17)]
    assert names == [f"photo-{i:04d}.jpg" for i in (*range(10, 22), *range(5, 10))]
    after = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert ingest(str(photos), str(out), size=64, photos_per_shard=8) == manifest
    assert after == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_as_good_as_a_folder(photos: Path, tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", compression) as archive:
        for path in sorted(photos.iterdir(), reverse=True):
            archive.write(path, path.name)
    manifest = ingest(str(tmp_path / "photos.zip"), str(tmp_path / "out"), size=64, workers=1)
    shards, folder = ShardDataset(tmp_path / "out"), ShardDataset(photos.parent / "reference")
    assert manifest.quarantined == folder.manifest.quarantined
    assert [(shards.name(i), shards.jpeg(i)) for i in range(len(shards))] == [
        (folder.name(i), folder.jpeg(i)) for i in range(len(folder))
    ]


def test_named_photos_are_held_out(tmp_path: Path) -> None:
    names = save_photographs(tmp_path / "photos", 5)
    manifest = ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=64, held_out=names[1:3])
    assert manifest.held_out == names[1:3]
    assert ShardDataset(tmp_path / "out").held_out == [1, 2]
    with pytest.raises(UserError, match="holds out other photos"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=64)
    with pytest.raises(UserError, match=r"nobody\.jpg"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "new"), size=64, held_out=["nobody.jpg"])


def test_refuses_what_is_no_place_for_this_dataset(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, data in reference.items():
        (out / name).write_bytes(data)
    with pytest.raises(UserError, match="64 pixels, not 65"):
        ingest(str(photos), str(out), size=65)
    save_photographs(tmp_path / "others", 1)
    with pytest.raises(UserError, match=f"was ingested from {photos}"):
        ingest(str(tmp_path / "others"), str(out), size=64)
    with pytest.raises(UserError, match="no shard dataset"):
        ingest(str(photos), str(tmp_path / "others"), size=64)
    with pytest.raises(UserError, match="lies inside the source"):
        ingest(str(photos), str(photos / "shards"), size=64)
    with pytest.raises(UserError, match="is a file"):
        ingest(str(photos), str(tmp_path / "others" / "photo-0000.jpg"), size=64)
    assert contents(out) == reference
    (out / "shard-00001.arrow").write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"shard-00001\.arrow is damaged"):
        ingest(str(photos), str(out), size=64)


def test_two_at_once_are_refused(photos: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def another(done: int, _total: int, _quarantined: int) -> None:
        if done == 1:
            with pytest.raises(ConcurrentIngestError, match="is being written") as caught:
                ingest(str(photos), str(tmp_path / "out"), size=64)
            refused.append(str(caught.value))

    ingest(str(photos), str(tmp_path / "out"), size=64, progress=another)
    assert len(refused) == 1


def test_no_usable_photo(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_text("no photo")
    with pytest.raises(UserError, match="no usable photo: 2 not an image"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "out"))
    assert len(ShardDataset(tmp_path / "out").manifest.quarantined) == 2


def test_dataset_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    save_photographs(photos, 4)
    first = dataset_for_training(str(photos), 64)
    stamp = (first / "manifest.json").stat().st_mtime_ns
    assert dataset_for_training(str(photos), 64) == first
    assert (first / "manifest.json").stat().st_mtime_ns == stamp
    assert dataset_for_training(str(first), 64) == first
    assert dataset_for_training(str(photos), 80) != first
    save_photographs(photos, 1, first=4)
    assert len(ShardDataset(dataset_for_training(str(photos), 64))) == 5
    with pytest.raises(UserError, match=r"64 pixels, 80 .*`size` 80"):
        dataset_for_training(str(first), 80)
    with pytest.raises(UserError, match="no such file or folder"):
        dataset_for_training(str(tmp_path / "nothing"), 64)


def test_when_it_has_failed_nothing_of_it_reads_on(photos: Path, tmp_path: Path) -> None:
    def fail(done: int, _total: int, _quarantined: int) -> None:
        if done == 3:
            raise RuntimeError("enough")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="enough") as caught:
        ingest(str(photos), str(tmp_path / "out"), size=64, workers=1, progress=fail)
    assert caught.tb, "whoever holds the error holds what it left"
    assert set(threading.enumerate()) <= before

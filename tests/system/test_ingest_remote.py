from __future__ import annotations

import io
import itertools
import random
import zipfile
from pathlib import Path

import pytest

from tests.support.badimages import encoded, photograph, save_photographs
from tests.support.servers import RangeServer
from tinystyle.data import storage
from tinystyle.data.ingest import dataset_for_training, ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.shards import ShardDataset, sync
from tinystyle.errors import UserError

COUNT = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("remote") / "photos"
    save_photographs(folder, COUNT)
    (folder / "photo-0007.jpg").write_bytes(b"rubbish")
    return folder


@pytest.fixture(scope="module")
def jpegs(photos: Path) -> dict[str, bytes]:
    """What a local ingest makes of them."""
    ingest(str(photos), str(photos.parent / "reference"), size=64, workers=1, photos_per_shard=8)
    return contents(photos.parent / "reference")


def contents(dataset: Path) -> dict[str, bytes]:
    shards = ShardDataset(dataset)
    shards.verify()
    return {shards.name(index): shards.jpeg(index) for index in range(len(shards))}


def zipped(photos: Path) -> bytes:
    file = io.BytesIO()
    paths = sorted(photos.iterdir())
    random.Random(0).shuffle(paths)
    with zipfile.ZipFile(file, "w") as archive:
        for path in paths:
            archive.write(path, f"train2017/{path.name}")
    return file.getvalue()


class Interrupted(Exception):  # noqa: N818 - as KeyboardInterrupt is called
    pass


def interrupt_at(photo: int):  # type: ignore[no-untyped-def]
    def progress(done: int, _total: int, _quarantined: int) -> None:
        if done == photo:
            raise Interrupted

    return progress


@pytest.mark.usefixtures("object_store")
def test_prefix_to_prefix_interrupted_grown_and_synced(
    photos: Path, jpegs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    for path in photos.iterdir():
        storage.copy(path, f"s3://coco/raw/{path.name}")
    source, destination = "s3://coco/raw/", "s3://coco/shards"
    with pytest.raises(Interrupted):
        ingest(source, destination, size=64, photos_per_shard=8, progress=interrupt_at(21))
    assert not storage.exists(f"{destination}/manifest.json")
    first = storage.read_bytes(f"{destination}/shard-00001.arrow")
    calls: list[int] = []
    manifest = ingest(source, destination, size=64, photos_per_shard=8, progress=lambda done, *_: calls.append(done))
    assert calls == list(range(17, COUNT + 1)), "what stands is not ingested again"
    assert storage.read_bytes(f"{destination}/shard-00001.arrow") == first
    assert manifest == Manifest.read(destination)
    assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [("photo-0007.jpg", "not an image")]
    assert contents(sync(destination)) == jpegs

    uninterrupted = ingest(source, "s3://coco/again", size=64, workers=1, photos_per_shard=8)
    assert uninterrupted == manifest

    storage.write_bytes("s3://coco/raw/new.png", encoded(photograph(99), "PNG"))
    grown = ingest(source, destination, size=64, photos_per_shard=8)
    assert grown.shards[:-1] == manifest.shards
    assert dataset_for_training(destination, 64) == sync(destination)
    assert len(ShardDataset(sync(destination))) == COUNT


@pytest.mark.usefixtures("object_store")
def test_zip_in_the_store(photos: Path, jpegs: dict[str, bytes], tmp_path: Path) -> None:
    storage.write_bytes("s3://coco/zips/photos.zip", zipped(photos))
    ingest("s3://coco/zips/photos.zip", str(tmp_path / "out"), size=64, photos_per_shard=8)
    assert {name.removeprefix("train2017/"): jpeg for name, jpeg in contents(tmp_path / "out").items()} == jpegs


@pytest.mark.usefixtures("object_store")
@pytest.mark.parametrize("uri", ["s3://coco/nothing/here", "s3://no-such-bucket/photos", "s3://coco/no.zip"])
def test_nothing_in_the_store(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no files|no such file or folder|cannot be read"):
        ingest(uri, str(tmp_path / "out"))


def test_zip_by_ranges_over_a_bad_connection(photos: Path, jpegs: dict[str, bytes], tmp_path: Path) -> None:
    server = RangeServer(data := zipped(photos), break_every=5)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        offsets = {member.filename: member.header_offset for member in archive.infolist()}
        listing = len(data) - archive.start_dir
    with server.running() as uri:
        with pytest.raises(Interrupted):
            ingest(
                f"{uri}?signature=secret", str(tmp_path / "out"), size=64, photos_per_shard=8, progress=interrupt_at(17)
            )
        standing = sorted(offsets)[:16]
        server.served.clear()
        manifest = ingest(f"{uri}?signature=other", str(tmp_path / "out"), size=64, photos_per_shard=8)
        served = list(server.served)
        assert server.broken >= 5
        assert manifest.source == uri, "a signature is not recorded"
        assert {name.removeprefix("train2017/"): jpeg for name, jpeg in contents(tmp_path / "out").items()} == jpegs
        starts = [start for start, _ in served]
        assert not {offsets[name] for name in standing} & set(starts)
        assert all(starts.count(offsets[name]) == 1 for name in sorted(offsets)[16:])
        ends = dict(itertools.pairwise(sorted([*offsets.values(), len(data) - listing])))
        missing = sum(ends[offsets[name]] - offsets[name] for name in sorted(offsets)[16:])
        members = sum(end - start for start, end in served if start in ends)
        assert members == missing


@pytest.mark.slow
def test_a_server_that_goes_away_stops_the_ingest(tmp_path: Path) -> None:
    save_photographs(tmp_path / "photos", 120)
    out = tmp_path / "out"
    with RangeServer(zipped(tmp_path / "photos"), break_after=40).running() as uri:
        with pytest.raises(OSError, match=r"stopped responding"):
            ingest(uri, str(out), size=64, photos_per_shard=200)
        assert list(out.iterdir()) == []


def test_servers_that_cannot_be_used(tmp_path: Path) -> None:
    save_photographs(tmp_path / "photos", 3)
    for server, message in (
        (RangeServer(zipped(tmp_path / "photos"), ranges=False), "does not serve parts of a file"),
        (RangeServer(b"<html>not a zip</html>" * 100), "is not a readable zip file"),
    ):
        with server.running() as uri, pytest.raises(UserError, match=message):
            ingest(uri, str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"cannot be read: .*[Cc]onnect"):
        ingest("http://127.0.0.1:9/photos.zip", str(tmp_path / "out"))  # nobody listens there

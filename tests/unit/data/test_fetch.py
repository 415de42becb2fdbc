"""Datasets that come to this machine: what differs is fetched, and nobody trains on what is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.badimages import save_photographs
from tinystyle.data import storage
from tinystyle.data.fetch import sync
from tinystyle.data.ingest import dataset_for_training, ingest
from tinystyle.errors import UserError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards."""
    folder = tmp_path_factory.mktemp("fetch")
    save_photographs(folder / "photos", 40)
    ingest(str(folder / "photos"), str(folder / "dataset"), size=64, workers=1, photos_per_shard=16)
    return folder / "dataset"


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    for file in dataset.iterdir():
        storage.copy(file, tmp_path / "dataset" / file.name)
    return tmp_path / "dataset"


@pytest.fixture
def remote(dataset: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    uri = f"memory://{request.node.name}/dataset"
    for file in dataset.iterdir():
        storage.copy(file, storage.join(uri, file.name))
    return uri


def test_sync_fetches_only_what_differs(remote: str, dataset: Path) -> None:
    local = sync(remote)
    assert _content(local) == _content(dataset)
    before = {file.name: file.stat().st_mtime_ns for file in local.iterdir()}
    (local / "shard-00000.arrow").unlink()
    _flip_a_byte(local / "shard-00001.arrow")
    assert sync(remote) == local
    assert _content(local) == _content(dataset)
    after = {file.name: file.stat().st_mtime_ns for file in local.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"shard-00000.arrow", "shard-00001.arrow"}


def test_sync_hashes_a_shard_once_and_again_when_it_may_have_changed(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def sha256(path: Path) -> str:
        hashed.append(path.name)
        return real(path)

    real = storage.sha256
    local = sync(remote)
    sync(remote)
    monkeypatch.setattr(storage, "sha256", sha256)
    sync(remote)
    assert hashed == []
    os.utime(local / "shard-00001.arrow", ns=(1, 1))
    sync(remote)
    sync(remote)
    assert hashed == ["shard-00001.arrow"]


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": lambda path: _flip_a_byte(path),
    "flipped, with its time": lambda path: _flip_a_byte_and_keep_its_time(path),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]) and None,
    "empty": lambda path: path.write_bytes(b"") and None,
    "folder": lambda path: _make_a_folder(path),
    "dangling link": lambda path: path.unlink() or path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_in_the_cache_is_fetched_again(
    damage: Callable[[Path], None], remote: str, dataset: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local = sync(remote)
    sync(remote)  # its checksums are remembered now
    assert not caplog.records
    damage(local / "shard-00001.arrow")
    assert sync(remote) == local
    assert _content(local) == _content(dataset)
    (line,) = caplog.messages
    assert line == f"shard-00001.arrow in {local} differed from the checksum of the dataset, and was fetched again"


def test_a_damaged_shard_at_the_source_is_refused(remote: str, dataset: Path) -> None:
    data = bytearray((dataset / "shard-00001.arrow").read_bytes())
    data[len(data) // 2] ^= 1
    storage.write_bytes(storage.join(remote, "shard-00001.arrow"), bytes(data))
    with pytest.raises(
        UserError, match=r"dataset/shard-00001\.arrow is damaged: it differs from its checksum"
    ) as caught:
        sync(remote)
    assert not isinstance(caught.value, OSError), "no later attempt would succeed"
    (cached,) = (storage.cache_dir("datasets")).iterdir()
    assert "shard-00001.arrow" not in _content(cached)
    assert "manifest.json" not in _content(cached)


def test_damage_on_the_way_is_not_seen(remote: str, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals: list[str] = []

    def copy(source: str, destination: Path) -> None:
        real(source, destination)
        if source.endswith("shard-00001.arrow"):
            arrivals.append(source)
            if len(arrivals) == 1:
                _flip_a_byte(destination)

    real = storage.copy
    monkeypatch.setattr(storage, "copy", copy)
    assert _content(sync(remote)) == _content(dataset)
    assert len(arrivals) == 2


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_of_a_local_dataset_is_refused(
    damage: Callable[[Path], None], copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    assert dataset_for_training(str(copied), 16) == copied
    damage(copied / "shard-00001.arrow")
    with pytest.raises(UserError, match=r"shard-00001\.arrow is damaged"):
        dataset_for_training(str(copied), 16)


@pytest.mark.parametrize("file", ["shard-00000.arrow", "manifest.json"])
@pytest.mark.parametrize(
    "damage", [DAMAGES[name] for name in ("cut", "empty", "folder")], ids=("cut", "empty", "folder")
)
def test_photos_are_ingested_again_if_what_was_ingested_is_damaged(
    damage: Callable[[Path], None],
    file: str,
    photo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    folder = dataset_for_training(str(photo_folder), 32)
    before = _content(folder)
    dataset_for_training(str(photo_folder), 32)
    assert not caplog.records
    damage(folder / file)
    assert dataset_for_training(str(photo_folder), 32) == folder
    assert _content(folder) == before
    (line,) = caplog.messages
    assert line.startswith(f"{file} in {folder} ")


def test_sync_of_a_local_dataset_is_itself(dataset: Path) -> None:
    assert sync(str(dataset)) == dataset


def _flip_a_byte_and_keep_its_time(path: Path) -> None:
    status = path.stat()
    _flip_a_byte(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").write_text("in the way")


def _content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

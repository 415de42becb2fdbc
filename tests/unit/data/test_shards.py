from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.support.badimages import save_photographs
from tinystyle.data import storage
from tinystyle.data.decode import decode_photo
from tinystyle.data.ingest import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.shards import ShardDataset, holds_out
from tinystyle.errors import UserError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "photos"
    save_photographs(folder, 40)
    return folder


@pytest.fixture(scope="module")
def dataset(photos: Path) -> Path:
    folder = photos.parent / "dataset"
    ingest(str(photos), str(folder), size=64, workers=1, photos_per_shard=16)
    return folder


@pytest.fixture
def copied(dataset: Path, tmp_path: Path) -> Path:
    for file in dataset.iterdir():
        storage.copy(file, tmp_path / "dataset" / file.name)
    return tmp_path / "dataset"


def test_reads_what_was_ingested(photos: Path, dataset: Path) -> None:
    shards = ShardDataset(dataset)
    assert len(shards) == shards.manifest.count == 40
    assert [shards.name(index) for index in range(40)] == sorted(path.name for path in photos.iterdir())
    for index in (0, 15, 16, 39):
        original = decode_photo((photos / shards.name(index)).read_bytes(), 64)
        assert shards.read(index).shape == original.shape
        assert np.abs(shards.read(index).astype(int) - original).mean() < 3
        assert shards.jpeg(index).startswith(b"\xff\xd8")
    with pytest.raises(IndexError):
        shards.read(40)


def test_held_out_is_one_in_twenty_by_the_stored_hash(photos: Path, dataset: Path) -> None:
    shards = ShardDataset(dataset)
    expected = []
    for index in range(len(shards)):
        pixels = decode_photo((photos / shards.name(index)).read_bytes(), 64)
        digest = hashlib.sha256(b"%dx%d" % pixels.shape[:2] + pixels.tobytes()).hexdigest()
        if int(digest, 16) % 20 == 0:
            expected.append(index)
    assert shards.held_out == expected
    assert shards.held_out, "the forty photos are chosen so that some are held out"
    assert sorted(shards.training + shards.held_out) == list(range(40))
    assert shards.manifest.held_out == [shards.name(index) for index in expected]
    assert sum(holds_out(hashlib.sha256(bytes([i, j])).hexdigest()) for i in range(100) for j in range(100)) in range(
        420, 580
    )


def test_pickles_as_its_path(dataset: Path) -> None:
    again = pickle.loads(pickle.dumps(ShardDataset(dataset)))
    assert again.jpeg(20) == ShardDataset(dataset).jpeg(20)
    assert len(pickle.dumps(again)) < 1000


def test_identity_follows_the_content(photos: Path, dataset: Path, tmp_path: Path) -> None:
    same = ingest(str(photos), str(tmp_path / "same"), size=64, workers=1, photos_per_shard=16)
    other = ingest(str(photos), str(tmp_path / "other"), size=65, workers=1, photos_per_shard=16)
    assert Manifest.read(dataset).sha256() == same.sha256() != other.sha256()


def test_unknown_fields_of_a_manifest_are_ignored(copied: Path) -> None:
    file = copied / "manifest.json"
    file.write_text(file.read_text().replace("{", '{"later": 1,', 1))
    assert len(ShardDataset(copied)) == 40


def test_missing_shard(copied: Path) -> None:
    (copied / "shard-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"shard-00001\.arrow is missing"):
        ShardDataset(copied)


def test_cut_shard(copied: Path) -> None:
    shard = copied / "shard-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged"):
        ShardDataset(copied)


def test_bit_rot_is_found_by_verify(copied: Path) -> None:
    _flip_a_byte(copied / "shard-00002.arrow")
    with pytest.raises(UserError, match=r"shard-00002\.arrow is damaged"):
        ShardDataset(copied).verify()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "holds no manifest.json"),
        ("{", "is damaged"),
        ('{"a": 1}', "is damaged"),
        ('{"format": 1, "count": 0, "size": 1, "source": "", "quarantined": [], "held_out": [], "shards": '
         '[{"file": "../x.arrow", "sha256": "' + "0" * 64 + '", "bytes": 0, "count": 0}]}', "is damaged"),
        ('{"format": 9, "count": 0, "size": 1, "source": "", "quarantined": [], "held_out": [], "shards": []}',
         "later tinystyle"),
    ],
)  # fmt: skip
def test_what_is_no_dataset(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match=message):
        ShardDataset(tmp_path)


def _flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

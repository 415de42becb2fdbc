"""I13: buckets that anybody may read, without credentials; and odd keys among good ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tests.support.badimages import encoded, photograph, save_photographs
from tests.support.command_line import Run
from tests.support.servers import ObjectStore
from tinystyle.data import storage
from tinystyle.data.ingest import ingest
from tinystyle.data.sources import open_source
from tinystyle.data.syncing import sync_dataset
from tinystyle.styles import Style


@pytest.fixture
def public_bucket(object_store: ObjectStore) -> str:
    """A bucket that anybody may read, with three photos in `val`."""
    s3 = object_store.client()
    if "open-photos" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket="open-photos")
        statement = {
            "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::open-photos", "arn:aws:s3:::open-photos/*"],
        }  # fmt: skip
        s3.put_bucket_policy(
            Bucket="open-photos", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        )
        for seed in range(3):
            s3.put_object(Bucket="open-photos", Key=f"val/{seed}.jpg", Body=encoded(photograph(seed), "JPEG"))
    return "s3://open-photos"


@pytest.fixture
def without_credentials(public_bucket: str, object_store: ObjectStore, no_object_store: pytest.MonkeyPatch) -> str:
    no_object_store.setenv("AWS_ENDPOINT_URL", object_store.endpoint)
    assert "AWS_ACCESS_KEY_ID" not in os.environ
    return public_bucket


def test_i13_a_public_bucket_is_read_without_credentials(without_credentials: str, run: Run, tmp_path: Path) -> None:
    code, output, error = run("ingest", f"{without_credentials}/val", tmp_path / "out", "--size", "64")
    assert (code, error) == (0, "")
    assert output.startswith("3 photos in 1 shards")


def test_i13_and_another_is_refused_by_what_is_missing(without_credentials: str, run: Run, tmp_path: Path) -> None:
    code, _, error = run("ingest", "s3://coco/val", tmp_path / "out", "--size", "64")
    assert code == 2
    assert error.startswith("Error: s3://coco/val cannot be read: ")
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in error
    code, _, error = run("ingest", f"{without_credentials}/val", f"{without_credentials}/out", "--size", "64")
    assert code == 2
    assert "no credentials; set AWS_ACCESS_KEY_ID" in error


@pytest.mark.usefixtures("object_store")
def test_i2_prefixes_with_marks_of_web_addresses_are_different_sources(run: Run, tmp_path: Path) -> None:
    for prefix, seeds in (("shoot", (0, 1)), ("shoot#1", (2, 3, 4)), ("shoot#2", (5, 6)), ("100%?x", (7,))):
        for seed in seeds:
            storage.write_bytes(f"s3://coco/marks/{prefix}/{seed}.jpg", encoded(photograph(seed), "JPEG"))
    for prefix, count in (("shoot#1", 3), ("shoot#2", 2), ("shoot", 2), ("100%?x", 1)):
        assert ingest(f"s3://coco/marks/{prefix}", str(tmp_path / prefix), size=64).count == count
    code, _, error = run("ingest", "s3://coco/marks/shoot#2", tmp_path / "shoot#1", "--size", "64")
    assert (code, "was ingested from s3://coco/marks/shoot#1" in error) == (2, True)
    assert ingest("s3://coco/marks/shoot#1", "s3://coco/marks/shoot/ds", size=64).count == 3


@pytest.mark.usefixtures("object_store")
def test_i2_photos_and_styles_with_marks_of_web_addresses_are_read(run: Run, tmp_path: Path) -> None:
    uri = "s3://coco/marks/shoot#1 100%25?"
    storage.write_bytes(f"{uri}/a#1?.jpg", encoded(photograph(1), "JPEG"))
    code, output, _ = run("stylize", "pretrained:starry-night", uri, "--out", tmp_path / "out")
    assert (code, output) == (0, f"{tmp_path}/out/a#1?.png\n")
    assert Style.load(f"{uri}/a#1?.jpg").name == "a#1?"


@pytest.mark.usefixtures("object_store")
def test_one_odd_object_spoils_no_listing(tmp_path: Path) -> None:
    names = save_photographs(tmp_path / "photos", 2)
    odd = {"new\nline.jpg": None, "empty.jpg": b"", "tab\t.jpg": None, "ünï 写.jpg": None, "a folder/": b"", "x/": b""}
    for seed, (name, data) in enumerate(odd.items(), 10):
        content = encoded(photograph(seed), "JPEG") if data is None else data
        S3FileSystem().pipe_file(f"coco/odd/{name}", content)
    for name in names:
        storage.write_bytes(f"s3://coco/odd/{name}", (tmp_path / "photos" / name).read_bytes())
    source = open_source("s3://coco/odd")
    assert set(source.names()) == {*names, "new\nline.jpg", "empty.jpg", "tab\t.jpg", "ünï 写.jpg"}
    manifest = ingest("s3://coco/odd", str(tmp_path / "out"), size=64)
    assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [("empty.jpg", "empty file")]


@pytest.mark.usefixtures("object_store")
def test_a_dataset_in_a_store_is_synced_with_photos_in_a_store(tmp_path: Path) -> None:
    source, dataset = "s3://coco/synced/photos", "s3://coco/synced/dataset"
    for seed in range(6):
        storage.write_bytes(f"{source}/{seed}.jpg", encoded(photograph(seed), "JPEG"))
    ingest(source, dataset, size=64, photos_per_shard=2)
    storage.write_bytes(f"{source}/2.jpg", encoded(photograph(20), "JPEG"))
    storage.write_bytes(f"{source}/7.jpg", encoded(photograph(7), "JPEG"))
    storage.remove(f"{source}/4.jpg")
    manifest, changes = sync_dataset(source, dataset, size=64, photos_per_shard=2)
    assert str(changes) == "1 new, 1 changed, 1 vanished"
    assert manifest.sha256() == ingest(source, str(tmp_path / "fresh"), size=64, photos_per_shard=2).sha256()
    there = {file.uri.removeprefix(f"{dataset}/") for file in storage.find(dataset)}
    assert there == {"manifest.json", *(shard.file for shard in manifest.shards)}

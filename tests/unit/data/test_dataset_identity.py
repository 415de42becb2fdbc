"""What decides the identity of a dataset: its photos, never their place."""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.syncs import fill, ingested
from tinystyle.config import run_config
from tinystyle.data import ingest, storage
from tinystyle.data.manifest import Manifest
from tinystyle.training.lineage import lineage_of


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    fill(folder)
    return folder


FORMS: dict[str, Callable[[Path, Path], str]] = {
    "as it is": lambda photos, _: str(photos),
    "elsewhere": lambda photos, scratch: str(shutil.copytree(photos, scratch / "other" / "name")),
    "relative": lambda photos, _: os.path.relpath(photos),
    "by a link": lambda photos, scratch: str(_linked(photos, scratch / "link")),
    "as a URI": lambda photos, _: photos.as_uri(),
    "in a zip": lambda photos, scratch: str(_zipped(photos, scratch / "photos.zip")),
    "in a store": lambda photos, _: _stored(photos),
}


def _linked(photos: Path, link: Path) -> Path:
    link.symlink_to(photos)
    return link


def _zipped(photos: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for photo in sorted(photos.iterdir(), reverse=True):
            archive.write(photo, f"train/{photo.name}")
    return path


def _stored(photos: Path) -> str:
    uri = f"memory://{uuid.uuid4().hex}"
    for photo in photos.iterdir():
        storage.write_bytes(storage.join(uri, photo.name), photo.read_bytes())
    return uri


@pytest.mark.parametrize("form", FORMS)
def test_identity_contains_no_path(form: str, photos: Path, tmp_path: Path) -> None:
    expected, found = ingested(photos, tmp_path / "expected"), ingested(FORMS[form](photos, tmp_path), tmp_path / "out")
    assert found.sha256() == expected.sha256()
    config = run_config({"style": "builtin:wave", "photos": str(photos), "size": 32})
    keys = {
        lineage_of(config.model_copy(update={"photos": where}), manifest.sha256(), "style", "network", None)["key"]
        for where, manifest in ((str(photos), expected), ("elsewhere", found))
    }
    assert len(keys) == 1


def test_identity_is_that_of_what_is_trained_on(photos: Path, tmp_path: Path) -> None:
    first = ingested(photos, tmp_path / "first")
    (photos / "text.txt").write_text("no photo either")
    assert ingested(photos, tmp_path / "second").sha256() == first.sha256()
    other_cut = ingest.ingest(str(photos), str(tmp_path / "third"), size=64, workers=1)
    assert other_cut.sha256() == first.sha256()
    (photos / "photo-0005.jpg").rename(photos / "zz.jpg")  # another order is another training
    assert ingested(photos, tmp_path / "fourth").sha256() != first.sha256()
    named = ingest.ingest(str(photos), str(tmp_path / "fifth"), size=64, workers=1, held_out=["zz.jpg"])
    assert named.sha256() != Manifest.read(tmp_path / "fourth").sha256()
    old = first.model_copy(update={"photos": None})
    assert "photos" not in old.model_dump(exclude_none=True)
    assert old.sha256() != first.sha256()
    assert Manifest.model_validate_json(old.to_json()).sha256() == old.sha256()

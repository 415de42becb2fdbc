from __future__ import annotations

import os
import socket
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.badimages import save_photographs
from tinystyle.data import storage
from tinystyle.data.decode import MAX_BYTES, Unusable
from tinystyle.data.ingest import ingest
from tinystyle.data.sources import open_source
from tinystyle.errors import UserError

COCO = (
    "train2017/0002.jpg",
    "train2017/0001.jpg",
    "annotations/instances.json",
    "nested/val2017/0003.jpg",
    "nested/annotations/captions.json",
)
IMAGES = ["nested/val2017/0003.jpg", "train2017/0001.jpg", "train2017/0002.jpg"]


def _as_folder(folder: Path) -> str:
    for name in COCO:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return str(folder)


def _as_zip(folder: Path) -> str:
    with zipfile.ZipFile(folder / "coco.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("train2017")
        for name in COCO:
            archive.writestr(name, name)
    return str(folder / "coco.zip")


def _as_objects(folder: Path) -> str:
    uri = f"memory://{folder.name}"
    for name in COCO:
        storage.write_bytes(storage.join(uri, name), name.encode())
    return uri


def _as_object_zip(folder: Path) -> str:
    uri = f"memory://{folder.name}/coco.zip"
    storage.write_bytes(uri, Path(_as_zip(folder)).read_bytes())
    return uri


@pytest.mark.parametrize("make", [_as_folder, _as_zip, _as_objects, _as_object_zip])
def test_coco_layout(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = open_source(make(tmp_path))
    assert source.names() == IMAGES
    assert [source.read(name).decode() for name in source.names()] == IMAGES
    assert source.problems == []


def test_annotations_alone_are_an_ordinary_folder(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.jpg").write_bytes(b"x")
    assert open_source(str(tmp_path)).names() == ["annotations/a.jpg"]


def test_linked_folder_is_followed_until_it_loops(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to("../elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to("../root")
    source = open_source(str(tmp_path / "root"))
    assert source.names() == ["link/a.jpg"]
    assert source.problems == [("link/back", "link loop")]


def test_i16_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    source = open_source(str(tmp_path))
    assert source.names() == ["caf\\xe9.jpg"]
    assert source.read("caf\\xe9.jpg") == b"x"
    (tmp_path / "caf\\xe9.jpg").write_bytes(b"a backslash in its name")
    assert open_source(str(tmp_path)).names() == ["caf\\xe9.jpg", "caf\\xe9.jpg~"]


def test_i16_source_whose_own_name_is_not_utf8(tmp_path: Path) -> None:
    source = f"{tmp_path}/{os.fsdecode(b'caf' + bytes([0xE9]))}"
    save_photographs(Path(source), 2)
    assert open_source(source).uri == f"{tmp_path}/caf\\xe9"
    assert ingest(source, str(tmp_path / "out"), size=64, workers=1).source == f"{tmp_path}/caf\\xe9"
    with pytest.raises(UserError, match="lies inside the source"):
        ingest(source, f"{source}/shards", size=64)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(Path(source, "photo-0000.jpg"), "a.jpg")
    (tmp_path / "a.zip").rename(source + ".zip")
    assert open_source(source + ".zip").names() == ["a.jpg"]


def test_fingerprint_follows_the_listing(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    first = open_source(str(tmp_path)).fingerprint()
    assert open_source(str(tmp_path)).fingerprint() == first
    os.utime(file, ns=(1, 1))
    second = open_source(str(tmp_path)).fingerprint()
    (tmp_path / "b.jpg").write_bytes(b"y")
    assert len({first, second, open_source(str(tmp_path)).fingerprint()}) == 3


def test_enormous_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "film.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Unusable, match=f"too large: {MAX_BYTES + 1} bytes"):
        open_source(str(tmp_path)).read("film.jpg")


def test_vanished_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    source = open_source(str(tmp_path))
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(Unusable, match="unreadable: no such file"):
        source.read("a.jpg")


def test_damaged_zip_members(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.jpg", b"good")
        archive.writestr("rotten.jpg", b"rotten")
        archive.writestr("bz2.jpg", b"x", compress_type=zipfile.ZIP_BZIP2)
        archive.writestr("folder.jpg/", b"")
    path.write_bytes(path.read_bytes().replace(b"rotten", b"rotteN", 2).replace(b"rotteN.jpg", b"rotten.jpg"))
    source = open_source(str(path))
    assert source.read("good.jpg") == b"good"
    with pytest.raises(Unusable, match="corrupt: zip checksum"):
        source.read("rotten.jpg")
    with pytest.raises(Unusable, match="unsupported zip compression"):
        source.read("bz2.jpg")
    assert source.problems == [("folder.jpg", "a folder, not a file")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "no such file or folder"),
        ("missing.zip", None, "no such file or folder"),
        ("text.zip", b"not a zip", "neither a folder nor a zip"),
        ("photo.jpg", b"\xff\xd8\xff", "neither a folder nor a zip"),
    ],
)
def test_what_is_no_source(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / name))


def test_empty_sources(tmp_path: Path) -> None:
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    (tmp_path / "empty").mkdir()
    for uri in (str(tmp_path / "empty"), str(tmp_path / "empty.zip"), "memory://nothing-here"):
        with pytest.raises(UserError, match=r"holds no files|no such file"):
            open_source(uri)
    storage.write_bytes("memory://broken/photos.zip", b"neither this nor that")
    with pytest.raises(UserError, match="is not a readable zip file"):
        open_source("memory://broken/photos.zip")


def test_what_is_beside_the_photos_is_left_out_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "null.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.jpg"))
        source = open_source(str(tmp_path))
    assert source.names() == ["a.jpg"]
    assert source.problems == [(name, "not a regular file") for name in ("fifo.jpg", "null.jpg", "s.jpg")]
    with pytest.raises(UserError, match="neither a folder nor a zip"):
        open_source(str(tmp_path / "fifo.jpg"))


@pytest.mark.parametrize("as_uri", [str, lambda path: _in_memory(path)])
def test_i2_marks_of_web_addresses_are_parts_of_names(as_uri: Callable[[Path], str], tmp_path: Path) -> None:
    names = ["a#1", "a#2", "a?x=1", "50%25", "a b+c"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").write_text(name)
        with zipfile.ZipFile(tmp_path / name / "train.zip", "w") as archive:
            archive.writestr("z.jpg", name)
    for name in names:
        uri = storage.join(as_uri(tmp_path), name)
        source = open_source(uri)
        assert source.uri == uri
        assert source.names() == sorted([f"{name}.jpg", "train.zip"])
        assert source.read(f"{name}.jpg").decode() == name
        assert open_source(storage.join(uri, "train.zip")).read("z.jpg").decode() == name
    with pytest.raises(UserError, match=r"a: no such|a holds no files"):
        open_source(storage.join(as_uri(tmp_path), "a"))


def _in_memory(folder: Path) -> str:
    uri = f"memory://{uuid.uuid4().hex}"
    for path in folder.rglob("*"):
        if path.is_file():
            storage.write_bytes(storage.join(uri, path.relative_to(folder).as_posix()), path.read_bytes())
    return uri

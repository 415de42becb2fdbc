"""Which photos arguments mean."""

import io
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.stylize.photos import find_photos


def png(width: int = 9, height: int = 5) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


def stems(*arguments: str | Path) -> list[str]:
    return [photo.stem for photo in find_photos(arguments)]


def test_folders_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.png", "a.jpg", "deep/c.png", "deep/er/d.png", "e[1].png", "disguised.dat"):
        storage.write_bytes(tmp_path / name, png())
    for name in ("text.png", "sub.json", ".hidden.png"):
        (tmp_path / name).write_text("{}")
    assert stems(tmp_path) == ["a", "b", "disguised", "e[1]"]
    assert caplog.messages == [f"{tmp_path}: skipped, as they are not images that can be read: sub.json, text.png"]
    assert stems(tmp_path / "deep", tmp_path / "b.png") == ["c", "b"]
    assert stems(tmp_path / "[ab].*") == ["a", "b"]
    assert stems(tmp_path / "**" / "?.png") == ["b", "c", "d"]
    assert stems(tmp_path / "e[1].png") == ["e[1]"]  # a file of that name comes before a pattern
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert stems("deep/*.png", "~/b.png", f"file://{tmp_path}/a.jpg") == ["c", "b", "a"]
    with pytest.raises(UserError, match=r"sub\.j\*: there is no readable image"):
        stems("sub.j*")


def test_sizes_are_known_beforehand(tmp_path: Path) -> None:
    synthetic_photo(0, 40, 30).save(tmp_path / "a.jpg")
    (tmp_path / "bad.jpg").write_text("named, so it is an error, and later")
    assert [photo.size for photo in find_photos([tmp_path / "a.jpg", tmp_path / "bad.jpg"])] == [(40, 30), None]


def test_i2_marks_in_the_name_of_a_remote_folder_are_no_pattern() -> None:
    for folder in ("shoot[1]", "shoot#1", "a?b", "50%25"):
        storage.write_bytes(f"memory://{folder}/x#1.png", png())
        photo = find_photos([f"memory://{folder}"])[0]
        assert (photo.source, photo.stem) == (f"memory:///{folder}/x#1.png", "x#1")
        assert photo.read() == png()
        assert find_photos([f"memory://{folder}/x#1.png"])[0].stem == "x#1"


def test_remote_folders_and_patterns(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "b.JPG", "notes.txt", "deep/c.png"):
        storage.write_bytes(f"memory://find-photos/{name}", png())
    photos = find_photos(["memory://find-photos"])
    assert [photo.stem for photo in photos] == ["a", "b"]
    assert photos[0].read() == png()
    assert caplog.messages == ["memory://find-photos: skipped, as they are not images that can be read: notes.txt"]
    assert stems("memory://find-photos/*.png", "memory://find-photos/deep/c.png") == ["a", "c"]
    for argument in ("memory://find-photos/none.png", "memory://find-photos/*.gif"):
        with pytest.raises(UserError, match=r"no such photo|there is no readable image"):
            stems(argument)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png())))
    (photo,) = find_photos(["-"])
    assert (photo.stem, photo.size, photo.read()) == ("stdin", (9, 5), png())

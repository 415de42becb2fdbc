"""Copies of single files: looked at again, and what may be given as a file."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tinystyle.data import remote, storage
from tinystyle.data.downloads import fetch
from tinystyle.errors import UserError
from tinystyle.nets.perceptual.weights import find_weights
from tinystyle.styles import Style


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    return f"memory://{uuid.uuid4().hex}/vgg16.pth"


def test_a_copy_is_fetched_again_when_the_file_has_changed(uri: str, tmp_path: Path) -> None:
    storage.write_bytes(uri, b"weights")
    copy = fetch(uri, "weights")
    assert copy.is_relative_to(tmp_path / "cache" / "weights")
    assert copy.suffix == ".pth", "readers go by it"
    assert copy.read_bytes() == b"weights"
    stamp = copy.stat().st_mtime_ns
    assert fetch(uri, "weights") == copy
    assert copy.stat().st_mtime_ns == stamp
    storage.write_bytes(uri, b"others!")  # of the same size
    assert fetch(uri, "weights", fixed=True).read_bytes() == b"weights"
    assert fetch(uri, "weights").read_bytes() == b"others!"
    storage.remove(uri)
    with pytest.raises(FileNotFoundError, match="no such file"):
        fetch(uri, "weights")


def test_a_copy_serves_while_its_server_does_not_answer(
    uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage.write_bytes(uri, b"weights")
    fetch(uri, "weights")

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(remote, "call", away)
    assert fetch(uri, "weights").read_bytes() == b"weights"
    assert "nobody there" in caplog.text
    with pytest.raises(ConnectionError):
        fetch(f"{uri}.other", "weights")


def test_c9c_a_folder_is_not_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} cannot be read .is a folder, not a file."):
        find_weights("vgg16", str(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        find_weights("vgg16", str(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a regular file"):
        find_weights("vgg16", str(tmp_path / "pipe"))


def test_i18_a_style_that_can_be_read_once_only_is_refused(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(UserError, match=f"style /dev/fd/{reading} is a pipe"):
            Style.load(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
        os.close(writing)
    os.mkfifo(tmp_path / "fifo.jpg")
    with pytest.raises(UserError, match="is a pipe"):
        Style.load(str(tmp_path / "fifo.jpg"))
    with pytest.raises(UserError, match="is a device, not a file"):
        Style.load("/dev/zero")

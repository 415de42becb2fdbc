from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import pytest
from fsspec import AbstractFileSystem, register_implementation

from tinystyle.data import addresses, storage
from tinystyle.errors import UserError


@pytest.fixture
def memory() -> str:
    """A URI of its own in the memory of this process."""
    return f"memory://{uuid.uuid4().hex}"


class Flaky(AbstractFileSystem):
    """flaky://: fails so many times before it works; counts the calls."""

    protocol = "flaky"
    failures = 0
    calls = 0
    error: Exception = ConnectionResetError("the line dropped")

    def cat_file(self, *_: object, **__: object) -> bytes:
        Flaky.calls += 1
        if Flaky.calls <= Flaky.failures:
            raise Flaky.error
        return b"content"


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(addresses, "SCHEMES", {*addresses.SCHEMES, "flaky"})
    monkeypatch.setattr(Flaky, "calls", 0)
    return Flaky


def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError), storage.atomic_path(path) as temporary, temporary.open("w") as file:
        file.writelines(["half of the n", None])
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_nothing_stands_under_the_name_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with storage.atomic_path(path) as temporary:
        temporary.write_text("content")
        assert not path.exists()
        assert temporary.parent == path.parent, "a rename between file systems would copy"
    assert path.read_text() == "content"
    assert [*path.parent.iterdir()] == [path]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / ("n" * 255), b"content")
    assert storage.read_bytes(tmp_path / ("n" * 255)) == b"content"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        storage.write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the file name is the point
        storage.write_bytes(tmp_path / "file" / "below", b"")
    assert caught.value.filename == str(tmp_path / "file" / "below")


def test_check_writable_makes_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    storage.check_writable(tmp_path / "a" / "b")
    assert [*(tmp_path / "a" / "b").iterdir()] == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file cannot be written to"):
        storage.check_writable(tmp_path / "file")


@pytest.mark.parametrize("place", ["local", "file", "memory"])
def test_there_and_back(place: str, tmp_path: Path, memory: str) -> None:
    root = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": memory}[place]
    uri = storage.join(root, "folder", "file")
    assert not storage.exists(uri)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(uri)
    storage.write_bytes(uri, b"first")
    storage.write_bytes(uri, b"second")
    assert storage.exists(uri)
    assert storage.exists(storage.join(root, "folder"))
    assert storage.read_bytes(uri) == b"second"
    storage.copy(uri if place != "memory" else _written(tmp_path / "local", b"third"), storage.join(root, "copy"))
    assert storage.read_bytes(storage.join(root, "copy")) == (b"third" if place == "memory" else b"second")
    storage.copy(storage.join(root, "copy"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == storage.read_bytes(storage.join(root, "copy"))
    storage.remove(uri)
    storage.remove(uri)
    assert not storage.exists(uri)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_failed_copy_leaves_nothing(tmp_path: Path, memory: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.copy(storage.join(memory, "none"), tmp_path / "out" / "file")
    assert [*(tmp_path / "out").iterdir()] == []


@pytest.mark.parametrize(
    ("uri", "joined"),
    [
        ("/a/b", "/a/b/x/y"),
        ("/a/b/", "/a/b/x/y"),
        ("/", "/x/y"),
        (".", "./x/y"),
        ("s3://bucket/a//", "s3://bucket/a/x/y"),
        ("memory://", "memory://x/y"),
        (Path("a"), "a/x/y"),
    ],
)
def test_join(uri: str | Path, joined: str) -> None:
    assert storage.join(uri, "x", "y") == joined


def test_what_is_remote() -> None:
    assert [
        uri for uri in ("/a", "a", "file:///a", "s3://b/a", "https://b/a", "memory://a") if storage.is_remote(uri)
    ] == [
        "s3://b/a",
        "https://b/a",
        "memory://a",
    ]


def test_a_fault_that_passes_is_not_seen(flaky: type[Flaky], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flaky, "failures", 2)
    assert storage.read_bytes("flaky://file") == b"content"
    assert flaky.calls == 3


@pytest.mark.parametrize(
    ("error", "calls", "message"),
    [
        (RuntimeError("of a backend's own kind"), 4, "RuntimeError: of a backend's own kind"),
        (PermissionError(errno.EACCES, "not yours"), 1, "not yours"),
        (FileNotFoundError("whatever"), 1, "no such file"),
        (NotImplementedError(), 1, "can be read only"),
    ],
)
def test_a_fault_that_stays_is_an_os_error_that_names_the_file(
    flaky: type[Flaky], monkeypatch: pytest.MonkeyPatch, error: Exception, calls: int, message: str
) -> None:
    monkeypatch.setattr(flaky, "failures", 99)
    monkeypatch.setattr(flaky, "error", error)
    with pytest.raises(OSError, match=message) as caught:
        storage.read_bytes("flaky://file")
    assert caught.value.filename == "flaky://file"
    assert isinstance(caught.value, type(error)) or not isinstance(error, PermissionError | FileNotFoundError)
    assert flaky.calls == calls


def test_an_unknown_kind_of_address_is_a_value_error_that_names_it() -> None:
    for function in (storage.exists, storage.read_bytes, storage.remove):
        with pytest.raises(UserError, match="none://file: this kind of address is not read; give a path, s3://"):
            function("none://file")


def test_a_home_that_nobody_has_is_a_name_like_any_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    storage.write_bytes("~/file", b"home")
    assert (tmp_path / "file").read_bytes() == b"home"
    assert not storage.exists("~nobody-of-this-name/file")

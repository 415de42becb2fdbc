"""Which texts are paths of this machine, and which path that is; what takes a path takes no address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Run
from tinystyle import api
from tinystyle.data import addresses, storage
from tinystyle.data.permission import ALLOW, Permission
from tinystyle.errors import UserError


@pytest.mark.parametrize(
    "form",
    ["{uri}", "{tail}", "file://localhost{tail}", "FILE://{tail}", "file:{tail}", "File://LOCALHOST{tail}", "{path}", "{path}/"],
)  # fmt: skip
def test_i15_a_file_uri_is_decoded(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "my photos #1 100% a?b"
    folder.mkdir()
    (folder / "a.txt").write_text("here")
    tail = folder.as_uri().removeprefix("file://")
    uri = form.format(uri=folder.as_uri(), tail=f"file://{tail}" if form == "{tail}" else tail, path=folder)
    assert not storage.is_remote(uri)
    assert storage.local_path(uri) == folder
    assert storage.exists(uri)
    assert storage.read_bytes(storage.join(uri, "a.txt")) == b"here"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file://server/share", "not a file of this machine"), ("file://", "not a file of this machine"),
        ("file:///a%00b", "control characters"), ("a\0b", "control characters"), ("", "is empty"),
        ("s3://b/x", "is an address"), ("s3:/b/x", "one slash; write s3://b/x"), ("S3:/b/x", "one slash; write s3://b/x"),
        ("https:/h/x", "one slash"), ("C:\\photos", "path of Windows"), ("\\\\server\\x", "path of Windows"),
    ],
)  # fmt: skip
def test_what_is_no_path_of_this_machine(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        storage.local_path(text)


def test_i14_a_tilde_is_the_home_folder_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert storage.local_path("~/run") == addresses.local_only("~/run", "`out`") == tmp_path / "run"
    assert storage.local_path("~root/x") == Path("~root").expanduser() / "x"
    for kept in ("~nobody-of-this-name/x", "./~", "a/~/b", "a:b", "file.txt~"):
        assert storage.local_path(kept) == Path(kept)
    monkeypatch.setattr("posixpath.expanduser", lambda path: path)  # neither HOME nor an account
    with pytest.raises(UserError, match="set HOME"):
        storage.local_path("~/run")


def test_a_path_in_disguise_is_not_open_to_callers_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ALLOW, f"file:{tmp_path}/open")
    given = Permission.given()
    assert given.path(f"file://localhost{tmp_path}/open/a%20b.jpg")
    for disguised in ("/open/%2e%2e/secret", "/open/../secret", "/%6fpen/%2E%2E/x"):
        assert not given.path(f"FILE://{tmp_path}{disguised}"), disguised


ADDRESSES = ("s3://bucket/run", "S3://b/x", "https://h/x", "s3:/b/x", "gs://b/x", "memory://x")
LINES = {
    "train --style builtin:wave --photos {photos} --out {address}": "--out",
    "frontier --style builtin:wave --photos {photos} --out {address}": "--out",
    "export model.safetensors --format mlmodel --out {address}/a.mlmodel": "--out",
    "stylize model.safetensors {photos} --out {address}": "--out",
    "swift a.mlmodel --out {address}/A.swift": "--out",
    "swift {address}": "FILE",
    "verify {address} --against model.safetensors --photos {photos}": "FILE",
    "models fetch wave --out {address}": "--out",
    "publish wave --version 1 --folder {address}": "--folder",
    "demo --out {address}": "--out",
}


@pytest.mark.parametrize("address", ADDRESSES[:2] + ADDRESSES[3:4])
@pytest.mark.parametrize("line", LINES)
def test_i1_a_local_folder_is_not_an_address(
    line: str, address: str, run: Run, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, error = run(*line.format(photos=photo_folder, address=address).split())
    assert (code, output) == (2, "")
    assert error.startswith(f"Error: {LINES[line]} {address}")
    assert "is an address; give a path on this machine" in error
    assert ("--checkpoints takes s3://" in error) == line.startswith("train")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("address", ADDRESSES)
def test_i1_nor_is_it_one_in_python(address: str, photo_folder: Path) -> None:
    for call in (
        lambda: api.train(style="builtin:wave", photos=str(photo_folder), out=address),
        lambda: api.train(style="builtin:wave", photos=str(photo_folder), out=Path(address)),
        lambda: api.verify(address, against="pretrained:starry-night", photos=str(photo_folder)),
        lambda: api.load("pretrained:starry-night").export(f"{address}/a.mlmodel"),
    ):
        with pytest.raises(UserError, match="is an address; give a path on this machine"):
            call()


@pytest.mark.parametrize("destination", ["s3:/coco/x", "S3://coco/x", "gs://b/p", "hf://m", "s3://", "file://server/x"])
def test_i1_a_destination_that_is_neither_is_refused(
    destination: str, run: Run, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = run("ingest", photo_folder, destination)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(f"Error: {destination}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", ["ingest photos memory://x", "train --checkpoints memory://x", "train --out=memory://x"]
)
def test_what_ends_with_the_command_is_no_place(line: str, run: Run) -> None:
    code, _, error = run(*line.split())
    assert (code, error.count("\n")) == (2, 1)
    assert "memory://x: is gone when the command ends" in error


@pytest.mark.parametrize("address", ["gs://bucket/p", "az://c/p", "hf://datasets/x"])
def test_c9k_other_stores_are_refused_by_what_is_read(address: str, run: Run, tmp_path: Path) -> None:
    code, _, error = run("ingest", address, tmp_path / "out")
    assert code == 2
    assert error == f"Error: {address}: this kind of address is not read; give a path, s3://, http:// or https://\n"

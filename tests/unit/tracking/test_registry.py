"""The registry's pieces without a server: archives, refusals before any contact, servers that are not there."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.conftest import Run
from tinystyle.coreml.package import content_sha256
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.release.bundle import Bundle, CoreMLFile, check_name
from tinystyle.release.package_zip import unzip_package, zip_package
from tinystyle.tracking.registry import log_model
from tinystyle.tracking.system_metrics import SystemMetrics


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "mosaic.mlpackage"
    (folder / "Data" / "weights").mkdir(parents=True)
    (folder / "Manifest.json").write_text("{}")
    (folder / "Data" / "weights" / "weight.bin").write_bytes(bytes(range(256)))
    return folder


def test_a_package_comes_back_from_its_zip(package: Path, tmp_path: Path) -> None:
    archive = zip_package(package, tmp_path / "mosaic.mlpackage.zip")
    unpacked = unzip_package(archive, tmp_path / "out")
    assert unpacked == tmp_path / "out" / "mosaic.mlpackage"
    assert content_sha256(unpacked) == content_sha256(package)


def test_the_zip_depends_on_nothing_but_the_content(package: Path, tmp_path: Path) -> None:
    first = zip_package(package, tmp_path / "first.zip").read_bytes()
    weights = package / "Data" / "weights" / "weight.bin"
    weights.chmod(0o600)
    weights.touch()
    again = tmp_path / "elsewhere" / package.name
    again.mkdir(parents=True)
    for path in sorted(package.rglob("*"), reverse=True):  # in another order
        if path.is_file():
            (again / path.relative_to(package)).parent.mkdir(parents=True, exist_ok=True)
            (again / path.relative_to(package)).write_bytes(path.read_bytes())
    assert zip_package(again, tmp_path / "second.zip").read_bytes() == first
    assert hashlib.sha256(first).hexdigest() == "489e924575526f1dc5ca9413cbcdf554ba7adc181f5fafb4d0ff97ee7f38ae6c"


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "members",
    {
        "parent": [member("a.mlpackage/../../outside")],
        "absolute": [member("/a.mlpackage/outside")],
        "beside": [member("a.mlpackage/x"), member("outside")],
        "other package": [member("b.mlpackage/outside")],
        "backslash": [member("a.mlpackage/..\\..\\outside")],
        "link": [member("a.mlpackage/outside", stat.S_IFLNK | 0o777)],
        "the package as a file": [member("a.mlpackage")],
        "twice": [member("a.mlpackage/x"), member("a.mlpackage/x")],
        "a file as a folder": [member("a.mlpackage/x"), member("a.mlpackage/x/y")],
        "nothing": [],
    }.items(),
    ids=lambda pair: pair[0],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_anything_else_is_refused(members: tuple[str, list[zipfile.ZipInfo]], tmp_path: Path) -> None:
    archive, out = tmp_path / "a.mlpackage.zip", tmp_path / "below" / "out"
    with zipfile.ZipFile(archive, "w") as file:
        for info in members[1]:
            file.writestr(info, "../../../etc/passwd")
    with pytest.raises(ValueError, match=r"a\.mlpackage\.zip (holds|is)"):
        unzip_package(archive, out)
    assert not [path for path in tmp_path.rglob("*") if path.name == "outside"]


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    archive, zeros_member = tmp_path / "a.mlpackage.zip", member("a.mlpackage/zeros")
    zeros_member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(archive, "w") as file, file.open(zeros_member, "w", force_zip64=True) as zeros:
        for _ in range(257):
            zeros.write(bytes(1 << 20))
    assert archive.stat().st_size < 3 << 20
    with pytest.raises(ValueError, match="over 256 MB"):
        unzip_package(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_zip_is_refused(package: Path, tmp_path: Path) -> None:
    archive = zip_package(package, tmp_path / "mosaic.mlpackage.zip")
    data = bytearray(archive.read_bytes())
    data[data.index(bytes(range(256)))] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ValueError, match="damaged or no zip: Bad CRC"):
        unzip_package(archive, tmp_path / "out")


@pytest.mark.parametrize("name", ["starry-night", "a", "7" * 60])
def test_names_that_can_be_registered(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "Starry", "starry_night", "a/b", "a' OR name = 'b", "7" * 61, "a\n"])
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(ValueError, match="use up to 60 of a-z, 0-9 and -"):
        check_name(name)


@pytest.fixture
def model(tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished model's folder, and no server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    folder = tmp_path / "model"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    (folder / "coreml").mkdir()
    package.rename(folder / "coreml" / package.name)
    archive = zip_package(folder / "coreml" / package.name, tmp_path / f"{package.name}.zip")
    Bundle(folder).write_entries([entry(archive, "mlpackage")])
    return folder


def entry(file: Path, format: str) -> CoreMLFile:
    return CoreMLFile(
        name=file.name, format=format, bits=8, bytes=file.stat().st_size, sha256=storage.sha256(file), minimum_ios=16,
        sizes=ImageSizes.parse("64x64"), input="image", output="stylized", psnr=50.0,
    )  # fmt: skip


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model" / "model.safetensors").unlink(), "holds no model/model.safetensors"),
        (lambda folder: (folder / "coreml" / "files.json").unlink(), "coreml/files.json cannot be read"),
        (write("coreml/files.json", "["), "files.json is damaged"),
        (write("coreml/files.json", "[]"), "files.json names no Core ML file"),
        (
            lambda folder: shutil.rmtree(folder / "coreml" / "mosaic.mlpackage"),
            "names mosaic.mlpackage.zip, which is not",
        ),
        (write("coreml/mosaic.mlpackage/Manifest.json", "[]"), "mosaic.mlpackage.zip is not what files.json says"),
        (write("evaluation.json", "{}"), "evaluation.json is damaged"),
    ],
)
def test_what_is_no_finished_model_is_refused_before_the_server_is_asked(
    model: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(model)
    with pytest.raises(ValueError, match=sentence):
        log_model("0" * 32, model)


def test_a_finished_model_is_refused_only_by_the_server(model: Path) -> None:
    with pytest.raises(UserError, match=r"server at http://127\.0\.0\.1:1 cannot be reached \(Connection refused"):
        log_model("0" * 32, model)


LINES = ("models", "models show mosaic", "models fetch mosaic --out new", "promote mosaic 1")


@pytest.mark.parametrize("line", LINES)
def test_no_server_is_one_sentence(
    line: str, run: Run, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@127.0.0.1:{free_port}")
    code, output, error = run(*line.split())
    assert (code, output) == (2, "")
    assert error == (
        f"Error: the MLflow server at http://127.0.0.1:{free_port} cannot be reached (Connection refused); "
        "start it, or set MLFLOW_TRACKING_URI\n"
    )
    assert not any(tmp_path.iterdir())


def test_a_server_that_never_answers_is_one_sentence_within_seconds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        code, _, error = run("models")
        assert time.monotonic() - began < 10
    assert code == 2
    assert re.search(r"cannot be reached \(timed out\)", error)


def test_no_store_in_this_folder_is_said_and_none_is_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    code, _, error = run("models")
    assert code == 2
    assert (
        error
        == "Error: there is no MLflow store at sqlite:///mlflow.db; set MLFLOW_TRACKING_URI to the server's address\n"
    )
    assert not any(tmp_path.iterdir())


def test_system_metrics_are_percentages_and_megabytes_of_this_machine() -> None:
    gauges = SystemMetrics()
    assert gauges.due() == {}, "nothing to average over yet"
    values = gauges.read()
    assert all(name.startswith("system/") for name in values)
    assert all(0 <= value <= 100 for name, value in values.items() if name.endswith("_percentage"))
    assert 10 < values["system/process_memory_megabytes"] < values["system/system_memory_usage_megabytes"]
    assert gauges.due() == {}, "ten seconds have not passed"


def test_a_machine_without_gauges_has_no_system_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def broken() -> float:
        raise OSError("no /proc here")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    assert SystemMetrics().read() == {}

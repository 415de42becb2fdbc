"""Fixtures of all tests: synthetic photographs, a dataset of them, one trained micro-network, and the project's shared data."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Run, runner
from tests.support.decoding import DecodeHere
from tests.support.photos import synthetic_photo
from tests.support.places import SHARED

_THREADS = pytest.MonkeyPatch()


def pytest_configure() -> None:
    """Several test processes share the cores: threads that wait for each other would cost more than they bring."""
    if "OMP_NUM_THREADS" not in os.environ:
        _THREADS.setenv("OMP_NUM_THREADS", "1")  # before any test imports torch


def pytest_unconfigure() -> None:
    _THREADS.undo()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache or MLflow store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYSTYLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell starts what it puts in the background with Ctrl-C ignored, and the processes of tests would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`tinystyle ARGUMENTS` in this process: (exit code, stdout, stderr)."""
    return runner(capsys, monkeypatch)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared photographs, paintings and weights; skips where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared photographs and weights are not here")
    return SHARED


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 synthetic photos as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(24):
        synthetic_photo(i).save(folder / f"photo-{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def dataset(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic photos as a shard dataset, the first two held out; made without processes."""
    from tinystyle.data.ingest import ingest

    folder = tmp_path_factory.mktemp("dataset") / "shards"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tinystyle.data.ingest.DecodePool", DecodeHere)
        ingest(str(photo_folder), str(folder), size=64, held_out=["photo-00.png", "photo-01.png"], workers=1)
    return folder


@pytest.fixture(scope="session")
def micro_run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a completed micro-run, trained in this process."""
    from tests.support.runs import micro_config
    from tinystyle.training.launch import prepare
    from tinystyle.training.runner import fit

    folder = tmp_path_factory.mktemp("runs") / "micro"
    prepare(micro_config(dataset, steps=20), folder, resume=True)
    assert fit(folder, show_progress=False).state == "completed"
    return folder


@pytest.fixture
def unfinished(micro_run: Path, tmp_path: Path) -> Path:
    """A run as if it had been killed after its last checkpoint, at its last step."""
    from tinystyle.training.record import RunRecord

    folder = shutil.copytree(micro_run, tmp_path / "run")
    (folder / "model.safetensors").unlink()
    RunRecord.read(folder).update(folder, state="running")
    return folder


@pytest.fixture(scope="session")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The style mosaic, assembled; not to be changed."""
    from tests.support.assembled import assembled_folder

    return assembled_folder(tmp_path_factory.mktemp("assembled") / "first", 1)


@pytest.fixture(scope="session")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same style of another network, not to be changed."""
    from tests.support.assembled import assembled_folder

    return assembled_folder(tmp_path_factory.mktemp("assembled") / "second", 3)


@pytest.fixture
def no_object_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """An environment that knows no S3, whatever the machine or other tests have set."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    yield monkeypatch
    S3FileSystem.clear_instance_cache()

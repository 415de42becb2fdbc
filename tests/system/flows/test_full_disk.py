"""A worker whose disk is full: one sentence that names the file, what stands is whole, and there is a way on."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows import train_style as module
from flows.train_style import train_style
from tests.support.disks import small_disk
from tests.support.files import contents
from tests.support.flows import QUIET, Platform
from tests.support.servers import ObjectStore
from tinystyle.data import storage
from tinystyle.data.permission import ALLOW
from tinystyle.tracking import registry

pytestmark = [*QUIET, pytest.mark.platform]
PHOTOS = "s3://coco/full-disk"
BALLAST = 4_000_000


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The worker's cache and its folder for temporary files, on a disk of 4 MB."""
    with small_disk(tmp_path / "disk", str(BALLAST)) as folder:
        (folder / "tmp").mkdir()
        monkeypatch.setenv("TINYSTYLE_CACHE", str(folder / "cache"))
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        yield folder


def leave(disk: Path, room: int) -> None:
    """Fill the disk so that so many bytes are free."""
    (disk / "ballast").unlink(missing_ok=True)
    free = shutil.disk_usage(disk).free
    (disk / "ballast").write_bytes(bytes(max(0, free - room)))


def test_a_training_on_a_full_disk(
    platform: Platform,
    object_store: ObjectStore,  # noqa: ARG001
    dataset: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for file in dataset.iterdir():
        storage.copy(file, f"{PHOTOS}/{file.name}")
    monkeypatch.setattr(module.sync_dataset, "retry_delay_seconds", 0)
    parameters = {**platform.parameters, "style": "builtin:wave", "name": "full-disk", "photos": PHOTOS}
    parameters |= {"files": ["mlmodel-16"], "checkpoint_every": 4, "steps": 8}

    def run() -> Any:
        return train_style(**parameters, return_state=True)

    leave(disk, 8192)  # less than the photos take
    state = run()
    assert state.is_failed()
    (cached,) = (disk / "cache" / "datasets").iterdir()
    assert state.message == f"{cached}/shard-00000.arrow: no space left on device"
    assert contents(cached) == {}

    leave(disk, sum(file.stat().st_size for file in dataset.iterdir()) + 80_000)  # less than a training writes
    with monkeypatch.context() as deployed:
        deployed.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of a deployment")
        deployed.setenv(ALLOW, f"file:{platform.folder}")
        state = run()
    assert state.is_crashed(), "which the keeper starts again"
    assert re.fullmatch(rf"{disk}/tmp/tinystyle-\w+/\S+: no space left on device", state.message)
    assert contents(cached) == contents(dataset)
    assert [path for path in (disk / "tmp").iterdir() if path.name.startswith(("tinystyle-", "torchelastic_"))] == []
    assert not registry.versions("full-disk")

    (disk / "ballast").unlink()
    state = run()
    assert state.is_completed(), state.message
    assert contents(cached) == contents(dataset)

"""What keeping house removes, on a real MLflow store and places of both kinds: never what is published or champion."""

from __future__ import annotations

import gzip
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from flows.retention import NothingPublishedError, Removal, old_checkpoints, superseded_versions, unused_datasets
from infra.logs import oversized, rotate
from tests.support.mlflow_store import Store
from tests.support.servers import ObjectStore
from tinystyle.data import cache, storage
from tinystyle.errors import UserError
from tinystyle.release.publishing import publish_folder, read_index
from tinystyle.tracking import registry
from tinystyle.tracking.run import Tracker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DAY = 86_400
STYLES = ("wave", "mosaic", "sky")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An MLflow store on SQLite, with nothing in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    Tracker("Default", "makes the store", None, {}, {}, lambda _: None).finish("FINISHED")
    return Store({"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}, tmp_path)


def add_version(style: str, key: str) -> registry.ModelVersion:
    """Register a version of a run that has no files."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run = client.create_run("0").info
    client.set_terminated(run.run_id)
    if not client.search_registered_models(f"name = '{style}'"):
        client.create_registered_model(style)
    client.create_model_version(style, f"{run.artifact_uri}/model", run.run_id, tags={"key": key})
    return registry.versions(style)[0]


def age(models: Store, version: registry.ModelVersion, days: int) -> None:
    """Make a version older than it is."""
    with sqlite3.connect(models.folder / "mlflow.db") as database:
        moment = int((time.time() - days * DAY) * 1000)
        where = (moment, version.style, version.version)
        database.execute("UPDATE model_versions SET creation_time = ? WHERE name = ? AND version = ?", where)
    database.close()


def checkpoint(root: Path, key: str, days: int) -> None:
    """A run's folder, last written so many days ago."""
    for name in ("last.ckpt", "best.ckpt", "run.json"):
        path = root / key / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (time.time() - days * DAY,) * 2)


def names(removals: list[Removal]) -> list[str]:
    return [removal.name for removal in removals]


def identities(versions: list[registry.ModelVersion]) -> set[tuple[str, int]]:
    return {(version.style, version.version) for version in versions}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_what_is_published_or_champion_survives_every_state(
    seed: int, models: Store, tmp_path: Path, assembled: Path
) -> None:
    random, root, checkpoints = Random(seed), str(tmp_path / "published"), tmp_path / "checkpoints"
    publish_folder(assembled, style="other", version=1, root=root)
    for style in STYLES:
        for number in range(1, random.randint(1, 6) + 1):
            key = f"{random.getrandbits(64):016x}"
            version = add_version(style, key)
            assert version.version == number
            checkpoint(checkpoints, key, random.choice([0, 20, 200]))
            if random.random() < 0.3:
                publish_folder(assembled, style=style, version=number, root=root)
            if random.random() < 0.3:
                registry.assign(style, random.choice([registry.CHAMPION, registry.CANDIDATE, "mine"]), number, "a test")
    for version in registry.versions():
        age(models, version, random.choice([0, 60, 100, 400]))
    checkpoint(checkpoints, "f" * 16, 400)  # of a run that nobody registered

    before = registry.versions()
    published = {(style.name, each.version) for style in read_index(root).styles for each in style.versions}
    sacred = {(v.style, v.version) for v in before if v.aliases or "decision.champion" in v.tags} | published
    keys = {v.tags["key"] for v in before if (v.style, v.version) in sacred} | {"f" * 16}

    planned_versions, planned_checkpoints = superseded_versions(root, 90), old_checkpoints(str(checkpoints), root, 14)
    assert planned_versions == superseded_versions(root, 90), "a list changes nothing"
    assert all(removal.remove() for removal in [*planned_checkpoints, *planned_versions])

    after = registry.versions()
    gone = identities(before) - identities(after)
    assert {f"{style} {version}" for style, version in gone} == set(names(planned_versions))
    assert not gone & sacred
    for style in STYLES:
        assert max(v.version for v in after if v.style == style) == max(v.version for v in before if v.style == style)
    old = {(v.style, v.version) for v in before if v.created < datetime.now(UTC) - timedelta(days=90)}
    newest = {(style, max(v.version for v in before if v.style == style)) for style in STYLES}
    assert gone == old - sacred - newest, "and whatever may go goes"

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    active = {run.info.run_id for run in client.search_runs(["0"], run_view_type=ViewType.ACTIVE_ONLY)}
    assert {v.run_id for v in after} <= active
    assert not {v.run_id for v in before if (v.style, v.version) in gone} & active

    left = {folder.name for folder in checkpoints.iterdir()}
    assert {Path(name).name for name in names(planned_checkpoints)} == {v.tags["key"] for v in before} - left
    assert keys <= left
    assert all((checkpoints / key / "last.ckpt").is_file() for key in left)
    assert not superseded_versions(root, 90)
    assert not old_checkpoints(str(checkpoints), root, 14)


def test_what_became_champion_meanwhile_stays(models: Store, tmp_path: Path, assembled: Path) -> None:
    root = str(tmp_path / "published")
    publish_folder(assembled, style="other", version=1, root=root)
    for key in "abcd":
        age(models, add_version("wave", key), 100)
    planned = superseded_versions(root, 90)
    assert names(planned) == ["wave 1", "wave 2", "wave 3"]
    registry.assign("wave", registry.CHAMPION, 1, "just now")
    publish_folder(assembled, style="wave", version=2, root=root)
    assert [removal.remove() for removal in planned] == [False, False, True]
    assert {version.version for version in registry.versions("wave")} == {1, 2, 4}
    with pytest.raises(UserError, match="wave 1 is champion; it is not removed"):
        registry.remove(registry.find("wave", 1))


@pytest.mark.usefixtures("models")
def test_a_run_of_two_versions_is_kept() -> None:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    first = add_version("wave", "a")
    client.create_registered_model("sea")
    client.create_model_version("sea", "nowhere", first.run_id)
    registry.remove(first)
    assert not registry.versions("wave")
    assert client.get_run(first.run_id).info.lifecycle_stage == "active"
    registry.remove(registry.find("sea", 1))
    assert client.get_run(first.run_id).info.lifecycle_stage == "deleted"


def test_without_an_index_nothing_is_listed(models: Store, tmp_path: Path) -> None:
    for key in "ab":
        age(models, add_version("wave", key), 100)
    for listing in (superseded_versions, lambda root, days: old_checkpoints(str(tmp_path), root, days)):
        with pytest.raises(NothingPublishedError, match="nothing is published at "):
            listing(str(tmp_path / "elsewhere"), 90)


@pytest.mark.usefixtures("models")
def test_checkpoints_in_s3(tmp_path: Path, assembled: Path, object_store: ObjectStore) -> None:
    root, checkpoints = str(tmp_path / "published"), f"s3://{object_store.bucket}/checkpoints"
    publish_folder(assembled, style="other", version=1, root=root)
    add_version("wave", "a" * 16)
    for key in ("a" * 16, "b" * 16):
        for name in ("last.ckpt", "run.json"):
            storage.write_bytes(f"{checkpoints}/{key}/{name}", b"x" * 1000)
    assert not old_checkpoints(checkpoints, root, 14)
    later = datetime.now(UTC) + timedelta(days=15)
    (removal,) = old_checkpoints(checkpoints, root, 14, later)
    assert (removal.name, removal.bytes) == (f"{checkpoints}/{'a' * 16}", 2000)
    storage.write_bytes(f"{checkpoints}/{'a' * 16}/lease.json", b"{}")
    assert not removal.remove(), "somebody has begun to train it again"
    storage.remove(f"{checkpoints}/{'a' * 16}/lease.json")
    assert removal.remove()
    assert [file.uri for file in storage.find(checkpoints)] == [
        f"{checkpoints}/{'b' * 16}/{name}" for name in ("last.ckpt", "run.json")
    ]
    assert not storage.find(f"s3://{object_store.bucket}/no-such-folder")


def test_datasets_that_nobody_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    for name in ("old", "used", "new"):
        folder = tmp_path / "cache" / "datasets" / name
        folder.mkdir(parents=True)
        (folder / "shard").write_bytes(bytes(500))
        days = 0 if name == "new" else 40
        os.utime(folder, (time.time() - days * DAY,) * 2)
    assert len(unused_datasets(30)) == 2, "also where no process has locked anything yet"
    used = tmp_path / "cache" / "datasets" / "used"
    cache.hold(used)
    os.utime(cache._lock_of(used), (time.time() - 40 * DAY,) * 2)
    (removal,) = unused_datasets(30)
    assert (removal.name, removal.bytes) == (str(tmp_path / "cache" / "datasets" / "old"), 500)
    removal.remove()
    assert {folder.name for folder in used.parent.iterdir()} == {"used", "new"}
    assert not unused_datasets(30)


def test_logs_are_rotated_while_a_server_writes(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    (tmp_path / "small.log").write_text("a line\n")
    with log.open("ab", buffering=0) as writing:
        for generation in range(6):
            writing.write(f"generation {generation}\n".encode() * 100)
            assert oversized(tmp_path, 500) == [log]
            rotate(log, kept=3)
            assert log.stat().st_size == 0
        writing.write(b"goes on\n")
    assert log.read_text() == "goes on\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.log", "store.log", "store.log.1.gz", "store.log.2.gz", "store.log.3.gz",
    ]  # fmt: skip
    newest = [
        gzip.decompress((tmp_path / f"store.log.{number}.gz").read_bytes()).splitlines()[0] for number in (1, 2, 3)
    ]
    assert newest == [b"generation 5", b"generation 4", b"generation 3"]

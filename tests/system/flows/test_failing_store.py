"""The flows against an object store that fails: what passes is not seen in what they make, what stays is one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prefect.tasks import Task
from s3fs import S3FileSystem

from flows import checks, ingest_coco, keep_house, publish, retrain_styles, sweep_styles, train_style
from tests.support.badimages import save_photographs
from tests.support.faulty_proxy import FAULTS, FaultyProxy
from tests.support.flows import QUIET, Platform
from tests.support.runs import micro_config
from tests.support.servers import ObjectStore
from tinystyle.data import remote, storage
from tinystyle.release.publishing import check_published
from tinystyle.tracking import registry
from tinystyle.training.callbacks import Checkpoints
from tinystyle.training.launch import prepare
from tinystyle.training.runner import fit

pytestmark = [*QUIET, pytest.mark.platform]
ROOT = "s3://coco/failing"
STYLE = "starry-sky"  # no other test registers it
RATE, SEED = 0.12, 5


@pytest.fixture
def proxy(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Between this process's clients and the store; passes everything on until told otherwise."""
    proxy = FaultyProxy(object_store.endpoint, seed=SEED, delay=0.2)
    with proxy.running() as address:
        for name in ("AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"):
            monkeypatch.setenv(name, address)
        S3FileSystem.clear_instance_cache()
        yield proxy
    S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[Task[Any, Any]]:
    """All tasks of the flows; they are tried again as often as ever, but at once."""
    modules = (checks, ingest_coco, keep_house, publish, retrain_styles, sweep_styles, train_style)
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Task)]
    for task in found:
        monkeypatch.setattr(task, "retry_delay_seconds", 0)
    return found


def stored(place: str) -> dict[str, bytes]:
    """Everything below a place."""
    return {file.uri.removeprefix(place): storage.read_bytes(file.uri) for file in storage.find(place)}


def ingest(dataset: str) -> Any:
    given = {"size": 64, "partitions": 2, "spread": False}
    return asyncio.run(ingest_coco.ingest_coco(f"{ROOT}/raw", dataset, return_state=True, **given))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ingested(
    platform: Platform,  # noqa: ARG001
    object_store: ObjectStore,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, bytes]:
    """What an undisturbed ingest makes."""
    folder = tmp_path_factory.mktemp("raw") / "photos"
    save_photographs(folder, 24)
    for path in folder.iterdir():
        storage.copy(path, f"{ROOT}/raw/{path.name}")
    state = ingest(f"{ROOT}/calm")
    assert state.is_completed(), state.message
    return stored(f"{ROOT}/calm")


@pytest.fixture(scope="module")
def parameters(platform: Platform, object_store: ObjectStore, dataset: Path) -> dict[str, Any]:  # noqa: ARG001
    """Of train-style, with everything in the store."""
    for file in dataset.iterdir():
        storage.copy(file, f"{ROOT}/dataset/{file.name}")
    given = {"photos": f"{ROOT}/dataset", "checkpoints": f"{ROOT}/checkpoints", "checkpoint_every": 4, "seed": 3}
    return {**platform.parameters, "style": f"builtin:{STYLE}", "files": ["mlmodel-16"], **given}


@pytest.fixture(scope="module")
def trained(parameters: dict[str, Any]) -> registry.ModelVersion:
    """What an undisturbed training registers."""
    state: Any = train_style.train_style(**parameters, return_state=True)
    assert state.is_completed(), state.message
    return registry.find(STYLE, state.result()["version"])


def retrain(parameters: dict[str, Any], folder: Path) -> Any:
    given = {
        name: parameters[name]
        for name in ("photos", "size", "perceptual", "export_size", "steps", "seed", "checkpoint_every")
    }
    entry = {"name": STYLE, "image": f"builtin:{STYLE}"}
    catalog = folder / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"defaults": {**given, "alphas": [0.1]}, "styles": [entry]}))
    checkpoints = parameters["checkpoints"]
    return retrain_styles.retrain_styles(str(catalog), checkpoints=checkpoints, spread=False, return_state=True)


def sweep(parameters: dict[str, Any]) -> Any:
    given = {name: value for name, value in parameters.items() if name not in ("style", "alpha")}
    return sweep_styles.sweep_styles(
        styles=[f"builtin:{STYLE}"], alphas=[0.1], spread=False, return_state=True, **given
    )


def publication(root: str) -> Any:
    return publish.publish(style=STYLE, version="1", root=root, return_state=True)


def house(root: str) -> Any:
    return keep_house.keep_house(root=root, checkpoints=f"{ROOT}/checkpoints", return_state=True)


def test_an_ingest_through_faults_that_pass(ingested: dict[str, bytes], proxy: FaultyProxy) -> None:
    proxy.rate = RATE
    state = ingest(f"{ROOT}/disturbed")
    assert state.is_completed(), state.message
    assert set(proxy.injected) == set(FAULTS)
    proxy.rate = 0
    assert stored(f"{ROOT}/disturbed") == ingested


def test_an_ingest_whose_store_is_started_again(ingested: dict[str, bytes], proxy: FaultyProxy) -> None:
    proxy.away_after, proxy.away_seconds = 30, 5  # while photos are read
    state = ingest(f"{ROOT}/restarted")
    assert state.is_completed(), state.message
    assert stored(f"{ROOT}/restarted") == ingested, "no photo is left out as unreadable"


@pytest.mark.parametrize("requests", [40, 90])
def test_an_ingest_whose_store_goes_away(
    requests: int,
    ingested: dict[str, bytes],
    proxy: FaultyProxy,
    tasks: list[Task[Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "WRITE_ATTEMPTS", 2)
    dataset = f"{ROOT}/away-{requests}"
    with monkeypatch.context() as impatient:
        for task in tasks:
            impatient.setattr(task, "retries", 0)
        proxy.away_after = requests
        state = ingest(dataset)
    assert state.is_failed()
    assert urlsplit(proxy.address).netloc in state.message
    assert "damaged" not in state.message
    assert "\n" not in state.message
    proxy.back()
    assert "/manifest.json" not in stored(dataset)
    state = ingest(dataset)
    assert state.is_completed(), state.message
    assert stored(dataset) == ingested


@pytest.mark.e2e
def test_a_training_through_faults_that_pass(
    parameters: dict[str, Any], trained: registry.ModelVersion, proxy: FaultyProxy, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    proxy.rate = 2 * RATE  # it makes few requests
    checkpoints = f"{ROOT}/disturbed-checkpoints"
    given = {**parameters, "name": "disturbed-sky", "checkpoints": checkpoints}
    state: Any = train_style.train_style(**given, force=True, return_state=True)
    assert state.is_completed(), state.message
    assert sum(proxy.injected.values()) > 3
    proxy.rate = 0
    version = registry.find("disturbed-sky", 1)
    assert version.tags["key"] == trained.tags["key"]
    models = [
        registry.fetch(each, tmp_path / each.style) / "model" / "model.safetensors" for each in (version, trained)
    ]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert storage.exists(f"{checkpoints}/{version.tags['key']}/0001/last.ckpt")


@pytest.mark.e2e
def test_other_flows_through_faults_that_pass(
    parameters: dict[str, Any], trained: registry.ModelVersion, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.rate = RATE
    state = sweep(parameters)
    assert (state.is_completed(), state.message) == (True, "1 of 1 registered")
    state = retrain(parameters, tmp_path)
    assert state.is_completed(), state.message
    assert "1 judged" in state.message
    assert registry.find(STYLE, 1).run_id == trained.run_id, "the same"
    state = publication(f"{ROOT}/models")
    assert state.is_completed(), state.message
    disturbed = house(f"{ROOT}/models")
    assert disturbed.is_completed(), disturbed.message
    assert sum(proxy.injected.values()) > 3
    proxy.rate = 0
    assert check_published(STYLE, f"{ROOT}/models").version == 1
    assert publication(str(tmp_path / "models")).is_completed()
    there, here = stored(f"{ROOT}/models"), stored(str(tmp_path / "models"))
    for files in (there, here):
        del files["/index.json"]  # it has the time
    assert there == here
    assert house(f"{ROOT}/models").result() == disturbed.result()


@pytest.mark.e2e
@pytest.mark.parametrize("flow", ["ingest", "train", "sweep", "retrain", "publish", "keep-house"])
def test_a_store_that_stays_away_is_one_sentence_with_its_address(
    flow: str,
    parameters: dict[str, Any],
    trained: registry.ModelVersion,
    proxy: FaultyProxy,
    tasks: list[Task[Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for task in tasks:
        monkeypatch.setattr(task, "retries", 0)
    proxy.away.set()
    starts: dict[str, Callable[[], Any]] = {
        "ingest": lambda: ingest(f"{ROOT}/never"),
        "train": lambda: train_style.train_style(**parameters, return_state=True),
        "sweep": lambda: sweep(parameters),
        "retrain": lambda: retrain(parameters, tmp_path),
        "publish": lambda: publication(f"{ROOT}/never"),
        "keep-house": lambda: house(f"{ROOT}/never"),
    }
    state = starts[flow]()
    assert state.is_failed()
    assert urlsplit(proxy.address).netloc in state.message
    assert "\n" not in state.message
    proxy.back()
    assert stored(f"{ROOT}/never") == {}
    assert registry.versions(STYLE)[0].run_id == trained.run_id


def test_a_training_goes_on_while_its_store_is_away(
    dataset: Path, proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = tmp_path / "reference"
    prepare(micro_config(dataset), reference, resume=True)
    fit(reference, show_progress=False)
    monkeypatch.setattr(remote, "WRITE_ATTEMPTS", 1)
    saves: list[bool] = []

    def save(self: Checkpoints, *arguments: Any) -> bool:
        proxy.away.set() if len(saves) == 1 else proxy.back()
        saves.append(real(self, *arguments))
        return saves[-1]

    real = Checkpoints._save
    monkeypatch.setattr(Checkpoints, "_save", save)
    place = f"{ROOT}/goes-on"
    prepare(micro_config(dataset, checkpoints=place), tmp_path / "run", resume=True)
    assert fit(tmp_path / "run", show_progress=False).state == "completed"
    assert saves == [True, False, True]
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (reference / "model.safetensors").read_bytes()
    assert storage.exists(f"{place}/last.ckpt")
    told = [message for message in caplog.messages if "does not answer; training continues" in message]
    assert len(told) == 2, "the checkpoint, and the record beside it"

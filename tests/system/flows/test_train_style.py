"""train-style: what is refused before anything is spent; one run to its registered version; one stopped and resumed."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from flows.accelerator import LOOK_SECONDS, hold_gpus
from flows.cost import PRICE
from flows.results import RESULT
from flows.train_style import train_style
from tests.support.flows import QUIET, Platform
from tinystyle.model_file import load_model
from tinystyle.tracking import registry

pytestmark = [pytest.mark.platform, *QUIET]


def run(platform: Platform, **changes: Any) -> Any:
    return train_style(**{"style": "builtin:mosaic", **platform.parameters, **changes}, return_state=True)


def client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"style": "missing.jpg"},
            "style missing.jpg cannot be read (no such file); give an image file or URI, or one of",
        ),
        ({"alpha": 9}, "`alpha` 9.0: input should be less than or equal to 4"),
        ({"alpha": 0.01}, "alpha"),
        ({"architecture": "vgg"}, "`architecture` vgg: unknown architecture 'vgg'; choose one of"),
        ({"name": "Starry Night"}, "`name` Starry Night: string should match pattern"),
        ({"files": ["mlmodel-7"]}, "`files` ['mlmodel-7']: there is no file 'mlmodel-7' to export; choose from"),
        ({"export_size": "65x48"}, "the size 65x48 is not possible"),
        ({"export_size": "large"}, "`export_size` large: `size` large: give WIDTHxHEIGHT"),
        ({"photos": "nowhere"}, "nowhere is not a shard dataset"),
        ({"size": 128}, "their short side has 64 pixels, less than the `size` 128"),
        ({"perceptual_weights": "nowhere.pth"}, "no weights for efficientnet-lite0"),
        ({"checkpoints": "/proc/here"}, "/proc/here"),
    ],
)
def test_what_is_wrong_is_the_state_of_the_run_in_one_sentence(
    platform: Platform, changes: dict[str, Any], sentence: str
) -> None:
    state = run(platform, **changes)
    assert state.is_failed()
    assert sentence in state.message
    assert "\n" not in state.message
    assert "--" not in state.message


def test_a_bug_crashes_the_run_with_its_traceback(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unpack(_: object) -> None:
        first, second = (1, 2, 3)  # type: ignore[misc]
        raise AssertionError((first, second))

    monkeypatch.setattr("tinystyle.nets.check_architecture", unpack)
    state = run(platform)
    assert state.is_failed()
    with pytest.raises(ValueError, match="too many values to unpack"):
        state.result()
    assert "in unpack" in caplog.text


def test_a_registry_that_is_not_there(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{platform.folder}/absent.db")
    checkpoints = platform.folder / "never"
    state = run(platform, checkpoints=str(checkpoints))
    assert state.is_failed()
    assert "there is no MLflow store" in state.message
    assert not list(checkpoints.iterdir()), "nothing was trained"


def artifacts(flow_run_id: Any) -> dict[str, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as prefect:
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        return {found.key or found.type: found.data for found in prefect.read_artifacts(artifact_filter=wanted)}


def test_a_run_registers_a_verified_version_and_the_next_skips_it(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRICE, "3600 EUR")
    parent = client().create_run("0").info.run_id
    state = run(platform, name="one-run", parent_run=parent)
    assert state.is_completed(), state.message
    result = state.result()
    version = registry.find("one-run", result["version"])
    assert (result["style"], result["run_id"], result["skipped"]) == ("one-run", version.run_id, False)

    tags = version.tags
    assert (tags["architecture"], tags["alpha"], tags["bits"], tags["key"]) == ("small", "0.1", "8", result["key"])
    assert float(tags["psnr"]) >= 40
    assert float(tags["total"]) > 0
    folder = registry.fetch(version, tmp_path / "fetched")
    (file,) = json.loads((folder / "exports" / "files.json").read_text())
    assert (file["name"], file["bytes"]) == ("one-run-8.mlmodel", int(tags["bytes"]))
    model = load_model(folder / "model" / "model.safetensors")
    assert (model.lineage["key"], f"{sum(p.numel() for p in model.network.parameters())}") == (
        tags["key"],
        tags["weights"],
    )

    logged = client().get_run(version.run_id)
    assert logged.data.tags["mlflow.parentRunId"] == parent
    assert logged.data.params["network.alpha"] == "0.1"
    assert [point.step for point in client().get_metric_history(version.run_id, "train/total")] == [10, 12]
    assert client().get_experiment(logged.info.experiment_id).name == "one-run"
    assert {"evaluation.json", "exports", "model", "images"} <= {
        f.path for f in client().list_artifacts(version.run_id)
    }

    shown = artifacts(state.state_details.flow_run_id)
    assert shown["progress"] == 100
    page = shown["trained-one-run"]
    assert "| color match |" in page
    assert f"| checkpoints | `{platform.parameters['checkpoints']}/{result['key']}/" in page
    assert f"| once published | `s3://models/one-run/{version.version}` |" in page
    (price,) = re.findall(
        r"\| cost of the training \| \d+ CPU core seconds \(.*\), (\d+\.\d+) EUR at 3600 EUR an hour \|", page
    )
    assert float(price) > 0
    (picture,) = re.findall(r"!\[photos and stylized photos\]\(data:image/jpeg;base64,([^)]+)\)", page)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"
    assert json.loads(shown[RESULT]) == [result]

    again = run(platform, name="one-run")
    assert again.is_completed()
    assert "already registered" in again.message
    assert again.result() == {**result, "skipped": True}
    assert len(registry.versions("one-run")) == 1


def test_two_devices_do_the_same_as_one(platform: Platform) -> None:
    # A low rate, because at the full one rounding errors grow a hundredfold within ten steps (ARCHITECTURE.md).
    given = {"learning_rate": 1e-5, "steps": 20, "force": True, "precision": "32"}
    keys, losses = [], []
    for devices in (1, 2):
        state = run(
            platform,
            name=f"devices-{devices}",
            devices=devices,
            checkpoints=str(platform.folder / f"on-{devices}"),
            **given,
        )
        assert state.is_completed(), state.message
        result = state.result()
        keys.append(result["key"])
        history = client().get_metric_history(result["run_id"], "train/total")
        losses.append([point.value for point in history])
    assert keys[0] == keys[1]
    assert len(losses[0]) == 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_sigterm_stops_in_order_and_the_next_run_goes_on(platform: Platform) -> None:
    checkpoints = platform.folder / "stopped"
    changes = {"style": "builtin:wave", "steps": 150, "name": "stopped", "checkpoints": str(checkpoints)}
    parameters = {**platform.parameters, **changes}
    script = f"from flows.train_style import train_style; print(train_style(**{parameters!r}, return_state=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=platform.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 90
    tracked: list[Any] = []
    while not tracked and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
        experiment = client().get_experiment_by_name("stopped")
        runs = client().search_runs([experiment.experiment_id]) if experiment else []
        tracked = [found for found in runs if "train/total" in found.data.metrics]
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert "training stopped at step" in output, output
    assert "Crashed" in output
    record = json.loads(next(checkpoints.glob("*/0001/run.json")).read_text())
    assert 0 < record["step"] < 150

    state = train_style(**parameters, return_state=True)
    assert state.is_completed(), state.message
    assert state.result()["run_id"] == tracked[0].info.run_id
    history = client().get_metric_history(tracked[0].info.run_id, "train/total")
    assert [point.step for point in history] == sorted({point.step for point in history}), "no step was trained twice"
    assert history[-1].step == 150


@pytest.mark.usefixtures("platform")
def test_runs_share_the_gpus_of_a_machine_and_none_has_another_s() -> None:
    visible = [f"GPU-{uuid4()}" for _ in range(3)]  # the limits are the server's own
    log = logging.getLogger("test")
    entered: dict[str, dict[str, str]] = {}
    leave = {name: threading.Event() for name in ("one", "two", "all")}
    held: dict[str, Future[None]] = {}

    def hold(name: str, count: int) -> None:
        with hold_gpus(count, visible, log) as environment:
            entered[name] = environment
            leave[name].wait(90)

    def wait_for(name: str) -> None:
        deadline = time.monotonic() + 60
        while name not in entered:
            assert time.monotonic() < deadline, entered
            if held[name].done():
                held[name].result()
            time.sleep(0.1)

    def submit(name: str, count: int) -> None:
        # A thread begins without Prefect's settings, and would start a server of its own.
        held[name] = pool.submit(copy_context().run, hold, name, count)

    with ThreadPoolExecutor(3) as pool:
        try:
            for count, name in enumerate(("one", "two"), start=1):
                submit(name, count)
                wait_for(name)
            taken = [gpu for each in entered.values() for gpu in each["CUDA_VISIBLE_DEVICES"].split(",")]
            assert sorted(taken) == sorted(visible)
            submit("all", 3)
            leave["one"].set()
            time.sleep(2 * LOOK_SECONDS)
            assert "all" not in entered
            leave["two"].set()
            wait_for("all")
            assert entered["all"] == {}  # it sees them all anyway
        finally:
            for event in leave.values():
                event.set()


def test_without_gpus_nothing_is_held() -> None:
    with hold_gpus(2, [], logging.getLogger("test")) as environment:
        assert environment == {}

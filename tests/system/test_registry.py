"""The registry, over a real MLflow server with passwords and over a plain SQLite store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

import tinystyle
from tests.support.files import contents
from tests.support.mlflow_store import TAGS, Store, client, finished_run, tracker
from tests.support.photos import synthetic_photo
from tinystyle.errors import UserError
from tinystyle.tracking import registry
from tinystyle.tracking.run import PARENT_RUN

# MLflow's parts warn each other of what is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_a_finished_model_comes_back_whole(store: Store, finished: Path, tmp_path: Path) -> None:
    run_id = finished_run("whole", finished)
    version = registry.register("whole", run_id, TAGS)
    assert (version.style, version.version, version.run_id, version.tags) == ("whole", 1, run_id, TAGS)
    assert abs(version.created.timestamp() - time.time()) < 60
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        registry.fetch(version, out)
        fetched = contents(out)
        for_mlflow = {name for name in fetched if name not in contents(finished)}
        assert for_mlflow >= {"model/MLmodel", "model/input_example.json", "model/requirements.txt"}
        assert all(name.startswith("model/") for name in for_mlflow)
        assert {name: data for name, data in fetched.items() if name not in for_mlflow} == contents(finished)
    uri = client().get_run(run_id).info.artifact_uri
    assert uri.startswith("mlflow-artifacts:" if store.is_server else str(store.folder)), "not the store's own address"


def test_a_version_is_an_mlflow_model_that_stylizes(store: Store, finished: Path, free_port: int) -> None:
    version = registry.register("served", finished_run("served", finished), TAGS)
    registry.assign("served", registry.CHAMPION, version.version, "the first")
    photo = np.array(synthetic_photo(1, 40, 32))
    expected = tinystyle.load(finished / "model" / "model.safetensors").stylize(photo)
    with warnings.catch_warnings():  # about versions of packages
        warnings.simplefilter("ignore")
        model = mlflow.pyfunc.load_model("models:/served@champion")
        assert np.array_equal(model.predict(photo), expected)
    if store.is_server:  # then `mlflow models serve` is the same as for any client
        return
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/served@champion",
        "--env-manager",
        "local",
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # as in an activated environment
    with (store.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(free_port)],
            cwd=store.folder, env={**os.environ, "PATH": path}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        answer = ask(f"http://127.0.0.1:{free_port}/invocations", {"inputs": photo.tolist()}, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert np.array_equal(np.array(answer["predictions"], np.uint8), expected)


def ask(address: str, question: object, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What a server says, as soon as it serves."""
    request = urllib.request.Request(address, json.dumps(question).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it does not serve"
            time.sleep(0.5)


@pytest.mark.usefixtures("store")
def test_the_evaluation_is_a_table_and_logging_again_does_not_double_it(finished: Path) -> None:
    run_id = finished_run("table", finished)
    registry.log_model(run_id, finished)
    experiment = client().get_run(run_id).info.experiment_id
    table = client().load_table(experiment, "evaluation-table.json", run_ids=[run_id])
    assert table.to_dict("records") == [{"name": "identity", "total": 3.0}, {"name": "small 0.1", "total": 1.5}]


@pytest.mark.usefixtures("store")
def test_a_run_has_one_version_however_often_it_is_registered(finished: Path) -> None:
    run_id = finished_run("once", finished)
    first = registry.register("once", run_id, {"bits": "8", "psnr": "40"})
    again = registry.register("once", run_id, {"psnr": "41"})
    assert (again.version, again.tags) == (first.version, {"bits": "8", "psnr": "41"})
    assert len(registry.versions("once")) == 1


def test_registrations_at_once_each_have_a_version(store: Store, finished: Path) -> None:
    runs = [finished_run("at-once", finished) for _ in range(2)]
    program = "import sys; from tinystyle.tracking.registry import register; print(register('at-once', sys.argv[1], {}).version)"
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, run_id],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=store.folder,
        )
        for run_id in (*runs, runs[1])
    ]  # fmt: skip
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended
    of_first, of_second, of_second_again = (int(output) for output, _ in ended)
    assert of_second == of_second_again
    assert {version.version: version.run_id for version in registry.versions("at-once")} == {
        of_first: runs[0],
        of_second: runs[1],
    }


@pytest.mark.usefixtures("store")
def test_only_a_finished_run_with_a_model_is_registered(finished: Path) -> None:
    running = tracker("refused")
    assert running.run_id is not None
    for run_id, sentence in {
        running.run_id: "is running; only a finished run",
        "0" * 32: "knows no run",
        "no id": "knows no run",
    }.items():
        with pytest.raises(UserError, match=sentence):
            registry.register("refused", run_id, {})
    running.finish("FINISHED")
    with pytest.raises(UserError, match="holds no finished model"):
        registry.register("refused", running.run_id, {})
    with pytest.raises(UserError, match="use up to 60"):
        registry.register("Not A Name", finished_run("refused", finished), {})
    assert registry.versions("refused") == []


def damage(store: Store, run_id: str, name: str) -> None:
    (file,) = (path for path in store.folder.rglob(name) if run_id in path.parts)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["mosaic-8.mlmodel", "mosaic-8.mlpackage.zip", "model.safetensors"])
def test_one_wrong_bit_in_the_store_and_nothing_is_fetched(
    store: Store, finished: Path, tmp_path: Path, name: str
) -> None:
    version = registry.register("damaged", finished_run("damaged", finished), {})
    damage(store, version.run_id, name)
    with pytest.raises(UserError, match=rf"{name} .* damaged"):
        registry.fetch(version, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_an_upload_that_was_cut_short_is_no_model(store: Store, finished: Path, tmp_path: Path) -> None:
    version = registry.register("cut-short", finished_run("cut-short", finished), {})
    (manifest,) = (path for path in store.folder.rglob("SHA256SUMS") if version.run_id in path.parts)
    manifest.unlink()
    with pytest.raises(UserError, match="holds no finished model"):
        registry.fetch(version, tmp_path / "out")


@pytest.mark.usefixtures("store")
def test_a_sweep_has_its_runs_below_it_over_all_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = tracker("sweeps")
    by_argument = tracker("one-style", parent_run=sweep.run_id)
    monkeypatch.setenv(PARENT_RUN, str(sweep.run_id))
    by_environment = tracker("another-style")
    monkeypatch.delenv(PARENT_RUN)
    alone = tracker("one-style")
    resumed = tracker("one-style", run_id=alone.run_id, parent_run=sweep.run_id)
    tracker("one-style")
    for child in (by_argument, by_environment, resumed, sweep):
        child.finish("FINISHED")
    experiments = [experiment.experiment_id for experiment in client().search_experiments()]
    found = client().search_runs(experiments, f"tags.`mlflow.parentRunId` = '{sweep.run_id}'")
    assert {run.info.run_id for run in found} == {by_argument.run_id, by_environment.run_id, alone.run_id}


@pytest.mark.usefixtures("store")
def test_a_run_logs_what_it_takes_of_its_machine() -> None:
    tracked = tracker("machine")
    tracked.metrics(10, {"total": 2.0})
    tracked.metrics(20, {"total": 1.0})
    assert set(client().get_run(tracked.run_id).data.metrics) == {"total"}, "not in the first ten seconds"
    tracked.finish("FINISHED")
    run = client().get_run(tracked.run_id)
    assert 0 <= run.data.metrics["system/cpu_utilization_percentage"] <= 100
    history = client().get_metric_history(tracked.run_id, "system/system_memory_usage_percentage")
    assert [point.step for point in history] == [20]
    assert run.info.status == "FINISHED"

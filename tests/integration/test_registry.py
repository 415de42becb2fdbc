"""The registry, over a real MLflow server with passwords and over a plain SQLite store."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.unit.conftest import Run, run
from tests.unit.test_registry import entry
from tinystyle import registry
from tinystyle.commands.terminal import screen
from tinystyle.config import NetworkConfig
from tinystyle.coreml.archive import zip_package
from tinystyle.coreml.convert import export_model
from tinystyle.coreml.listing import write_listing
from tinystyle.model_file import load_model, save_model
from tinystyle.nets import build_network
from tinystyle.tracking import PARENT_RUN, Tracker

__all__ = ["run"]  # a fixture

# MLflow's parts warn each other of what is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
PASSWORD = "a password of tests"
START_SECONDS = 120


@dataclass(frozen=True)
class Store:
    """Where MLflow keeps things, and what a client sets to get there."""

    environment: dict[str, str]
    folder: Path
    """Of the artefacts, in this folder or below."""

    @property
    def is_server(self) -> bool:
        return self.environment["MLFLOW_TRACKING_URI"].startswith("http")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """`mlflow server` with basic-auth, its database SQLite, its artefacts in a folder that clients know nothing of."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    settings = folder / "auth.ini"
    settings.write_text(
        # Without the cache every request takes a quarter of a second for the hash of its password.
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\nauth_cache_ttl_seconds = 60\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))},
        "MLFLOW_AUTH_CONFIG_PATH": str(settings),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of tests",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artefacts")]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            wait_until_it_serves(uri, process, folder / "server.log")
            credentials = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
            yield Store({"MLFLOW_TRACKING_URI": uri, **credentials}, folder)
        finally:
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            process.terminate()
            _, alive = psutil.wait_procs(family, timeout=15)
            for survivor in alive:
                survivor.kill()
            process.wait(10)


@pytest.fixture(scope="session")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("mlflow-sqlite")
    return Store({"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}, folder)


@pytest.fixture(params=[pytest.param("server", marks=pytest.mark.platform), "sqlite"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    chosen: Store = request.getfixturevalue(request.param)
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(chosen.folder)  # where a store without a server keeps its artefacts
    return chosen


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished model, untrained: two Core ML files, one of them a package, as a folder and as its zip."""
    folder = tmp_path_factory.mktemp("finished")
    torch.manual_seed(0)
    config = NetworkConfig(alpha=0.1)
    file, coreml = folder / "model" / "model.safetensors", folder / "coreml"
    save_model(build_network(config), file, config, {"key": "0123456789abcdef"})
    (folder / "model" / "run.json").write_text("{}")
    for format in ("mlmodel", "mlpackage"):
        export_model(load_model(file), format=format, bits=8, size=(64, 64), out=coreml / f"mosaic-8.{format}")
    zip_package(coreml / "mosaic-8.mlpackage", coreml / "mosaic-8.mlpackage.zip")
    write_listing(
        coreml, [entry(coreml / "mosaic-8.mlmodel", "mlmodel"), entry(coreml / "mosaic-8.mlpackage.zip", "mlpackage")]
    )
    (coreml / "mosaic-8.mlmodel.md").write_text("# the card")
    rows = [{"name": "identity", "total": 3.0}, {"name": "small 0.1", "total": 1.5}]
    (folder / "evaluation.json").write_text(json.dumps({"name": "small 0.1", "rows": rows}))
    return folder


def wait_until_it_serves(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mlflow server does not serve: {log.read_text()[-2000:]}") from error
            time.sleep(0.2)
        else:
            return


def client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"])


def tracker(style: str, run_id: str | None = None, parent_run: str | None = None) -> Tracker:
    return Tracker(style, "a run", run_id, {"alpha": 0.1}, {"lineage.key": "k"}, lambda _: None, parent_run)


def finished_run(style: str, folder: Path) -> str:
    tracked = tracker(style)
    tracked.finish("FINISHED")
    assert tracked.run_id is not None
    registry.log_model(tracked.run_id, folder)
    return tracked.run_id


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TAGS = {"architecture": "small", "alpha": "0.1", "bytes": "15297", "bits": "8", "psnr": "47.123", "total": "1.53"}


def test_a_finished_model_comes_back_whole(store: Store, finished: Path, tmp_path: Path) -> None:
    run_id = finished_run("whole", finished)
    version = registry.register("whole", run_id, TAGS)
    assert (version.style, version.version, version.run_id, version.tags) == ("whole", 1, run_id, TAGS)
    assert abs(version.created.timestamp() - time.time()) < 60
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "empty"):
        registry.fetch(version, out)
        assert contents(out) == contents(finished)
    uri = client().get_run(run_id).info.artifact_uri
    assert uri.startswith("mlflow-artifacts:" if store.is_server else str(store.folder)), "not the store's own address"


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
    program = "import sys; from tinystyle.registry import register; print(register('at-once', sys.argv[1], {}).version)"
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
        with pytest.raises(ValueError, match=sentence):
            registry.register("refused", run_id, {})
    running.finish("FINISHED")
    with pytest.raises(ValueError, match="holds no finished model"):
        registry.register("refused", running.run_id, {})
    with pytest.raises(ValueError, match="use up to 60"):
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
    with pytest.raises(ValueError, match=rf"{name} of run \w+ is missing or damaged"):
        registry.fetch(version, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_an_upload_that_was_cut_short_is_no_model(store: Store, finished: Path, tmp_path: Path) -> None:
    version = registry.register("cut-short", finished_run("cut-short", finished), {})
    (manifest,) = (path for path in store.folder.rglob("SHA256SUMS") if version.run_id in path.parts)
    manifest.unlink()
    with pytest.raises(ValueError, match="holds no finished model"):
        registry.fetch(version, tmp_path / "out")


@pytest.mark.usefixtures("store")
def test_promote_list_show_and_fetch_by_command(
    run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        registry.register("commands", finished_run("commands", finished), TAGS)
    registry.assign("commands", registry.CANDIDATE, 2, "passed the gates")
    code, output, error = run("models", "fetch", "commands", "--out", tmp_path / "out")
    assert (code, output) == (2, "")
    assert error == "Error: commands has no version champion; there is 2 (candidate), 1\n"
    code, _, error = run("promote", "commands", "7")
    assert (code, error) == (2, "Error: commands has no version 7; there is 2 (candidate), 1\n")

    assert run("promote", "commands", "1") == (0, "commands 1 is now the champion\n", "")
    assert run("promote", "commands", "1") == (0, "commands 1 is already the champion\n", "")
    promoted = run("promote", "commands", "candidate", "--reason", "the sky is calmer")
    assert promoted == (0, "commands 2 is now the champion, in place of 1\n", "")

    _, output, _ = run("models", "--style", "commands", "--json")
    newest, oldest = json.loads(output)
    assert (newest["version"], newest["aliases"]) == (2, ["candidate", "champion"])
    assert (oldest["version"], oldest["aliases"]) == (1, [])
    decision = json.loads(newest["tags"]["decision.champion"])
    assert (decision["reason"], decision["replaces"]) == ("the sky is calmer", 1)
    assert "@" in decision["who"]
    assert decision["time"].endswith("+00:00")
    assert json.loads(newest["tags"]["decision.candidate"])["reason"] == "passed the gates"

    monkeypatch.setattr(screen, "width", 120)
    _, output, _ = run("models")
    (row,) = (line for line in output.splitlines() if "champion" in line and "commands" in line)
    assert " ".join(row.split()).startswith("commands 2 candidate, champion small 0.1 15,297 8 47.1 1.530 ")
    _, output, _ = run("models", "show", "commands")
    assert "the sky is calmer (" in output
    assert ", in place of 1)" in output
    monkeypatch.setattr(screen, "width", 80)
    _, output, _ = run("models")
    assert "candidate" in output
    assert "…" not in output, "nothing is cut off on a narrow terminal"

    code, output, _ = run("models", "fetch", "commands", "--out", tmp_path / "out")
    assert (code, "all checksums right" in output) == (0, True)
    assert (tmp_path / "out" / "coreml" / "mosaic-8.mlpackage" / "Manifest.json").is_file()
    before = contents(tmp_path / "out")
    code, _, error = run("models", "fetch", "commands", "1", "--out", tmp_path / "out")
    assert (code, error) == (2, f"Error: {tmp_path / 'out'} is not an empty folder; give a new one\n")
    assert contents(tmp_path / "out") == before


@pytest.mark.usefixtures("store")
def test_an_unknown_style_is_one_sentence_with_what_there_is(run: Run, finished: Path) -> None:
    registry.register("known", finished_run("known", finished), {})
    for line in ("models show unknown", "models fetch unknown 1 --out never", "promote unknown 1"):
        code, output, error = run(*line.split())
        assert (code, output, error.count("\n")) == (2, "", 1)
        assert error.startswith("Error: no style unknown is registered at ")
        assert "known" in error.split("; there is ")[1]
    assert run("models", "--style", "unknown") == (0, "no style unknown is registered yet\n", "")


@pytest.mark.platform
@pytest.mark.parametrize("store", ["server"], indirect=True)
@pytest.mark.usefixtures("store")
def test_a_wrong_password_is_one_sentence_within_seconds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    began = time.monotonic()
    code, output, error = run("models")
    assert time.monotonic() - began < 10
    assert (code, output) == (2, "")
    assert error == (
        f"Error: the MLflow server at {os.environ['MLFLOW_TRACKING_URI']} refuses the credentials; "
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n"
    )


def add_user(name: str, password: str) -> None:
    """Through the server's REST interface, as its administrator."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    uri, *credentials = (os.environ[variable] for variable in names)
    authorization = f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
    urllib.request.urlopen(
        urllib.request.Request(
            f"{uri}/api/2.0/mlflow/users/create",
            json.dumps({"username": name, "password": password}).encode(),
            {"Authorization": authorization, "Content-Type": "application/json"},
        ),
        timeout=30,
    ).close()


@pytest.mark.platform
@pytest.mark.parametrize("store", ["server"], indirect=True)
@pytest.mark.usefixtures("store")
def test_who_may_only_read_fetches_but_does_not_promote(
    run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("guarded", finished_run("guarded", finished), {})
    add_user("reader", "only for reading")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "only for reading")
    assert run("models", "fetch", "guarded", "1", "--out", tmp_path / "out")[0] == 0
    code, _, error = run("promote", "guarded", "1")
    assert code == 2
    assert error.endswith("does not permit this to user 'reader'; ask its administrator\n")
    assert registry.find("guarded", 1).aliases == ()


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

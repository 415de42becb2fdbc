"""MLflow, with its real SQLite store, and with servers that are not there."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import micro_command, micro_config, start, wait_for_step
from tinystyle.errors import UserError
from tinystyle.tracking.connection import run_page
from tinystyle.tracking.run import Tracker
from tinystyle.training.launch import prepare
from tinystyle.training.progress import complete_tracking
from tinystyle.training.record import RunRecord
from tinystyle.training.runner import fit

# MLflow's parts warn each other of what is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
STEPS = 60
FAULT = "MLflow failed; training continues and will retry later"


@dataclass
class Tracked:
    """A run that was stopped and resumed, with the tracking that one has who sets up nothing."""

    folder: Path
    working_folder: Path
    store: str
    status_when_stopped: str
    run_when_stopped: str | None

    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.store)

    def run(self) -> Any:
        return self.client().get_run(RunRecord.read(self.folder).tracking_run)


@pytest.fixture(scope="module")
def tracked(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    here = tmp_path_factory.mktemp("tracked")
    folder = here / "run"
    store = f"sqlite:///{here}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI")
        patch.chdir(here)
        process = start(micro_command(dataset, folder, "--track", "--preview-every", "20", steps=STEPS))
        wait_for_step(process, folder, 12)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        tracked = Tracked(folder, here, store, "", RunRecord.read(folder).tracking_run)
        tracked.status_when_stopped = tracked.run().info.status
        prepare(RunRecord.read(folder).config, folder, resume=True)
        assert fit(folder, show_progress=False).state == "completed"
    assert process.returncode == 75, errors
    # Nothing but what it is about, progress, and the resume command.
    said = r"Reading .*\nTraining .*\n(step \d+/60 .*\n)+(Stopping.*\n)?stopped at step \d+ of 60; resume with: .*\n"
    assert re.fullmatch(said, errors), errors
    return tracked


def test_a_resumed_run_goes_on_with_its_mlflow_run(tracked: Tracked) -> None:
    run = tracked.run()
    assert run.info.run_id == tracked.run_when_stopped
    assert (tracked.status_when_stopped, run.info.status) == ("KILLED", "FINISHED")
    assert len(tracked.client().search_runs([run.info.experiment_id])) == 1


def test_c4_parameters_lineage_dataset_and_metrics_by_step(tracked: Tracked) -> None:
    run, record = tracked.run(), RunRecord.read(tracked.folder)
    assert tracked.client().get_experiment(run.info.experiment_id).name == "mosaic"
    assert run.data.params["network.alpha"] == "0.1"
    assert run.data.params["optimizer.steps"] == str(STEPS)
    for fact, value in record.lineage.items():
        assert run.data.tags[f"lineage.{fact}"] == value
    assert run.data.tags["mlflow.source.name"] == "tinystyle train"
    assert run.data.tags["mlflow.user"]
    (dataset,) = run.inputs.dataset_inputs
    assert record.lineage["dataset"].startswith(dataset.dataset.digest)
    assert json.loads(dataset.dataset.source) == {"uri": record.config.photos}
    for name in ("content", "style", "total", "learning_rate", "images_per_second"):
        history = tracked.client().get_metric_history(run.info.run_id, f"train/{name}")
        assert [point.step for point in history] == list(range(10, STEPS + 1, 10)), name
    held_out = {point.step for point in tracked.client().get_metric_history(run.info.run_id, "held_out/total")}
    assert held_out == set(range(10, STEPS + 1, 10))
    assert run.data.metrics["held_out/total"] == pytest.approx(record.results["held_out_total"])


def test_c4_previews_have_a_step_slider_and_the_model_is_there(tracked: Tracked, tmp_path: Path) -> None:
    run = tracked.run()
    images = [file.path for file in tracked.client().list_artifacts(run.info.run_id, "images")]
    steps = {re.search(r"preview.*?step.(\d+)", image)[1] for image in images}  # type: ignore[index]
    assert steps == {"20", "40", "60"}
    downloaded = Path(tracked.client().download_artifacts(run.info.run_id, "model", str(tmp_path)))
    for name in ("model.safetensors", "run.json"):
        assert (downloaded / name).read_bytes() == (tracked.folder / name).read_bytes()
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(tracked.working_folder)
    assert (tracked.working_folder / "mlflow.db").is_file()


def test_c4_the_page_of_a_run_its_description_and_source(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tracked.run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    assert run_page(run.info.run_id) == (
        f"`mlflow ui --backend-store-uri {tracked.store}`, then http://127.0.0.1:5000/#/experiments/"
        f"{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    )
    tags, commit = run.data.tags, RunRecord.read(tracked.folder).lineage["commit"].removesuffix("-dirty")
    assert tags.get("mlflow.source.git.commit", "") == commit
    assert tags["mlflow.note.content"].startswith("mosaic small 0.1 in the style of builtin:mosaic, on ")


def test_c4_runs_of_one_key_have_names_of_their_own(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    monkeypatch.chdir(tracked.working_folder)
    ids: list[str] = []
    for _ in range(3):
        Tracker("names", "a 'name' 50%", None, {}, {}, ids.append).finish("FINISHED")
    names = [tracked.client().get_run(run_id).info.run_name for run_id in ids]
    assert names == ["a 'name' 50%", "a 'name' 50% (2)", "a 'name' 50% (3)"]


def test_c7_the_speed_of_a_run_is_its_mean(tracked: Tracked) -> None:
    record = RunRecord.read(tracked.folder)
    speeds = [
        json.loads(line)["images_per_second"] for line in (tracked.folder / "metrics.jsonl").read_text().splitlines()
    ]
    assert 0 < record.results["images_per_second"] < 2 * max(speeds)


def tracker(run_id: str | None = None, started: Any = lambda _: None) -> Tracker:
    return Tracker("again", "name", run_id, {"a": 1}, {"lineage.key": "k"}, started)


def test_a_deleted_run_is_not_the_end_of_tracking(tracked: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    monkeypatch.chdir(tracked.working_folder)
    ids: list[str] = []
    tracker(None, ids.append).finish("FINISHED")
    tracked.client().delete_run(ids[0])
    tracker(ids[0], ids.append).finish("FINISHED")
    tracker("0" * 32, ids.append).finish("FINISHED")
    assert len(set(ids)) == 3
    tracker(ids[2], pytest.fail).metrics(7, {"total": 1.5})
    assert tracked.client().get_run(ids[2]).data.metrics == {"total": 1.5}


def test_a_server_that_comes_back_gets_the_model(
    tracked: Tracked, free_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tracked.working_folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    ids: list[str] = []
    began = time.monotonic()
    late = tracker(None, ids.append)
    down = time.monotonic()
    for step in range(100):
        late.metrics(step, {"total": 1.0})
    assert time.monotonic() - down < 1, "in a pause nothing is tried"
    assert down - began < 15
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    late.finish("FINISHED", (tracked.folder / "model.safetensors",), "model")
    (run_id,) = ids
    run = tracked.client().get_run(run_id)
    assert (run.info.status, run.data.params, run.data.tags["lineage.key"]) == ("FINISHED", {"a": "1"}, "k")
    assert [file.path for file in tracked.client().list_artifacts(run_id, "model")] == ["model/model.safetensors"]
    assert len([message for message in caplog.messages if FAULT in message]) == 1
    history = tracked.client().get_metric_history(run_id, "total")
    assert [point.step for point in history] == list(range(100)), "kept, and delivered in order"


def test_what_the_server_calls_invalid_holds_nothing_up(
    tracked: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    monkeypatch.chdir(tracked.working_folder)
    ids: list[str] = []
    run = tracker(None, ids.append)
    run.metrics(1, {"not/a name?": 1.0, "total": 1.0})
    run.artifact(tmp_path / "gone.txt")
    run.metrics(2, {"total": 2.0})
    run.finish("FINISHED")
    assert tracked.client().get_run(ids[0]).data.metrics["total"] == 2.0
    assert len([message for message in caplog.messages if "left out" in message]) == 2


def test_a_server_that_is_not_there_costs_one_line_and_some_seconds(
    dataset: Path, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    record = prepare(micro_config(dataset, steps=12, track=True), tmp_path / "run", resume=True)
    record.update(tmp_path / "run", tracking_run="of an earlier start")
    began = time.monotonic()
    assert fit(tmp_path / "run", show_progress=False).state == "completed"
    assert time.monotonic() - began < 30
    assert RunRecord.read(tmp_path / "run").tracking_run == "of an earlier start", "for when the server is back"
    lines = [message for message in caplog.messages if "MLflow" in message]
    assert len(lines) == 1
    assert lines[0].startswith(FAULT)
    assert str(free_port) in lines[0]


def test_a_run_that_was_completed_while_mlflow_was_away_is_brought_up_to_date(
    tracked: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.store)
    client, whole = tracked.client(), tracked.run().info.run_id
    histories = {
        name: [(each.step, each.value) for each in client.get_metric_history(whole, name)]
        for name in tracked.run().data.metrics
        if name.startswith(("train/", "held_out/"))
    }
    found: list[str] = []
    tracker = Tracker("wave", "cut off", None, {}, {}, found.append)
    for step, value in histories["train/content"][:2]:
        tracker.metrics(step, {"train/content": value})
    record = RunRecord.read(tracked.folder).model_copy(update={"tracking_run": found[0]})
    assert client.get_run(found[0]).info.status == "RUNNING"
    assert complete_tracking(record, tracked.folder)
    assert client.get_run(found[0]).info.status == "FINISHED"
    for name, history in histories.items():
        expected = history if name.startswith("train/") else history[-1:]
        assert [(each.step, each.value) for each in client.get_metric_history(found[0], name)] == expected, name
    assert {file.path for file in client.list_artifacts(found[0], "model")} == {
        "model/model.safetensors",
        "model/run.json",
    }
    assert not complete_tracking(record, tracked.folder)
    with pytest.raises(UserError, match="has no MLflow run"):
        complete_tracking(record.model_copy(update={"tracking_run": None}), tmp_path)

"""`tinystyle train` as people use it: from a file, with MLflow, and killed in the middle."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.runs import family, micro_command, start, wait_for_step
from tinystyle.model_file import load_model
from tinystyle.training.record import RunRecord

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow's own default: a SQLite file in the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_the_record_of_a_run_repeats_it_bit_for_bit(micro_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinystyle", "train", "--config", str(micro_run / "run.json")]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "again")], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    first, again = (load_model(folder / "model.safetensors") for folder in (micro_run, tmp_path / "again"))
    assert first.lineage["key"] == again.lineage["key"]
    weights = again.network.state_dict()
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_c4_it_ends_by_naming_the_run_its_page_and_what_to_do_next(dataset: Path, tmp_path: Path, store: str) -> None:
    out = tmp_path / "run"
    ended = subprocess.run(
        micro_command(dataset, out, "--track", steps=6), capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    run_id = RunRecord.read(out).tracking_run
    assert str(RunRecord.read(out).tracking_page) in ended.stdout, "without asking MLflow, whose import takes a second"
    page = f"http://127.0.0.1:5000/#/experiments/1/runs/{run_id}?workflowType=machine_learning"
    assert f"MLflow run {run_id}: `mlflow ui --backend-store-uri sqlite:///mlflow.db`, then {page}" in ended.stdout
    assert f"Previews: {out / 'previews'}" in ended.stdout
    assert f"Next: tinystyle stylize {out / 'model.safetensors'} PHOTO" in ended.stdout
    assert shutil.which("mlflow", path=str(Path(sys.executable).parent)), "the command that it names is there"
    assert store.endswith("mlflow.db")
    assert (tmp_path / "mlflow.db").is_file()


def test_c1_the_mlflow_run_of_a_killed_training_is_closed_as_killed(dataset: Path, tmp_path: Path, store: str) -> None:
    from mlflow import MlflowClient

    out = tmp_path / "run"
    process = start(micro_command(dataset, out, "--track", steps=100_000))
    wait_for_step(process, out, 12)
    family(process)["worker"].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "run the same command again to resume" in errors
    run_id = RunRecord.read(out).tracking_run
    assert run_id is not None
    assert MlflowClient(store).get_run(run_id).info.status == "KILLED"

"""Environments as containers, clusters and scripts leave them: a training in them has the weights that it has elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.support.disks import small_disk
from tests.support.places import REPOSITORY
from tests.support.runs import micro_command, start, wait_for_step
from tinystyle.model_file import load_model
from tinystyle.training.record import RunRecord

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

FOREIGN = {
    "PET_NNODES": "2", "PET_RUN_PATH": "1", "PET_MAX_RESTARTS": "3", "PL_TRAINER_FAST_DEV_RUN": "1",
    "PL_TRAINER_MAX_TIME": "00:00:00:01", "TORCHELASTIC_RUN_ID": "x", "LOGLEVEL": "info", "RANK": "3",
    "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1", "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "KUBERNETES_PORT": "tcp://10.0.0.1:443", "OMPI_COMM_WORLD_SIZE": "4",
}  # fmt: skip
"""What other launchers set for jobs of their own."""
POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "0", "OMP_NUM_THREADS": "4,2",
        "MKL_NUM_THREADS": "abc", "HTTP_PROXY": "http://127.0.0.1:9", "PYTHONOPTIMIZE": "2"}  # fmt: skip
"""A locale without UTF-8, a terminal without width, threads that are no number, a proxy that is not there."""
NOBODY = [
    "setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",  # may read the interpreter, wherever it is
]  # fmt: skip
"""A user without an account."""


def _bare(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "MLFLOW_TRACKING_URI")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), **more}


def _need_root() -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("another user's process needs root, and setpriv")


def _same_weights(out: Path, reference: Path) -> bool:
    ours, theirs = (load_model(folder / "model.safetensors").network.state_dict() for folder in (out, reference))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_i9_i11_i17_i18_a_training_in_a_bare_container(dataset: Path, micro_run: Path, tmp_path: Path) -> None:
    """No home, no account, a full TMPDIR, nothing to write to, no UTF-8, and everything that other launchers leave."""
    _need_root()
    for place in [tmp_path, *tmp_path.parents, *dataset.parents]:  # pytest's folders are for this user alone
        if "pytest-" in str(place):
            place.chmod(0o755)
    out = tmp_path / "größe"
    for folder in (out, tmp_path / "cache"):
        folder.mkdir()
        os.chown(folder, 12345, 12345)
    with small_disk(tmp_path / "full", "64k") as full:
        full.chmod(0o777)
        environment = _bare(**FOREIGN, **POOR, TMPDIR=str(full), TINYSTYLE_CACHE=str(tmp_path / "cache"))
        command = [*NOBODY, *micro_command(dataset, out, steps=20)]
        closed = 'umask 077; ulimit -n 128; exec "$@" 0<&- 1>&- 2>&-'
        ended = subprocess.run(["sh", "-c", closed, "sh", *command], env=environment, check=False, timeout=240)
    assert ended.returncode == 0, sorted(path.name for path in out.iterdir())
    assert RunRecord.read(out).state == "completed"
    assert _same_weights(out, micro_run)
    assert not list(out.glob(".*")), "temporary files"


def test_i17_without_a_home_the_variable_for_the_cache_is_named(photo_folder: Path, tmp_path: Path) -> None:
    _need_root()
    os.chown(tmp_path, 12345, 12345)
    ingest = [sys.executable, "-m", "tinystyle", "train", "--style", "builtin:wave", "--photos", str(photo_folder)]
    command = [*NOBODY, *ingest, "--perceptual", "efficientnet-lite0", "--no-track", "--out", "/dev/shm/none"]
    for home, says in (
        ({}, "there is no home folder for the cache; set TINYSTYLE_CACHE"),
        ({"HOME": "/nonexistent"}, "no cache can be made there (Permission denied); set TINYSTYLE_CACHE"),
    ):
        ended = subprocess.run(command, env=_bare(**home), capture_output=True, text=True, check=False, timeout=100)
        assert ended.returncode == 2
        assert says in ended.stderr
        assert "Traceback" not in ended.stderr


def test_c7_i5_a_terminal_that_closes_stops_a_run_unless_that_is_ignored(dataset: Path, tmp_path: Path) -> None:
    """Nobody reads what it says anymore, either."""
    out = tmp_path / "run"
    command = micro_command(dataset, out, "--checkpoint-every", "1000", steps=100000)
    under_nohup = start(["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command])
    wait_for_step(under_nohup, out, 3)
    under_nohup.send_signal(signal.SIGHUP)
    wait_for_step(under_nohup, out, 6)
    under_nohup.send_signal(signal.SIGINT)
    deadline, said = time.monotonic() + 60, ""
    assert under_nohup.stderr
    while not said.startswith("Stopping after this step") and time.monotonic() < deadline:
        said = under_nohup.stderr.readline()
    assert said.startswith("Stopping after this step, then saving a checkpoint; two more signals (Ctrl-C)")
    under_nohup.communicate(timeout=120)
    assert under_nohup.returncode == 75
    process = start(command)
    wait_for_step(process, out, RunRecord.read(out).step + 2)
    assert process.stderr
    assert process.stdout
    process.stderr.close()
    process.stdout.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 75
    record = RunRecord.read(out)
    assert record.state == "stopped"
    assert torch.load(out / "last.ckpt", weights_only=True)["global_step"] == record.step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_i5_asked_to_stop_before_training_it_says_so(dataset: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(micro_command(dataset, tmp_path / "run"))
    assert process.stderr
    assert process.stderr.readline().startswith("Reading the style image, the photos and efficientnet-lite0")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert errors.splitlines()[-1] == "Interrupted; what is done is kept, run the same command again to continue"


def test_i5_asked_to_stop_an_ingest_says_so(photo_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for copy in range(200):
        for photo in photo_folder.iterdir():
            os.link(photo, photos / f"{copy:03}-{photo.name}")
    process = start([sys.executable, "-m", "tinystyle", "ingest", str(photos), str(tmp_path / "out"), "--size", "64"])
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) == (
        75,
        "Interrupted; what is done is kept, run the same command again to continue",
    )


@pytest.mark.parametrize("command", [("stylize", "pretrained:starry-night", "a.jpg"), ("train", "-s", "builtin:wave")])
def test_a_current_folder_that_was_deleted_is_one_sentence(command: tuple[str, ...], tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    shell = f'rmdir "{here}" && exec "$@"'
    called = ["sh", "-c", shell, "sh", sys.executable, "-m", "tinystyle", *command]
    answer = subprocess.run(called, cwd=here, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (
        2,
        "Error: the current folder does not exist any more; change to another one\n",
    )


def test_c9n_missing_credentials_are_said_before_what_differs_from_the_run_that_is_there(
    dataset: Path, micro_run: Path, tmp_path: Path, free_port: int
) -> None:
    out = tmp_path / "run"
    shutil.copytree(micro_run, out)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port}", "AWS_EC2_METADATA_DISABLED": "true"}
    command = micro_command(dataset, out, "--learning-rate", "0.001", "--checkpoints", "s3://nobucket/run", steps=30)
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 2, answer
    said = answer.stderr.splitlines()[-1]
    assert said.startswith("Error: s3://nobucket/run/run.json: ")
    assert "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said

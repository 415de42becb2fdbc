"""Runs as the command starts them, through the agent: killed, stopped, spread over processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch

from tests.support.kills import Kills
from tests.support.places import REPOSITORY
from tests.support.processes import command_lines
from tests.support.runs import assert_all_gone, family, micro_command, micro_config, start, steps_done, wait_for_step
from tinystyle.model_file import load_model
from tinystyle.training.launch import TrainingProcessError, launch, prepare
from tinystyle.training.record import RunRecord
from tinystyle.training.runner import fit
from tinystyle.training.standby import Standby
from tinystyle.training.worker import WAIT

STEPS = 160
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.long
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_killed_three_times_arrives_at_the_same_weights(dataset: Path, tmp_path: Path, precision: str) -> None:
    reference = tmp_path / "uninterrupted"
    prepare(micro_config(dataset, steps=STEPS, precision=precision), reference, resume=True)
    fit(reference, show_progress=False)

    out = tmp_path / "killed"
    where = random.Random(precision)
    for round_, victim in enumerate(("worker", "command", "worker")):
        process = start(micro_command(dataset, out, precision=precision))
        done = steps_done(out)
        # A random step, far from the end; the lines of a killed run's last steps are dropped when it resumes.
        wait_for_step(process, out, max(done + 1, 30 * round_ + where.randint(5, 30)))
        members = family(process)
        descendants = members["command"].children(recursive=True)
        members[victim].send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        assert_all_gone(descendants)
        assert process.returncode == (-signal.SIGKILL if victim == "command" else 1)
        assert steps_done(out) < STEPS
    finished = subprocess.run(
        micro_command(dataset, out, "--resume", "auto", precision=precision),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    expected = load_model(reference / "model.safetensors").network.state_dict()
    for name, tensor in load_model(out / "model.safetensors").network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    first, second = ((folder / "metrics.jsonl").read_text().splitlines() for folder in (reference, out))
    assert [json.loads(line)["total"] for line in first] == [json.loads(line)["total"] for line in second]


@pytest.mark.long
@pytest.mark.parametrize("victim", ["torchrun", "worker"])
def test_one_of_several_processes_is_killed(dataset: Path, tmp_path: Path, victim: str) -> None:
    out = tmp_path / "run"
    command = micro_command(dataset, out, "--devices", "2", "--checkpoint-every", "5", steps=500)
    process = start(command)
    wait_for_step(process, out, 12)
    members = family(process)
    descendants = members["command"].children(recursive=True)
    members[victim].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert_all_gone(descendants)
    assert process.returncode == 1, errors
    assert "a training process was killed or crashed; it resumes from step" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(one, marks=pytest.mark.long) for one in (signal.SIGINT, signal.SIGHUP))]
)
def test_c1_i5_asked_to_stop_it_saves_and_names_the_way_on(
    dataset: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    process = start(micro_command(dataset, out, "--checkpoint-every", "1000", steps=100000))
    wait_for_step(process, out, 5)
    descendants = psutil.Process(process.pid).children(recursive=True)
    asked = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - asked < 20
    assert process.returncode == 75
    assert_all_gone(descendants)
    record = RunRecord.read(out)
    assert record.state == "stopped"
    assert record.step == steps_done(out) >= 5
    saved = torch.load(out / "last.ckpt", weights_only=True)
    assert saved["global_step"] == record.step
    last = errors.strip().splitlines()[-1]
    assert last.startswith(
        f"stopped at step {record.step} of 100000; resume with: tinystyle train --style builtin:mosaic"
    )
    assert last.endswith("--resume auto")
    assert "Traceback" not in errors


@pytest.mark.long
def test_c1_disturbed_in_every_way_it_arrives_at_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    """A few of `make kills`; the worker that is frozen for 40 s stands for a step that takes longer than torchrun waits."""
    done = Kills(dataset, tmp_path).run(1, ["STOP+TERM", "KILL"])
    assert not [one.problems for one in done if one.problems], done


@pytest.mark.parametrize(("precision", "tolerance"), [("32", 1e-4), pytest.param("bf16", 2e-2, marks=pytest.mark.long)])
def test_two_processes_do_the_same_as_one(dataset: Path, tmp_path: Path, precision: str, tolerance: float) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    # A low rate: at the full one rounding errors grow a hundredfold within ten steps, whatever makes them (ARCHITECTURE.md).
    config = micro_config(dataset, steps=20, precision=precision)
    slow = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"learning_rate": 1e-5})})
    prepare(slow, one, resume=True)
    fit(one, show_progress=False)
    options = ("--devices", "2", "--learning-rate", "1e-5")
    arguments = micro_command(dataset, two, *options, steps=20, precision=precision)
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    totals = [
        [json.loads(line)["total"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, two)
    ]
    assert len(totals[1]) == 20
    assert totals[1] == pytest.approx(totals[0], rel=tolerance)


@pytest.mark.parametrize("devices", ["1", "2"])
def test_i9_alone_on_its_machine_a_run_listens_to_no_other(dataset: Path, tmp_path: Path, devices: str) -> None:
    out = tmp_path / "run"
    # As a training operator on Kubernetes sets them for its own launcher; they are the defaults of torchrun's options.
    foreign = {**os.environ, "PET_NNODES": "3", "PET_NPROC_PER_NODE": "5", "PET_RDZV_ENDPOINT": "10.0.0.1:29400"}
    command = micro_command(dataset, out, "--devices", devices, steps=100000)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=foreign)
    try:
        wait_for_step(process, out, 2)
        command_and_children = psutil.Process(process.pid)
        open_to = {
            connection.laddr.ip
            for each in (command_and_children, *command_and_children.children(recursive=True))
            for connection in each.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert open_to <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert not (devices == "1" and open_to)


@pytest.mark.long
def test_two_machines_meet_at_an_endpoint(dataset: Path, tmp_path: Path, free_port: int) -> None:
    """Two commands with an agent each, on one machine, as the pods of infra/kubernetes/train-many-nodes.yaml."""
    one, out = tmp_path / "one", tmp_path / "run"
    config = micro_config(dataset, steps=20)
    slow = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"learning_rate": 1e-5})})
    key = prepare(slow, one, resume=True).lineage["key"]
    fit(one, show_progress=False)
    options = ("--nodes", "2", "--rdzv-endpoint", f"localhost:{free_port}", "--learning-rate", "1e-5")
    command = micro_command(dataset, out, *options, steps=20)
    nodes = []
    for index in range(2):
        job = {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": f"train-many-nodes-{index}", "GLOO_SOCKET_IFNAME": "lo"}
        foreign = {"PET_NNODES": "9", "PET_NODE_RANK": "7", "PET_MASTER_ADDR": "10.0.0.1"}
        environment = {**os.environ, **job, **foreign}
        nodes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    results = [(node.communicate(timeout=180)[1], node.returncode) for node in nodes]
    assert [code for _, code in results] == [0, 0], results
    assert RunRecord.read(out).lineage["key"] == key
    totals = [
        [json.loads(line)["total"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, out)
    ]
    assert len(totals[1]) == 20
    assert totals[1] == pytest.approx(totals[0], rel=1e-4)


def test_a_mistake_that_training_finds_is_in_the_record(unfinished: Path) -> None:
    """From a thread, as a flow would call it."""
    (unfinished / "last.ckpt").write_bytes(b"")
    record = prepare(RunRecord.read(unfinished).config, unfinished, resume=True)
    with ThreadPoolExecutor(1) as thread:
        record = thread.submit(launch, record, unfinished).result()
    assert record.state == "failed"
    assert record.message.startswith(f"{unfinished}/last.ckpt is damaged")


def test_a_bug_in_a_training_process_keeps_its_traceback(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted by a sitecustomize.py, which every Python process runs as it starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'tinystyle.training.worker' in sys.orig_argv:\n"
        "    import tinystyle.training.objective as objective\n"
        "    def build_criteria(*_):\n"
        "        first, second = (1, 2, 3)\n"
        "    objective.build_criteria = build_criteria\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(REPOSITORY)]))
    folder = tmp_path / "run"
    record = prepare(micro_config(dataset), folder, resume=True)
    with pytest.raises(TrainingProcessError, match=r"in build_criteria\n(.*\n)*ValueError: too many values"):
        launch(record, folder)
    assert "too many values to unpack" in (folder / "error.log").read_text()
    assert RunRecord.read(folder).state == "failed"


@pytest.mark.parametrize("program", ["agent", "worker"])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0])
def test_c1_an_interrupt_while_a_training_process_is_imported_prints_no_traceback(
    program: str, seconds: float, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", f"tinystyle.training.{program}"]
    arguments = [str(os.getpid()), "--nnodes=2", "--rdzv-endpoint=127.0.0.1:1", "none.py"] if program == "agent" else []
    process = subprocess.Popen([*command, *(arguments or [str(tmp_path)])], stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt" not in error
    assert process.returncode


ENDING = """
import atexit, os, signal, sys
from tinystyle.data.processes import interruptible
atexit.register(lambda: [os.kill(os.getpid(), number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)])
with interruptible():
    signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(5)
"""


def test_c1_what_is_asked_to_stop_as_it_ends_ends() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (5, "")


def waiting() -> list[psutil.Process]:
    """The processes that wait to be told what to train."""
    found = command_lines(psutil.Process().children())
    return [each for each, line in found if line[-2:] == ["tinystyle.training.worker", WAIT]]


def test_a_standby_trains_what_it_is_given_or_ends(dataset: Path, tmp_path: Path) -> None:
    execution = micro_config(dataset, steps=4).execution
    with Standby() as standby:
        standby.start(execution)
        (child,) = waiting()
        standby.start(execution)  # there is one
        assert waiting() == [child]
    assert_all_gone([child])
    assert standby.take(tmp_path) is None

    with Standby() as standby:
        record = prepare(micro_config(dataset, steps=4), tmp_path / "run", resume=True, standby=standby)
        (child,) = waiting()
        assert launch(record, tmp_path / "run", standby=standby).state == "completed"
        assert_all_gone([child])


def test_a_standby_that_has_died_is_replaced(dataset: Path, tmp_path: Path) -> None:
    with Standby() as standby:
        record = prepare(micro_config(dataset, steps=4), tmp_path / "run", resume=True, standby=standby)
        (child,) = waiting()
        child.kill()
        child.wait()
        assert launch(record, tmp_path / "run", standby=standby).state == "completed"

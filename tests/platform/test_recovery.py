"""What dies in the middle of a training is found and goes on by itself, on any worker, from its last checkpoint."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.processes import descendants
from tests.support.flow_run import FlowRun
from tests.support.models import different_weights
from tests.support.processes import command_lines
from tests.support.rest import s3
from tests.support.runs import micro_config, micro_parameters
from tests.support.stack import Stack
from tinystyle.tracking import registry
from tinystyle.training.launch import prepare
from tinystyle.training.runner import fit

pytestmark = [pytest.mark.platform, pytest.mark.e2e, pytest.mark.timeout(1200)]
STEPS, EVERY = 400, 20
RESUMED_WITHIN = 180
"""Seconds from a kill to the first step that was trained after it."""
UNTIL = {"steps": STEPS, "checkpoint_every": EVERY, "preview_every": 1000}


@pytest.fixture(scope="module")
def deployed(stack: Stack, dataset: Path) -> Stack:
    """The stack with the deployments and a small dataset."""
    stack.deploy()
    with s3(stack.environment) as store:
        for file in dataset.iterdir():
            store.upload_file(str(file), "coco", f"datasets/micro/{file.name}")
    return stack


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed")
    prepare(micro_config(dataset, **UNTIL), out, resume=True)
    fit(out, show_progress=False)
    return out / "model.safetensors"


@pytest.fixture
def start(deployed: Stack) -> Iterator[Callable[..., FlowRun]]:
    """Starts train-style; what is still under way after the test is cancelled."""
    begun: list[FlowRun] = []

    def begin(name: str, **changes: Any) -> FlowRun:
        parameters = micro_parameters("s3://coco/datasets/micro", name, **UNTIL, **{"force": True, **changes})
        begun.append(FlowRun.start(deployed, "train-style/default", **parameters))
        return begun[-1]

    yield begin
    for run in begun:
        run.cancel()


def _kill(run: FlowRun, what: str) -> None:
    for process in run.processes(what):
        process.send_signal(signal.SIGKILL)


def _goes_on(run: FlowRun, what: str) -> None:
    """Kill, and wait for a step that was trained afterwards."""
    _kill(run, what)
    killed = time.monotonic()
    time.sleep(2)  # what it had sent is there now
    before = len(run.steps())
    run.wait(lambda: len(run.steps()) > before, RESUMED_WITHIN)
    print(f"{what} killed: first step after {time.monotonic() - killed:.0f} s")


def _check_whole(run: FlowRun, undisturbed: Path, tmp_path: Path, kills: int) -> None:
    state = run.ended()
    assert state["type"] == "COMPLETED", state
    (tracked,) = run.tracked()
    assert tracked["info"]["status"] == "FINISHED"
    steps = run.steps()
    assert max(steps) == STEPS
    repeated = sum(count - 1 for count in Counter(steps).values())
    assert repeated <= kills * (EVERY // 10)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.stack.environment.items():
            patch.setenv(name, value)
        folder = registry.fetch(registry.find(run.shown()["parameters"]["name"], 1), tmp_path / "fetched")
    assert different_weights(folder / "model" / "model.safetensors", undisturbed) == []


@pytest.mark.parametrize(("first", "second"), [("trainer", "flow"), ("worker", "agent")])
def test_two_kills(first: str, second: str, start: Callable[..., FlowRun], undisturbed: Path, tmp_path: Path) -> None:
    """With a worker its flow runs are killed too, so that nobody reports their end."""
    run = start(f"{first}-then-{second}")
    for step, what in ((50, first), (150, second)):
        run.wait_for_step(step)
        _goes_on(run, what)
    _check_whole(run, undisturbed, tmp_path, kills=2)


def test_servers_come_and_go(start: Callable[..., FlowRun], undisturbed: Path, tmp_path: Path) -> None:
    run = start("servers-killed")
    for step, name in ((40, "store"), (100, "mlflow"), (160, "prefect")):
        run.wait_for_step(step)
        for process in descendants(run.stack.folder, name):
            process.send_signal(signal.SIGKILL)
        time.sleep(2)
        deadline = time.monotonic() + 120
        while True:  # the keeper starts it again
            try:
                run.state(), run.steps()
                break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(1)
    _check_whole(run, undisturbed, tmp_path, kills=1)


def test_a_terminated_worker_hands_its_run_over(
    start: Callable[..., FlowRun], undisturbed: Path, tmp_path: Path
) -> None:
    run = start("terminated")
    run.wait_for_step(50)
    processes = command_lines(run.processes("worker"))
    (worker,) = [process for process, command in processes if command[1:3] == ["-m", "infra.worker"]]
    os.killpg(worker.pid, signal.SIGTERM)
    # At once: it does not wait to be missed.
    run.wait(lambda: run.shown()["run_count"] == 2, 60)
    _check_whole(run, undisturbed, tmp_path, kills=0)


def test_after_three_kills_it_has_failed_and_says_why(start: Callable[..., FlowRun]) -> None:
    run = start("three-kills")
    for kill in range(3):
        time.sleep(2)
        before = len(run.steps())
        run.wait(lambda before=before: len(run.steps()) > before, RESUMED_WITHIN + 60)
        _kill(run, "trainer")
        print("kill", kill + 1)
    state = run.ended(120)
    assert state["type"] == "FAILED"
    assert "gave up after 3 crashes" in state["message"]
    assert "a training process was killed" in state["message"]
    (tracked,) = run.tracked()
    assert tracked["info"]["status"] == "KILLED"
    assert not run.processes("trainer")


def test_two_runs_of_one_recipe_train_once(start: Callable[..., FlowRun]) -> None:
    first, second = start("recipe-one", force=False, seed=4), start("recipe-two", force=False, seed=4)
    for run in (first, second):
        state = run.ended()
        assert state["type"] == "COMPLETED", state
    steps = [run.steps() for run in (first, second)]
    assert sorted(max(one, default=0) for one in steps)[-1] == STEPS
    assert all(count == 1 for one in steps for count in Counter(one).values()), json.dumps(steps)
    assert sum(len(one) for one in steps) <= STEPS // 10 + 1

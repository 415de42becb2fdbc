"""All of the platform in one story, a test for each part: every command of the pages in docs/, and what a day may bring."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.processes import descendants
from tests.support.pages import Checkout, commands
from tests.support.photos import synthetic_photo
from tests.support.platform_story import check_run_and_version, publish_first, start_and_ingest
from tests.support.rest import MLflow, Prefect, overlap, s3
from tests.support.stack import platform_in

pytestmark = [pytest.mark.platform, pytest.mark.e2e, pytest.mark.timeout(1800)]
SHORT = {"photos": "s3://coco/datasets/photos", "steps": 100, "size": 64, "perceptual": "efficientnet-lite0"}
OPERATOR, ENGINEER = commands("operator.md"), commands("engineer.md")


@dataclass
class Story:
    """One platform, from its start to its stop; its parts run in the order of this file."""

    checkout: Checkout
    scratch: Path
    done: set[str] = field(default_factory=set)
    """The parts that have succeeded."""

    @contextmanager
    def part(self, name: str, *needs: str) -> Iterator[Checkout]:
        """Skips where a part whose result this one works with has not succeeded."""
        missing = [need for need in needs if need not in self.done]
        if missing:
            pytest.skip(f"works with the result of: {', '.join(missing)}, which did not succeed")
        yield self.checkout
        self.done.add(name)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """A checkout whose stack the first part starts; whatever happens, no process of it is left."""
    scratch = tmp_path_factory.mktemp("story")
    with platform_in(scratch / "checkout") as checkout:
        yield Story(checkout, scratch)


def test_every_section_of_the_pages_is_run() -> None:
    known = {"Start", "Photographs", "Configure", "Watch", "Scale out", "Upgrade", "Back up", "Stop"}
    assert OPERATOR.keys() == known
    assert ENGINEER.keys() == {"Train a style", "Look at it", "Compare", "Publish", "Keep styles trained"}


def test_photographs_become_a_dataset(story: Story) -> None:
    with story.part("dataset") as checkout:
        start_and_ingest(checkout, story.scratch)


def test_a_style_becomes_a_version(story: Story) -> None:
    with story.part("version 1", "dataset") as checkout:
        for block in ENGINEER["Train a style"] + ENGINEER["Look at it"]:
            checkout.run(block)
        check_run_and_version(checkout)


def test_a_sweep_on_two_workers(story: Story) -> None:
    with story.part("sweep", "version 1") as checkout:
        sweep(checkout, ENGINEER["Compare"])


def test_a_poisoned_style_fails_alone(story: Story) -> None:
    with story.part("poisoned sweep", "dataset") as checkout:
        sweep_with_a_poisoned_style(checkout)


def test_the_champion_is_published(story: Story) -> None:
    with story.part("publication", "version 1") as checkout:
        publish_first(checkout)


def test_the_index_points_back(story: Story) -> None:
    with story.part("rollback", "sweep", "publication") as checkout:
        roll_back(checkout, ENGINEER["Publish"][-1])


def test_retraining_twice_trains_once(story: Story) -> None:
    with story.part("retraining", "dataset") as checkout:
        retrain(checkout, ENGINEER["Keep styles trained"])


def test_what_changed_is_retrained(story: Story) -> None:
    with story.part("changed styles", "retraining") as checkout:
        retrain_what_changed(checkout)


def test_the_stack_is_configured(story: Story) -> None:
    with story.part("configuration", "dataset") as checkout:
        for block in OPERATOR["Configure"]:
            checkout.run(block)


def test_the_stack_is_watched(story: Story) -> None:
    with story.part("watched", "dataset") as checkout:
        for block in OPERATOR["Watch"]:
            checkout.run(block)
        (kept,) = Prefect(checkout.environment).runs("keep-house")
        assert kept["state"]["message"].startswith("would remove "), kept["state"]


def test_one_more_worker(story: Story) -> None:
    with story.part("visitor", "dataset") as checkout:
        visit(checkout, OPERATOR["Scale out"])


def test_an_interrupted_training_goes_on(story: Story) -> None:
    with story.part("resumed training", "dataset") as checkout:
        interrupt_a_training(checkout)


def test_an_upgrade_and_a_backup_keep_what_there_is(story: Story) -> None:
    with story.part("backup", "rollback") as checkout:
        for heading in ("Upgrade", "Back up"):
            for block in OPERATOR[heading]:
                checkout.run(block)
        assert MLflow(checkout.environment).alias("wave", "champion") == 2, "what was kept is there again"


def test_a_stopped_stack_is_gone(story: Story) -> None:
    with story.part("stop", "dataset") as checkout:
        for block in OPERATOR["Stop"]:
            checkout.run(block)
        assert not (checkout.folder / ".stack").exists()
        assert not descendants(checkout.folder / ".stack")


def run_of(checkout: Checkout, deployment: str, **parameters: Any) -> dict[str, Any]:
    """Start a deployment and wait; the flow run that came of it, whatever its end."""
    prefect, flow = Prefect(checkout.environment), deployment.partition("/")[0]
    before = len(prefect.runs(flow))
    given = shlex.quote(json.dumps(parameters))
    shown = checkout.run(f"prefect deployment run {deployment} --params {given} --watch || true", timeout=900)
    runs = prefect.runs(flow)
    assert len(runs) == before + 1, shown
    return runs[-1]


def sweep(checkout: Checkout, blocks: list[str]) -> None:
    """2 styles x 3 alphas on two workers: all six registered, the workers at work at once, the report complete."""
    for block in blocks:
        checkout.run(block, timeout=900)
    prefect, mlflow = Prefect(checkout.environment), MLflow(checkout.environment)
    (whole,) = prefect.runs("sweep-styles")
    assert whole["state"]["message"] == "6 of 6 registered"
    names = [f"{style}-{percent}" for style in ("wave", "mosaic") for percent in (30, 40, 50)]
    assert [mlflow.versions(name) for name in names] == [1] * 6
    trained = [run for run in prefect.runs("train-style") if "already registered" not in run["state"]["message"]]
    assert len(trained) == 7, "one of them before the sweep"
    assert sum(overlap(*pair) > 10 for pair in combinations(trained, 2)) >= 2
    report = prefect.artifacts(whole)["sweep"]
    for name in names:
        assert f"| {name} | small | 0.{name[-2]} |" in report
    assert "Missing" not in report
    parent = mlflow.run(mlflow.version("mosaic-30", 1)["run_id"])["tags"]["mlflow.parentRunId"]
    assert {"sweep.json", "sweep.md", "gallery.png", "frontier.html", "frontier.csv"} <= set(mlflow.files(parent, ""))


def sweep_with_a_poisoned_style(checkout: Checkout) -> None:
    """It fails alone, with a message that says what is wrong with it."""
    poison = checkout.folder / "poison.jpg"
    poison.write_text("not an image")
    run = run_of(checkout, "sweep-styles/default", styles=[str(poison), "builtin:mosaic"], alphas=[0.3], **SHORT)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert run["state"]["message"].startswith(f"1 of 2 registered; missing: poison small 0.3: style {poison} ")
    failed = [run for run in Prefect(checkout.environment).runs("train-style") if run["state"]["type"] == "FAILED"]
    assert len(failed) == 1
    assert "is not an image that can be read" in failed[0]["state"]["message"]


def roll_back(checkout: Checkout, block: str) -> None:
    """A second version published, then the index points to the first again, and nothing is gone."""
    checkout.run(block)
    index = checkout.run("tinystyle published wave --json")
    (style,) = json.loads(index)["styles"]
    assert (style["current"], [version["version"] for version in style["versions"]]) == (1, [2, 1])
    with s3(checkout.environment) as store:
        assert store.list_objects_v2(Bucket="models", Prefix="wave/2/")["KeyCount"] > 4


def retrain(checkout: Checkout, blocks: list[str]) -> None:
    """Twice with nothing changed between: the second trains nothing."""
    for block in blocks:
        checkout.run(block, timeout=900)
    first, second = Prefect(checkout.environment).runs("retrain-styles")
    assert first["state"]["message"] == "2 of 2 networks trained, 2 judged"
    assert second["state"]["message"] == "nothing to do: all 2 networks are trained and judged"
    mlflow = MLflow(checkout.environment)
    assert (mlflow.versions("sea"), mlflow.versions("tiles")) == (1, 1)
    assert mlflow.alias("sea", "candidate") == 1
    for style in ("sea", "tiles"):
        assert mlflow.version(style, 1)["tags"]["decision.gates"].startswith(("accepted", "refused: "))


def retrain_what_changed(checkout: Checkout) -> None:
    """One changed style image retrains that one; a worse model is not promoted, though its entry asks for it."""
    image, catalog = checkout.folder / "cloth.png", checkout.folder / "changed.yaml"
    synthetic_photo(1, 256, 256).save(image)

    coarse = {"formats": ["mlmodel-16"], "budget_bytes": 30000}  # a worse network would miss what 8 bits are asked

    def again(**changes: Any) -> str:
        styles = [
            {"name": "sea", "image": "builtin:wave"},
            {"name": "cloth", "image": str(image), "margin": 0, **coarse, **changes},
        ]
        catalog.write_text(yaml.safe_dump({"defaults": SHORT, "styles": styles}))
        return str(run_of(checkout, "retrain-styles/default", catalog=str(catalog))["state"]["message"])

    mlflow = MLflow(checkout.environment)
    assert again() == "1 of 2 networks trained, 1 judged"
    synthetic_photo(2, 256, 256).save(image)
    assert again() == "1 of 2 networks trained, 1 judged"
    assert (mlflow.versions("sea"), mlflow.versions("cloth")) == (1, 2)
    checkout.run("tinystyle promote cloth 2")
    assert again(steps=10, auto_promote=True) == "1 of 2 networks trained, 1 judged"
    assert mlflow.version("cloth", 3)["tags"]["decision.gates"].startswith(("refused: content", "refused: paint"))
    assert mlflow.alias("cloth", "champion") == 2


def visit(checkout: Checkout, blocks: list[str]) -> None:
    """One more worker comes, and is known to the server."""
    (block,) = blocks
    shown = checkout.run(block)
    assert "Worker 'visitor' started" in shown


def interrupt_a_training(checkout: Checkout) -> None:
    """The workers are killed in the middle of one: started again, it goes on from its checkpoint, and is registered."""
    parameters = {**SHORT, "style": "builtin:wave", "name": "resumed", "steps": 300, "alpha": 0.3}
    before = checkpoints(checkout)
    checkout.run("prefect deployment run train-style/default " + " ".join(f"-p {k}={v}" for k, v in parameters.items()))
    deadline = time.monotonic() + 120
    while checkpoints(checkout) == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for name in ("worker-1", "worker-2"):
        for process in descendants(checkout.folder / ".stack", name):
            process.send_signal(signal.SIGKILL)
    checkout.run("make stack")
    run = run_of(checkout, "train-style/default", **parameters)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert "resuming from step" in Prefect(checkout.environment).logs(run)
    mlflow = MLflow(checkout.environment)
    assert mlflow.steps(mlflow.version("resumed", 1)["run_id"], "train/total")[-1] == 300


def checkpoints(checkout: Checkout) -> set[str]:
    """Keys of the checkpoints in the bucket."""
    with s3(checkout.environment) as store:
        held = store.list_objects_v2(Bucket="checkpoints").get("Contents", [])
    return {one["Key"] for one in held if one["Key"].endswith("last.ckpt")}

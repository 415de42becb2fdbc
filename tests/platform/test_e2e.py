"""All of the platform in one story: every command of the pages in docs/, and what a day may bring besides."""

from __future__ import annotations

import json
import shlex
import signal
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.processes import descendants
from tests.conftest import synthetic_photo
from tests.platform.conftest import platform_in
from tests.platform.pages import Checkout, commands
from tests.platform.servers import MLflow, Prefect, overlap, s3
from tests.platform.test_smoke import check_run_and_version, publish_first, start_and_ingest

pytestmark = [pytest.mark.platform, pytest.mark.e2e, pytest.mark.timeout(3000)]
SHORT = {"photos": "s3://coco/datasets/photos", "steps": 100, "size": 64, "perceptual": "efficientnet-lite0"}


def test_every_command_of_the_pages_and_what_a_day_brings(tmp_path: Path) -> None:
    operator, engineer = commands("operator.md"), commands("engineer.md")
    with platform_in(tmp_path / "checkout") as checkout:
        start_and_ingest(checkout, tmp_path)
        for block in engineer["Train a style"] + engineer["Look at it"]:
            checkout.run(block)
        check_run_and_version(checkout)
        sweep(checkout, engineer["Compare"])
        sweep_with_a_poisoned_style(checkout, tmp_path)
        publish_first(checkout)
        roll_back(checkout, engineer["Publish"][-1])
        retrain(checkout, engineer["Keep styles trained"])
        retrain_what_changed(checkout, tmp_path)
        for block in operator["Configure"]:
            checkout.run(block)
        visit(checkout, operator["Scale out"])
        interrupt_a_training(checkout)
        for heading in ("Upgrade", "Back up"):
            for block in operator[heading]:
                checkout.run(block)
        assert MLflow(checkout.environment).alias("wave", "champion") == 2, "what was kept is there again"
        for block in operator["Stop"]:
            checkout.run(block)
        assert not (checkout.folder / ".stack").exists()
        assert not descendants(checkout.folder / ".stack")
    known = {"Start", "Photographs", "Configure", "Scale out", "Upgrade", "Back up", "Stop"}
    assert operator.keys() == known, "every section of the page was run"
    assert engineer.keys() == {"Train a style", "Look at it", "Compare", "Publish", "Keep styles trained"}


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
    assert (mlflow.versions("wave"), mlflow.versions("mosaic")) == (3, 3)
    trained = [run for run in prefect.runs("train-style") if "trained before" not in run["state"]["message"]]
    assert len(trained) == 6, "one of them before the sweep"
    assert sum(overlap(*pair) > 10 for pair in combinations(trained, 2)) >= 2
    report = prefect.artifacts(whole)["sweep"]
    for alpha in (0.3, 0.4, 0.5):
        assert f"| wave | small | {alpha} |" in report
        assert f"| mosaic | small | {alpha} |" in report
    assert "Missing" not in report
    parent = mlflow.run(mlflow.version("mosaic", 1)["run_id"])["tags"]["mlflow.parentRunId"]
    assert {"sweep.json", "sweep.md", "gallery.png", "frontier.html", "frontier.csv"} <= set(mlflow.files(parent, ""))


def sweep_with_a_poisoned_style(checkout: Checkout, scratch: Path) -> None:
    """It fails alone, with a message that says what is wrong with it."""
    poison = scratch / "poison.jpg"
    poison.write_text("not an image")
    run = run_of(checkout, "sweep-styles/default", styles=[str(poison), "builtin:mosaic"], alphas=[0.3], **SHORT)
    assert run["state"]["type"] == "COMPLETED"
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


def retrain_what_changed(checkout: Checkout, scratch: Path) -> None:
    """One changed style image retrains that one; a worse model is not promoted, though its entry asks for it."""
    image, catalogue = scratch / "cloth.png", scratch / "catalogue.yaml"
    synthetic_photo(1, 256, 256).save(image)

    coarse = {"formats": ["mlmodel-16"], "budget_bytes": 30000}  # a worse network would miss what 8 bits are asked

    def again(**changes: Any) -> str:
        styles = [
            {"name": "sea", "image": "builtin:wave"},
            {"name": "cloth", "image": str(image), "margin": 0, **coarse, **changes},
        ]
        catalogue.write_text(yaml.safe_dump({"defaults": SHORT, "styles": styles}))
        return str(run_of(checkout, "retrain-styles/default", catalogue=str(catalogue))["state"]["message"])

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
    assert "going on from step" in Prefect(checkout.environment).logs(run)
    mlflow = MLflow(checkout.environment)
    assert mlflow.steps(mlflow.version("resumed", 1)["run_id"], "total")[-1] == 300


def checkpoints(checkout: Checkout) -> set[str]:
    """Keys of the checkpoints in the bucket."""
    with s3(checkout.environment) as store:
        held = store.list_objects_v2(Bucket="checkpoints").get("Contents", [])
    return {one["Key"] for one in held if one["Key"].endswith("last.ckpt")}

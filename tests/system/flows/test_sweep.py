"""sweep-styles: one failure is no affair of the others, and the report says what is missing."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from PIL import Image

from flows.sweep_styles import sweep_styles
from tests.support.flows import QUIET, Platform
from tinystyle.tracking import registry

pytestmark = [pytest.mark.platform, *QUIET]


def sweep(platform: Platform, styles: list[str], **changes: Any) -> Any:
    given = {**platform.parameters, "alphas": [0.1], "spread": False}
    del given["alpha"]
    return sweep_styles(styles=styles, return_state=True, **{**given, **changes})


def test_a_poisoned_style_fails_alone(platform: Platform, tmp_path: Path) -> None:
    poison = tmp_path / "poison.jpg"
    poison.write_text("not an image")
    # At 16 bits: a network of so few steps may miss what 8 bits are asked.
    state = sweep(platform, [str(poison), "builtin:mosaic"], steps=6, files=["mlmodel-16", "onnx-16"])
    assert state.is_completed(), state.message
    assert state.message.startswith("1 of 2 registered; missing: poison small 0.1: style ")
    report = state.result()
    bad, good = report["rows"]
    assert (bad["style"], bad["state"], bad["version"], bad["bytes"]) == ("poison", "Failed", None, None)
    (version,) = registry.versions("mosaic")
    assert (good["state"], good["version"], good["bytes"]) == ("Completed", 1, int(version.tags["bytes"]))
    assert good["paint4"] == float(version.tags["paint4"])

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    assert client.get_run(version.run_id).data.tags["mlflow.parentRunId"] == report["run_id"]
    client.download_artifacts(report["run_id"], "", str(tmp_path))
    assert json.loads((tmp_path / "sweep.json").read_text()) == report
    assert bad["files"] == []
    assert [(file["name"], file["runtime"]) for file in good["files"]] == [
        ("mosaic-16.mlmodel", "Core ML"),
        ("mosaic-16.onnx", "ONNX Runtime"),
    ]
    page = (tmp_path / "sweep.md").read_text()
    assert "| mosaic-16.onnx | ONNX Runtime (Android, Windows, Linux, macOS, iOS, web) |" in page
    assert "Missing, 1 of 2" in page
    with Image.open(tmp_path / "gallery.png") as sheet:
        assert sheet.width == 1600
    page = (tmp_path / "frontier.html").read_text()
    assert "mosaic" in page
    assert "poison" not in page
    rows = list(csv.DictReader((tmp_path / "frontier.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["identity", "color match", "small 0.1"]
    assert float(rows[-1]["paint4"]) > 0


@pytest.mark.parametrize(
    ("styles", "changes", "sentence"),
    [
        ([], {}, "`styles`: give at least one"),
        (["builtin:wave", "elsewhere/wave.jpg"], {}, "two networks would both be called wave"),
        (["builtin:wave"], {"alphas": [9]}, "`alpha` 9.0: input should be less than or equal to 4"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_whole(
    platform: Platform, styles: list[str], changes: dict[str, Any], sentence: str
) -> None:
    state = sweep(platform, styles, **changes)
    assert state.is_failed()
    assert sentence in state.message


def test_without_the_deployment_it_says_how_to_make_it(platform: Platform) -> None:
    state = sweep(platform, ["builtin:wave"], spread=True)
    assert state.is_failed()
    assert state.message == "there is no deployment train-style/default; make it with `make deploy`"
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    newest, *_ = client.search_runs([client.get_experiment_by_name("sweeps").experiment_id])
    assert newest.info.status == "KILLED"

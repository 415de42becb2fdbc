"""A grid from training to page: what is measured, what is skipped, and what does not stop the rest."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.frontier import micro_options
from tinystyle.model_file import load_model
from tinystyle.training.frontier import experiment, grid
from tinystyle.training.frontier.experiment import Frontier, run_frontier
from tinystyle.training.frontier.grid import StoppedError
from tinystyle.training.record import RunRecord, State


def unexpected(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was to be skipped")


def ending(state: State, message: str) -> Callable[..., RunRecord]:
    """A `launch` of which the run ends so."""

    def launch(record: RunRecord, folder: Path) -> RunRecord:
        record.update(folder, state=state, message=message, step=2)
        return record

    return launch


@pytest.mark.slow
def test_every_network_is_measured_and_what_cannot_be_built_says_so(made: Frontier) -> None:
    rows = {row.name: row for row in made.rows}
    assert list(rows) == ["identity", "color match", "small 0.1", "small 0.2", "small 0.02"]
    assert (rows["identity"].content, rows["identity"].paint3, rows["identity"].score) == (0, 1, 4)
    for name in ("small 0.1", "small 0.2"):
        row = rows[name]
        model = load_model(Path(str(row.folder)) / "model.safetensors")
        assert row.weights == sum(weight.numel() for weight in model.network.parameters())
        assert None not in (row.score, row.content, row.paint3, row.paint4, row.worst_photo, row.checkerboard)
        assert row.second3 is None, "the second network is the one that judges"
        assert (row.steps, row.crop, row.batch_size, row.perceptual) == (3, 48, 2, "efficientnet-lite0")
        assert RunRecord.read(Path(str(row.folder))).config.init_from == "random", "no network has a start of its own"
        assert (row.bytes or 0) > (row.weights or 0)
        assert (row.latency_ms or 0) > 0
    assert (rows["small 0.1"].macs or 0) < (rows["small 0.2"].macs or 0)
    assert rows["small 0.02"].state == "impossible"
    assert "without filters" in rows["small 0.02"].message
    assert made.failed == []


@pytest.mark.slow
def test_all_files_are_there(made: Frontier) -> None:
    out = made.page.parent
    with made.csv.open(newline="") as file:
        lines = {line["name"]: line for line in csv.DictReader(file)}
    assert list(lines) == [row.name for row in made.rows]
    assert float(lines["small 0.1"]["score"]) == pytest.approx(
        next(row.score for row in made.rows if row.name == "small 0.1")
    )
    assert lines["small 0.1"]["front_weights"] == "1", "nothing is cheaper"
    assert {path.name for path in (out / "plots").iterdir()} == {
        f"mosaic-{cost}.png" for cost in ("weights", "bytes", "macs", "latency")
    }
    pictures = ["photo", "mosaic-color-match", "mosaic-small-0.1", "mosaic-small-0.2"]
    expected = {f"{stem}-{number}.jpg" for stem in pictures for number in (1, 2)} | {"style-mosaic.jpg"}
    assert {path.name for path in (out / "gallery").iterdir()} == expected
    for path in out.glob("*/*.*g"):
        with Image.open(path) as image:
            image.load()


@pytest.mark.slow
def test_a_second_sitting_trains_and_measures_nothing_again(
    made: Frontier, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made.page.parent
    lines = (out / "frontier.jsonl").read_text()
    monkeypatch.setattr(grid, "launch", unexpected)
    monkeypatch.setattr(experiment, "run_row", unexpected)
    again = run_frontier(micro_options(dataset, out))
    assert (out / "frontier.jsonl").read_text() == lines
    strip = {"latency_ms": None}
    assert [row.model_copy(update=strip) for row in again.rows] == [row.model_copy(update=strip) for row in made.rows]


@pytest.mark.slow
def test_a_collapsed_run_is_a_row_and_is_not_tried_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = micro_options(dataset, tmp_path, alphas=[0.1])
    message = "the network has collapsed by step 2: it is all black"
    monkeypatch.setattr(grid, "launch", ending("collapsed", f"{message}; try a lower --content-target"))
    (row,) = [row for row in run_frontier(options).rows if row.architecture]
    assert (row.state, row.message, row.score, row.latency_ms) == ("collapsed", message, None, None)
    assert (row.weights or 0) > 2000
    monkeypatch.setattr(grid, "launch", unexpected)
    (again,) = [row for row in run_frontier(options).rows if row.architecture]
    assert again == row
    record = RunRecord.read(tmp_path / "runs" / "mosaic-small-0.1")
    assert (record.state, record.message) == ("collapsed", message), "as the run left it"
    assert message in (tmp_path / "frontier.html").read_text()


@pytest.mark.slow
def test_a_failed_run_does_not_stop_the_rest_and_is_tried_again(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = micro_options(dataset, tmp_path, alphas=[0.1])
    monkeypatch.setattr(grid, "launch", ending("failed", "a training process was killed"))
    found = run_frontier(options)
    assert [row.message for row in found.failed] == ["a training process was killed"]
    keys = [json.loads(line)["name"] for line in (tmp_path / "frontier.jsonl").read_text().splitlines()]
    assert keys == ["identity", "color match"]
    monkeypatch.setattr(grid, "launch", ending("failed", "it was killed again"))
    assert [row.message for row in run_frontier(options).failed] == ["it was killed again"]


def test_a_stopped_run_ends_the_command_and_the_same_call_resumes(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "launch", ending("stopped", "stopped at step 2 of 3"))
    with pytest.raises(StoppedError, match=r"mosaic-small-0\.1: stopped at step 2 of 3"):
        run_frontier(micro_options(dataset, tmp_path))
    assert not (tmp_path / "frontier.html").exists()

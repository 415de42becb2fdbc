"""`tinystyle frontier` as a user meets it: its output, a stop, and mistakes."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.frontier import ending
from tinystyle.training.frontier import grid
from tinystyle.training.frontier.experiment import Frontier

MICRO = (
    "frontier --photos {dataset} --out {out} --size 48 --batch-size 2 --steps 3 --perceptual efficientnet-lite0 "
    "--architecture small"
)
TRAIN = MICRO + " --style builtin:mosaic --alpha 0.1"
MISTAKES = {  # command line -> what the one sentence says
    TRAIN + " --architecture unet": "--architecture unet: unknown architecture .* choose one of johnson, small",
    TRAIN + " --alpha 0": "--alpha 0.0: input should be greater than 0",
    TRAIN + " --alpha nan": "--alpha nan: input should be",
    TRAIN + " --alpha 0.1": "--alpha 0.1 is given twice; give each once",
    TRAIN + " --steps 0": "--steps 0: input should be greater than or equal to 1",
    TRAIN + " --style {bad}/none.png": r"style {bad}/none.png cannot be read \(no such file\); give an image",
    TRAIN + " --style builtin:none": "unknown built-in style 'none'; choose one of",
    TRAIN + " --style {bad}/mosaic.png": r"two images have the same name \(mosaic, mosaic\); rename one",
    TRAIN + " --perceptual alexnet": "--perceptual alexnet: unknown .* choose one of efficientnet-lite0, narrow, vgg16",
    TRAIN + " --perceptual-weights {bad}/none.pth": "no weights for .* {bad}/none.pth cannot be read",
    TRAIN + " --photos {bad}/none": "{bad}/none: no such file or folder",
    TRAIN + " --size 128": (
        "{dataset} holds photos with a short side of 64 pixels, 128 are needed; ingest with --size 128"
    ),
    TRAIN + " --judge-size 128": (
        "{dataset} holds photos with a short side of 64 pixels, 128 are needed; give a smaller --judge-size"
    ),
    TRAIN + " --out {bad}/file": r"{bad}/file cannot be written to \(.*\); give another folder",
    MICRO: "--style is missing; give at least one, or finished runs with --collect",
    MICRO + " --style builtin:mosaic --alpha 0.01": "no network of the grid can be built: alpha 0.01 leaves a layer",
    MICRO + " --collect {bad}": "{bad} holds no run that has ended",
    MICRO + " --collect {bad}/none": "{bad}/none: no such folder; give the folder of a run",
    MICRO + " --collect {runs} --style {bad}/none.png": "style {bad}/none.png cannot be read",
}  # fmt: skip


@pytest.fixture(scope="module")
def places(dataset: Path, micro_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Good and bad things to name on a command line."""
    bad = tmp_path_factory.mktemp("bad")
    (bad / "file").write_text("no folder")
    return {"dataset": str(dataset), "runs": str(micro_run), "bad": str(bad)}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_sentence_before_any_training(
    line: str, run: Run, places: dict[str, str], tmp_path: Path
) -> None:
    names = {**places, "out": str(tmp_path / "out")}
    code, output, error = run(*shlex.split(line.format_map(names)))
    assert (code, output, error.count("\n")) == (2, "", 1), error
    assert error.startswith("Error: ")
    assert re.search(MISTAKES[line].format_map(names), error), error
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_another_run_in_the_way_is_named_before_any_training(
    run: Run, places: dict[str, str], made: Frontier, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "mosaic-small-0.1").symlink_to(made.page.parent / "runs" / "mosaic-small-0.1")
    line = (TRAIN + " --steps 5").format_map({**places, "out": str(tmp_path)})
    code, _, error = run(*shlex.split(line))
    assert code == 2
    assert "holds another run (optimizer.steps was 3, now 5); choose another --out, or remove " in error
    assert error.rstrip().endswith("runs/mosaic-small-0.1")


@pytest.mark.slow
def test_a_collected_run_is_judged_anew_by_other_photos_and_printed(
    run: Run, places: dict[str, str], made: Frontier, tmp_path: Path
) -> None:
    line = MICRO.format_map({**places, "out": str(tmp_path)}) + " --max-photos 1 --gallery-photos 1"
    code, output, error = run(*shlex.split(line), "--collect", made.page.parent / "runs" / "mosaic-small-0.1")
    assert code == 0, error
    for text in ("mosaic", "identity", "color match", "small 0.1", "2,340"):
        assert text in output
    assert f"{tmp_path / 'frontier.html'}: plots, table and gallery; {tmp_path / 'frontier.csv'}: all metrics" in output
    assert "mosaic, small 0.1: score " in error
    with (tmp_path / "frontier.csv").open(newline="") as file:
        scores = {line["name"]: float(line["score"]) for line in csv.DictReader(file)}
    before = {row.name: row.score for row in made.rows}
    assert list(scores) == ["identity", "color match", "small 0.1"]
    assert scores["small 0.1"] != before["small 0.1"]
    assert len(list((tmp_path / "gallery").glob("photo-*.jpg"))) == 1


def test_a_stop_says_how_to_resume(
    run: Run, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "launch", ending("stopped", "stopped at step 2 of 3"))
    line = TRAIN.format_map({**places, "out": str(tmp_path)})
    code, output, error = run(*shlex.split(line))
    assert (code, output) == (75, "")
    assert error.splitlines()[-1] == f"mosaic-small-0.1: stopped at step 2 of 3; resume with: tinystyle {line}"

"""Finished runs, found in folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tinystyle import styles
from tinystyle.errors import UserError
from tinystyle.training.frontier.collect import collect
from tinystyle.training.record import RunRecord


@pytest.fixture
def runs(micro_run: Path, tmp_path: Path) -> Path:
    """A folder of a finished run, a collapsed one and one that is still running."""
    folder = tmp_path / "runs"
    for name, state in (("done", "completed"), ("black", "collapsed"), ("half", "running")):
        (folder / name).mkdir(parents=True)
        for file in ("run.json", "model.safetensors"):
            shutil.copy(micro_run / file, folder / name)
        record = RunRecord.read(folder / name)
        record.lineage["key"] = name
        record.update(folder / name, state=state)
    return folder


def test_ended_runs_are_found_and_the_others_named(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [run.folder.name for run in collect([runs], [])] == ["black", "done"]
    assert caplog.messages == [f"{runs / 'half'} is left out: it is running at step 20 of 20"]


def test_the_folder_of_a_run_and_one_that_holds_it_are_one_run(runs: Path) -> None:
    found = collect([runs / "done", runs], [])
    assert sorted(run.folder.name for run in found) == ["black", "done"]
    assert {run.image for run in found} == {"builtin:mosaic"}


def test_a_style_image_that_has_moved_is_asked_for_and_known_by_its_pixels(runs: Path, tmp_path: Path) -> None:
    image = tmp_path / "moved.png"
    styles.draw_style("wave", 128).save(image)
    record = RunRecord.read(runs / "done")
    record.config = record.config.model_copy(update={"style": str(tmp_path / "gone.png")})
    record.lineage["style"] = styles.Style.load(str(image)).sha256
    record.write(runs / "done")
    with pytest.raises(UserError, match=r"done .*gone.png"):
        collect([runs / "done"], [])
    (found,) = collect([runs / "done"], [str(image)])
    assert found.image == str(image)
    record.config = record.config.model_copy(update={"style": "builtin:mosaic"})
    record.write(runs / "done")
    with pytest.raises(UserError, match=r"builtin:mosaic, which has changed"):
        collect([runs / "done"], [])


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run that has ended"):
        collect([tmp_path], [])
    with pytest.raises(UserError, match="no such folder"):
        collect([tmp_path / "none"], [])

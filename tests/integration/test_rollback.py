"""A run that collapses in truth: its only aim is smoothness, so that its output becomes flat, at any learning rate."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.test_processes import command
from tinystyle import cli
from tinystyle.training import launch
from tinystyle.training.record import RunRecord

pytestmark = pytest.mark.slow
CHECKPOINT = 60  # within COLLAPSE_GRACE_STEPS; the next one is not


def rates(folder: Path) -> dict[int, float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["learning_rate"] for line in lines}


def test_a_collapse_stops_or_rolls_back(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    options = ("--style-weight", "0", "--content-weight", "0", "--tv-weight", "100", "--saturation-weight", "0")
    options += ("--learning-rate", "1", "--size", "32", "--batch-size", "1", "--checkpoint-every", str(CHECKPOINT))

    def train(on_collapse: str) -> tuple[int, list[str]]:
        arguments = command(dataset, out, *options, "--on-collapse", on_collapse, steps=130)
        monkeypatch.setattr(sys, "argv", arguments[arguments.index("train") - 1 :])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        _, errors = capfd.readouterr()
        assert "Traceback" not in errors
        return int(ended.value.code or 0), [line for line in errors.splitlines() if "collapsed" in line]

    sentence = "the network has collapsed by step 120: "
    code, said = train("stop")
    assert code == 1
    assert [line.startswith(f"Error: {sentence}") for line in said] == [True]
    record = RunRecord.read(out)
    assert (record.state, record.step, record.rate_scale) == ("collapsed", 120, 1)
    assert not (out / "model.safetensors").exists()
    full = rates(out)

    # The same command, now to roll back: from the checkpoint at step 60, at half the rate, which is no cure here.
    monkeypatch.setattr(launch, "MAX_ROLLBACKS", 1)
    code, said = train("rollback")
    assert code == 1
    assert len(said) == 2
    assert said[0].startswith(sentence)
    assert said[0].endswith("back to the last checkpoint at 0.5 of the learning rate")
    assert said[1].startswith(f"Error: {sentence}")
    assert said[1].endswith("after 1 rollbacks; try a lower --learning-rate")
    halved = rates(out)
    assert halved.keys() == full.keys() == set(range(1, 121))
    # The optimizer's state holds the rate of the step that follows it.
    assert [halved[step] for step in range(1, CHECKPOINT + 1)] == [full[step] for step in range(1, CHECKPOINT + 1)]
    for step in range(CHECKPOINT + 2, 121):
        assert halved[step] == pytest.approx(full[step] / 2)

    resumed = launch.prepare(RunRecord.read(out).config, out, resume=True)
    assert (resumed.state, resumed.rate_scale) == ("running", 0.5)
    assert launch.prepare(resumed.config, out, resume=False).rate_scale == 1

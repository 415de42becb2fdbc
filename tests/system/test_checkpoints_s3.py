"""Checkpoints in an object store: a machine that is lost costs the steps since the last one, no more."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.runs import assert_all_gone, family, micro_command, micro_config, start, wait_for_step
from tests.support.servers import ObjectStore
from tinystyle.data import storage
from tinystyle.model_file import load_model
from tinystyle.training.launch import prepare
from tinystyle.training.record import RunRecord
from tinystyle.training.runner import fit

pytestmark = pytest.mark.long
STEPS = 60


def test_killed_it_goes_on_from_the_store_on_another_machine(
    dataset: Path, object_store: ObjectStore, tmp_path: Path
) -> None:
    place = f"s3://{object_store.bucket}/runs/mosaic"
    out = tmp_path / "out"
    process = start(micro_command(dataset, out, "--checkpoints", place, steps=STEPS))
    wait_for_step(process, out, 25)
    members = family(process)
    descendants = members["command"].children(recursive=True)
    members["command"].send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert_all_gone(descendants)
    assert not [*out.glob("*.ckpt")]
    kept = load_model(f"{place}/last.ckpt")
    assert RunRecord.read(place).step >= 20
    shutil.rmtree(out)  # with the machine

    record = prepare(micro_config(dataset, steps=STEPS, checkpoint_every=20, checkpoints=place), out, resume=True)
    assert (record.state, record.step >= 20) == ("running", True)
    assert fit(out, show_progress=False).state == "completed"
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["step"]
    assert first > 20, "not from the beginning"

    reference = tmp_path / "uninterrupted"
    prepare(micro_config(dataset, steps=STEPS), reference, resume=True)
    fit(reference, show_progress=False)
    assert (out / "model.safetensors").read_bytes() == (reference / "model.safetensors").read_bytes()
    assert storage.exists(f"{place}/best.ckpt")
    assert kept.config == load_model(out / "model.safetensors").config

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import micro_config
from tinystyle.config import RunConfig
from tinystyle.training import lineage
from tinystyle.training.lineage import lineage_of

HASHES = {
    "dataset_sha256": "d" * 64,
    "style_sha256": "s" * 64,
    "perceptual_sha256": "p" * 64,
    "init_sha256": None,
}
CONFIG = micro_config(Path("/photos"))


def key(config: RunConfig = CONFIG, **hashes: str) -> str:
    return lineage_of(config, **{**HASHES, **hashes})["key"]  # type: ignore[arg-type]


def changed(part: str, **values: Any) -> RunConfig:
    return CONFIG.model_copy(update={part: getattr(CONFIG, part).model_copy(update=values)})


def test_where_things_lie_and_how_the_run_executes_are_no_part_of_the_key() -> None:
    for same in (
        CONFIG.model_copy(update={"style": "/elsewhere/a.png", "photos": "s3://elsewhere"}),
        CONFIG.model_copy(update={"init_from": "/elsewhere/model.safetensors"}),
        changed("loss", perceptual_weights="/elsewhere/weights.pth"),
        changed("execution", devices=2, threads=4, checkpoint_every=7, checkpoints="s3://elsewhere", track=True),
    ):
        assert key(same) == key()


def test_the_styles_name_is_on_record() -> None:
    for style, name in (("builtin:mosaic", "mosaic"), ("s3://styles/starry night.v2.jpg", "starry night.v2")):
        assert lineage_of(CONFIG.model_copy(update={"style": style}), **HASHES)["style_name"] == name  # type: ignore[arg-type]


def test_everything_that_decides_the_weights_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key()]
    keys += [key(**{name: "0" * 64}) for name in HASHES]
    keys += [
        key(CONFIG.model_copy(update={"seed": 4})),
        key(CONFIG.model_copy(update={"precision": "bf16"})),
        key(changed("network", alpha=0.2)),
        key(changed("network", architecture="johnson")),
        key(changed("loss", style_size=97)),
        key(changed("loss", saturation_weight=0.5)),
        key(changed("data", batch_size=2)),
        key(changed("optimizer", learning_rate=1e-4)),
        key(changed("optimizer", steps=13)),
    ]
    monkeypatch.setattr(lineage, "TRAINING_REVISION", 1000)
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_the_key_is_the_same_on_every_machine() -> None:
    assert lineage.run_key({"a": "1", "b": "2"}) == lineage.run_key({"b": "2", "a": "1"}) == "0e09eeab5bdeab40"

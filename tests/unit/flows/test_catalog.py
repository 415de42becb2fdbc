"""The style catalog: YAML to networks, and keys that tell what is trained already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.catalog import Training, load_catalog, style_name
from tests.support.places import REPOSITORY
from tests.support.runs import micro_config
from tinystyle.errors import UserError
from tinystyle.training.launch import prepare
from tinystyle.training.resolve import run_keys

EXAMPLE = REPOSITORY / "infra" / "catalog.yaml"


def written(folder: Path, content: Any) -> str:
    path = folder / "catalog.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def test_the_example_loads_and_promotes_nothing_by_itself() -> None:
    entries = load_catalog(str(EXAMPLE)).styles
    assert [(entry.name, entry.enabled) for entry in entries] == [
        ("starry-sky", True),
        ("wave", True),
        ("mosaic", False),
    ]
    (training,) = entries[0].trainings
    run = training.run
    assert (run.style, run.network.architecture, run.network.alpha) == ("builtin:starry-sky", "small", 0.3)
    assert not any(entry.auto_promote for entry in entries)


def test_defaults_and_entries(tmp_path: Path) -> None:
    uri = written(
        tmp_path,
        {
            "defaults": {"steps": 100, "formats": ["mlmodel-8", "mlpackage-int4"]},
            "styles": [
                {"name": "sky", "image": "images/sky.jpg", "steps": 7, "alphas": [0.3, 1]},
                {"name": "wave", "image": "s3://bucket/wave.jpg"},
                {"name": "far", "image": "/images/far.jpg"},
            ],
        },
    )
    sky, wave, far = load_catalog(uri).styles
    assert [(t.name, t.run.network.alpha, t.run.optimizer.steps, t.run.style) for t in sky.trainings] == [
        ("sky-30", 0.3, 7, f"{tmp_path}/images/sky.jpg"),
        ("sky-100", 1.0, 7, f"{tmp_path}/images/sky.jpg"),
    ]
    assert [(t.name, t.run.optimizer.steps, t.run.style, t.files) for t in wave.trainings] == [
        ("wave", 100, "s3://bucket/wave.jpg", ["mlmodel-8", "mlpackage-int4"])
    ]
    assert far.trainings[0].run.style == "/images/far.jpg"
    assert far.trainings[0].run.optimizer.steps == 100


WAVE = {"name": "wave", "image": "builtin:wave"}
SKY = {"name": "sky", "image": "builtin:starry-sky"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("styles: [", "is not valid YAML: "),
        ("- wave", "must hold a list `styles`"),
        ({"styles": [], "style": 1}, "must hold a list `styles`, may hold `defaults`, and nothing else"),
        ({"styles": [], "defaults": [1]}, "defaults must be a mapping of values"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        load_catalog(written(tmp_path, content))
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "name", "sentence"),
    [
        ("wave", "style 1", "an entry must be a mapping with name and image"),
        ({"name": "wave"}, "wave", "`image` is missing"),
        ({"image": "builtin:wave"}, "style 1", "`name` is missing"),
        ({**WAVE, "alpha": 1}, "wave", "`alpha` 1: extra inputs are not permitted"),
        ({**WAVE, "alphas": [5]}, "wave", "`alpha` 5.0: input should be less than or equal to 4"),
        ({**WAVE, "formats": ["onnx"]}, "wave", "`files` ['onnx']: there is no file 'onnx' to export; choose from"),
        ({**WAVE, "name": "The Wave"}, "The Wave", "`name` The Wave: string should match pattern"),
        ({**WAVE, "name": "a\n" * 99}, "a " * 21 + "...a" + " a" * 7, "`name` a"),
        ({**WAVE, "name": ["wave"]}, "['wave']", "`name` ['wave']: input should be a valid string"),
        ({**WAVE, "alphas": [0.3, 0.301]}, "wave", "the name wave-30 is used twice"),
    ],
)
def test_an_invalid_entry_is_refused_by_itself(tmp_path: Path, bad: Any, name: str, sentence: str) -> None:
    catalog = load_catalog(written(tmp_path, {"styles": [bad, SKY]}))
    assert [entry.name for entry in catalog.styles] == ["sky"]
    assert catalog.refused.keys() == {name}
    assert catalog.refused[name].startswith(sentence)
    assert "\n" not in catalog.refused[name]


def test_entries_that_share_a_name_are_all_refused(tmp_path: Path) -> None:
    catalog = load_catalog(written(tmp_path, {"styles": [WAVE, {**SKY, "name": "wave"}, SKY]}))
    assert [entry.name for entry in catalog.styles] == ["sky"]
    assert catalog.refused == {"wave": "the name wave is used twice; each network needs a unique name"}


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_catalog(str(tmp_path / "none.yaml"))


def test_a_style_is_named_by_its_image() -> None:
    assert style_name("s3://bucket/Starry_Night (1889).jpg") == "starry-night-1889"
    assert style_name("builtin:wave") == "wave"
    with pytest.raises(UserError, match="no name follows"):
        style_name("images/***.jpg")
    assert Training.of({"style": "builtin:wave"}).name == "wave"


@pytest.mark.slow
def test_the_key_is_that_of_the_run_and_changes_with_what_decides_the_weights(dataset: Path, tmp_path: Path) -> None:
    config = micro_config(dataset).model_copy(update={"precision": "auto"})
    keys = run_keys(config)
    for precision, key in keys.items():
        record = prepare(config.model_copy(update={"precision": precision}), tmp_path / precision, resume=False)
        assert record.lineage["key"] == key
    assert prepare(config, tmp_path / "auto", resume=False).lineage["key"] in keys.values()
    assert not set(run_keys(config.model_copy(update={"seed": 99})).values()) & set(keys.values())
    assert not set(run_keys(config.model_copy(update={"style": "builtin:wave"})).values()) & set(keys.values())

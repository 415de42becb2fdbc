"""One source for every parameter: the models of a run are in the options, the config files, the flows and the catalog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from flows.catalog import SET_BY_FLOWS, Training, load_catalog
from flows.sweep_styles import sweep_styles
from flows.train_style import train_style
from tests.support.command_line import Run
from tests.support.runs import micro_config
from tinystyle.commands.config_file import read_config
from tinystyle.config import PARAMETERS, RunConfig, flat, run_config
from tinystyle.errors import UserError
from tinystyle.training.record import RunRecord

OTHERS = {  # a value of each parameter that is not its default
    "style": "builtin:wave", "photos": "elsewhere", "architecture": "johnson", "alpha": 0.5, "perceptual": "efficientnet-lite0",
    "perceptual_weights": "w.pth", "style_scale": 1.5, "style_size": 300, "content_weight": 2.0, "style_weight": 7.0,
    "content_target": 0.5, "style_layer_weights": [1.0, 2.0, 3.0, 4.0], "sliced_share": 0.5, "tv_weight": 1.0,
    "saturation_weight": 1.0, "checkerboard_weight": 1.0, "size": 128, "zoom": 2.0, "batch_size": 8, "steps": 7,
    "learning_rate": 0.001, "warmup_steps": 3, "final_rate": 0.5, "clip_norm": 2.0, "devices": 2, "nodes": 2,
    "rdzv_endpoint": "here:1", "threads": 3, "checkpoint_every": 5, "checkpoints": "c", "preview_every": 6,
    "on_collapse": "rollback", "track": False, "precision": "32", "seed": 9, "init_from": "m.safetensors",
    "styles": ["builtin:wave", "night=starry.jpg"], "freeze_trunk": True,
    "teacher": "t.safetensors", "teacher_share": 0.25,
}  # fmt: skip


def test_every_field_of_a_run_is_a_parameter_with_a_help_text() -> None:
    fields = [
        name
        for section, field in RunConfig.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {section: field})
    ]
    assert list(PARAMETERS) == fields
    for name, parameter in PARAMETERS.items():
        assert parameter.help.endswith("."), name
        assert parameter.help[0].isupper(), name


def test_every_parameter_is_an_option_of_train(run: Run) -> None:
    code, text, _ = run("train", "--help")
    assert code == 0
    for name, parameter in PARAMETERS.items():
        assert f"--{name.replace('_', '-')} " in text, name
        assert all(choice in text for choice in parameter.choices), name


def test_options_override_a_file_and_reach_the_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunConfig] = []

    def prepare(config: RunConfig, *_: object, **__: object) -> None:
        seen.append(config)
        raise UserError("seen")

    monkeypatch.setattr("tinystyle.training.launch.prepare", prepare)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"loss": {"style_weight": 3}, "alpha": 0.2, "steps": 11}))
    options = [
        "--style",
        "builtin:wave",
        "--photos",
        "p",
        "--alpha",
        "0.4",
        "--no-track",
        "--style-layer-weights",
        "1,2,3,4",
    ]
    code, _, error = run("train", "--config", tmp_path / "run.yaml", "--out", tmp_path / "out", *options)
    assert (code, error.splitlines()[-1]) == (2, "Error: seen")
    (config,) = seen
    expected = {
        "alpha": 0.4,
        "style_weight": 3.0,
        "steps": 11,
        "track": False,
        "style_layer_weights": [1.0, 2.0, 3.0, 4.0],
    }
    assert {name: flat(config)[name] for name in expected} == expected


@pytest.mark.parametrize("without", [("teacher", "teacher_share"), ("styles", "freeze_trunk")])
@pytest.mark.parametrize("form", ["flat", "nested", "record"])
def test_a_file_can_set_every_parameter(tmp_path: Path, form: str, without: tuple[str, str]) -> None:
    values = {name: value for name, value in OTHERS.items() if name not in without}
    config = run_config(values)
    assert {name: value for name, value in flat(config).items() if name not in without} == values
    nested = config.model_dump(mode="json")
    record = json.loads(RunRecord(config=config, lineage={}, dataset="d").model_dump_json())
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"flat": values, "nested": nested, "record": record}[form]))
    assert run_config(read_config(str(path))) == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("a: [", "is neither YAML nor JSON"),
        ("- 1", "holds no parameters"),
        ("color: red", "`color` is not a parameter of a run"),
        ("loss: {color: red}", "`color` is not a parameter of a run"),
        ("{style: s, photos: p, alpha: much}", "`alpha` much: input should be a valid number"),
        ("{style: s, photos: p, alpha: .nan}", "`alpha` nan: input should be a finite number"),
        ("steps: 3", "`style` is missing"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "run.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        run_config(read_config(str(path)))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flow", [train_style, sweep_styles], ids=["train-style", "sweep-styles"])
def test_every_parameter_is_in_the_form_of_a_flow(flow: object) -> None:
    properties = flow.parameters.properties  # type: ignore[attr-defined]
    plural = {"style", "alpha", "architecture"} if flow is sweep_styles else set()
    expected = PARAMETERS.keys() - set(SET_BY_FLOWS) - plural
    assert expected <= properties.keys()
    assert {f"{name}s" for name in plural} <= properties.keys()
    for name, described in properties.items():
        assert described["description"], name
    for name in expected - {"photos"}:
        assert properties[name].get("default") == PARAMETERS[name].default, name
        assert properties[name].get("enum", []) == list(PARAMETERS[name].choices), name
    places = {name: properties[name]["position"] for name in expected}
    basic = max(place for name, place in places.items() if not PARAMETERS[name].advanced)
    assert all(place > basic for name, place in places.items() if PARAMETERS[name].advanced)


def test_the_catalog_takes_every_parameter_of_a_run(tmp_path: Path) -> None:
    taken = {name: value for name, value in OTHERS.items() if name not in ("style", "alpha", *SET_BY_FLOWS)}
    path = tmp_path / "catalog.yaml"
    path.write_text(yaml.safe_dump({"styles": [{"name": "wave", "image": "builtin:wave", "alphas": [0.5], **taken}]}))
    (entry,) = load_catalog(str(path)).styles
    (training,) = entry.trainings
    assert {name: flat(training.run)[name] for name in taken} == taken
    assert Training.of(training.values()) == training


def test_a_micro_run_is_the_same_by_its_parameters(dataset: Path) -> None:
    config = micro_config(dataset)
    assert run_config(flat(config)) == config

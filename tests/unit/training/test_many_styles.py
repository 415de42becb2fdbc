"""Runs of many styles: which photo gets which style, exact resumption, what they leave, and a style added later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import micro_config, train
from tinystyle.config import RunConfig, run_config
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedStyles, load_any, load_model
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.each_style import LossesOfEach
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.training.launch import prepare
from tinystyle.training.lineage import lineage_of
from tinystyle.training.many_styles import styles_of
from tinystyle.training.record import RunRecord
from tinystyle.training.runner import fit
from tinystyle.training.style_list import addresses, style_title

THREE = ("builtin:mosaic", "builtin:wave", "night=builtin:starry-sky")


def many(dataset: Path, styles: tuple[str, ...] = THREE, **changes: Any) -> RunConfig:
    config = micro_config(dataset, steps=changes.pop("steps", 8))
    values = config.model_dump() | {"styles": styles, "style": ""} | changes
    values.pop("style")
    return RunConfig.model_validate(values)


def tables(model: Path) -> LoadedStyles:
    found = load_any(model)
    assert isinstance(found, LoadedStyles)
    return found


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    assert train(many(dataset), folder).state == "completed"
    return folder


def test_every_style_comes_once_in_a_block_and_depends_on_seed_and_index_alone() -> None:
    first = styles_of(7, range(40), 5)
    assert all(sorted(first[at : at + 5]) == list(range(5)) for at in range(0, 40, 5))
    assert styles_of(7, range(13, 29), 5) == first[13:29]
    assert styles_of(8, range(40), 5) != first
    assert len({tuple(first[at : at + 5]) for at in range(0, 40, 5)}) > 4, "no fixed order"


@pytest.mark.slow
def test_what_a_run_of_many_leaves(run: Path) -> None:
    record = RunRecord.read(run)
    model = tables(run / "model.safetensors")
    assert model.names == ("mosaic", "wave", "night")
    assert record.lineage == model.lineage
    assert record.lineage["style_name"] == "mosaic and 2 more"
    for name in model.names:
        assert record.results[f"held_out_paint3/{name}"] > 0
        assert 1 <= record.results[f"style_weight/{name}"] <= 100
    mean = sum(record.results[f"held_out_content/{name}"] for name in model.names) / 3
    assert record.results["held_out_content"] == pytest.approx(mean)
    last = tables(run / "last.ckpt")
    assert torch.equal(last.network.styles, model.network.styles)
    assert not torch.allclose(model.network.styles[0], model.network.styles[1], atol=1e-3)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    for line in lines:
        assert {f"style_weight/{name}" for name in model.names} <= line.keys()
        assert any(f"content/{name}" in line for name in model.names)
    assert sum("content/night" in line for line in lines) >= 8 * 4 // 3 // 2


@pytest.mark.slow
def test_a_run_of_many_that_is_killed_resumes_to_the_bit(dataset: Path, run: Path, tmp_path: Path) -> None:
    config = many(dataset)
    prepare(config, tmp_path, resume=True)
    half = RunRecord.read(tmp_path)

    class Killed(BaseException): ...

    def kill(_self: Any, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 6:
            raise Killed

    from tinystyle.training.callbacks import StepReport

    with pytest.MonkeyPatch.context() as patch:
        report = StepReport.on_train_batch_end
        patch.setattr(
            StepReport, "on_train_batch_end", lambda *given, **named: (report(*given, **named), kill(*given, **named))
        )
        with pytest.raises(Killed):
            fit(tmp_path, show_progress=False)
    assert half.step < 8
    train(config, tmp_path)
    whole, resumed = (tables(folder / "model.safetensors").network.state_dict() for folder in (run, tmp_path))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_run_of_one_style_has_the_key_and_the_record_of_earlier_versions(dataset: Path) -> None:
    """Recorded before there were runs of many styles."""
    config = micro_config(Path("/photos"))
    assert lineage_of(config, "a", "b", "c", None)["key"] == "0bec79e3cf6930b9"
    assert not {"styles", "freeze_trunk"} & json.loads(config.model_dump_json()).keys()
    assert many(dataset).model_dump(mode="json")["styles"] == list(THREE)


def test_the_key_covers_all_styles(dataset: Path, tmp_path: Path) -> None:
    def key(styles: tuple[str, ...], name: str) -> str:
        return prepare(many(dataset, styles), tmp_path / name, resume=True).lineage["key"]

    keys = [
        key(THREE, "a"),
        key(THREE[:2], "b"),
        key((THREE[1], THREE[0], THREE[2]), "c"),
        prepare(micro_config(dataset, steps=8), tmp_path / "d", resume=True).lineage["key"],
    ]
    assert len(set(keys)) == 4
    assert key((*THREE[:2], "sky=builtin:starry-sky"), "e") == keys[0], "a name decides nothing"


def test_losses_of_each_style_are_those_of_one_style_alone() -> None:
    network = load_perceptual_network("narrow").prepare(torch.device("cpu"), torch.float32)
    random = torch.Generator().manual_seed(0)
    photos, outputs, styles = (torch.rand(3, 3, 48, 48, generator=random) * 255 for _ in range(3))
    photos_before = [torch.rand(1, 3, 48, 48, generator=random) * 200 for _ in range(2)]
    references = ReferenceStatistics.measure(network, photos_before)
    each = [styles[:1], styles[1:2, :, :40] / 2, styles[2:] * 0.7]
    targets = [StyleTarget.measure(network, style, references, sliced_share=0.25) for style in each]
    content_b, style_b = LossesOfEach(network, targets)(outputs, photos, [2, 0, 1])
    for index, style in enumerate([2, 0, 1]):
        content, loss = Losses(network, targets[style])(outputs[index : index + 1], photos[index : index + 1])
        torch.testing.assert_close(content_b[index : index + 1], content, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(style_b[index : index + 1], loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("styles", "sentence"),
    [
        (("builtin:wave", "builtin:wave"), "two `styles` are called wave; name one of them: OTHER=builtin:wave"),
        (("builtin:wave", "b=builtin:wave"), "wave and b are the same picture"),
        (("a#b=builtin:wave", "builtin:mosaic"), "'a#b' cannot name a style"),
        (("builtin:wave", "builtin:waves"), "unknown built-in style 'waves'"),
    ],
)
def test_styles_that_are_none(dataset: Path, tmp_path: Path, styles: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        prepare(many(dataset, styles), tmp_path, resume=True)
    assert not list(tmp_path.iterdir())


def test_a_list_of_styles_as_text() -> None:
    config = run_config({"styles": "a/night.jpg, builtin:wave,sea=s3://b/x.png", "photos": "p"})
    assert config.style == "a/night.jpg"
    assert addresses(config) == {"night": "a/night.jpg", "wave": "builtin:wave", "sea": "s3://b/x.png"}
    assert style_title(config) == "night and 2 more"
    with pytest.raises(UserError, match="give `style`, for a network of one style, or `styles`, not both"):
        run_config({"style": "b.jpg", "styles": "a.jpg,c.jpg", "photos": "p"})
    with pytest.raises(UserError, match="`freeze_trunk` needs `init_from`"):
        run_config({"style": "b.jpg", "photos": "p", "freeze_trunk": True})


@pytest.mark.slow
@pytest.mark.parametrize("new", [("sky=builtin:starry-sky",), ("sky=builtin:starry-sky", "w2=builtin:wave")])
def test_a_style_is_added_and_the_others_stay_to_the_bit(
    dataset: Path, run: Path, tmp_path: Path, new: tuple[str, ...]
) -> None:
    model = run / "model.safetensors"
    record = train(many(dataset, new, init_from=str(model), freeze_trunk=True, steps=4), tmp_path)
    assert record.state == "completed"
    before, after = tables(model), tables(tmp_path / "model.safetensors")
    assert after.names == ("mosaic", "wave", "night", *(style.partition("=")[0] for style in new))
    assert torch.equal(after.network.styles[:3], before.network.styles)
    for (name, was), (_, now) in zip(before.network.shared(), after.network.shared(), strict=True):
        assert torch.equal(was, now), name
    for row in range(3, 3 + len(new)):
        assert not torch.allclose(after.network.styles[row], before.network.styles.mean(0), atol=1e-3)
    photo = torch.rand(1, 3, 40, 40) * 255
    with torch.no_grad():
        for name in before.names:
            old, same = (
                load_model(f"{file}#{name}").network(photo) for file in (model, tmp_path / "model.safetensors")
            )
            assert torch.equal(old, same)


@pytest.mark.slow
def test_a_style_is_added_to_a_network_of_one(dataset: Path, micro_run: Path, tmp_path: Path) -> None:
    one = micro_run / "model.safetensors"
    train(many(dataset, ("builtin:wave",), init_from=str(one), freeze_trunk=True, steps=4), tmp_path)
    both = tables(tmp_path / "model.safetensors")
    assert both.names == ("mosaic", "wave")
    first = load_model(f"{tmp_path}/model.safetensors#mosaic").network.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in load_model(one).network.state_dict().items())


@pytest.mark.slow
def test_a_style_that_is_there_is_not_added_again(dataset: Path, run: Path, tmp_path: Path) -> None:
    config = many(dataset, ("builtin:wave",), init_from=str(run / "model.safetensors"), freeze_trunk=True)
    with pytest.raises(UserError, match="has a style wave already; give the new one another name, NAME=IMAGE"):
        prepare(config, tmp_path, resume=True)

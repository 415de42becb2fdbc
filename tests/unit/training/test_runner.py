"""Training runs from end to end: golden losses, exact resumption, several processes, orderly stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.places import ASSETS
from tests.support.runs import micro_config, train
from tinystyle.config import NetworkConfig, RunConfig, run_config
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.model_file import load_model
from tinystyle.nets import build_network, start_of
from tinystyle.styles import Style
from tinystyle.training import TRAINING_REVISION
from tinystyle.training.initial import initial_network
from tinystyle.training.launch import prepare
from tinystyle.training.record import RunRecord
from tinystyle.training.resolve import run_keys
from tinystyle.training.runner import fit

GOLDEN = ASSETS / "golden_losses.json"


def losses_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_it_promises(micro_run: Path) -> None:
    record = RunRecord.read(micro_run)
    assert (record.state, record.step) == ("completed", 20)
    assert record.results["held_out_style"] > 0
    assert [row["step"] for row in losses_of(micro_run)] == list(range(1, 21))
    for name in ("last.ckpt", "best.ckpt"):
        assert (micro_run / name).is_file()
    final, last = load_model(micro_run / "model.safetensors"), load_model(micro_run / "last.ckpt")
    assert final.lineage == record.lineage
    for name, tensor in final.network.state_dict().items():
        assert torch.equal(tensor, last.network.state_dict()[name])
    previews = sorted((micro_run / "previews").iterdir())
    assert [p.name for p in previews] == ["step-000006.png", "step-000012.png", "step-000018.png", "step-000020.png"]
    with Image.open(previews[-1]) as strip:
        assert strip.width > strip.height


def test_losses_are_the_golden_ones(micro_run: Path) -> None:
    """A change of the maths raises TRAINING_REVISION, and stores the losses anew: the message says how."""
    golden = json.loads(GOLDEN.read_text())
    now = losses_of(micro_run)
    how = f"update {GOLDEN.name} from the metrics.jsonl of this run, and raise TRAINING_REVISION"
    assert golden["training_revision"] == TRAINING_REVISION, how
    for name in ("content", "style", "total_variation", "saturation", "checkerboard", "total", "style_weight"):
        losses = [row[name] for row in now]
        # Processors differ in the order of summation, and at this rate a difference grows tenfold with each step.
        assert losses[:3] == pytest.approx(golden[name][:3], rel=2e-3), how
        assert sum(losses) == pytest.approx(sum(golden[name]), rel=0.15), how


@pytest.mark.slow
def test_training_lowers_the_loss(dataset: Path, tmp_path: Path) -> None:
    config = micro_config(dataset, steps=120, checkpoint_every=120)
    hasty = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"warmup_steps": 10})})
    train(hasty, tmp_path / "run")
    totals = [row["total"] for row in losses_of(tmp_path / "run")]
    assert sum(totals[-20:]) < 0.75 * sum(totals[:20])


@pytest.mark.parametrize("change", ["seed", "style_weight", "data"])
def test_what_decides_the_result_decides_the_key(micro_run: Path, change: str) -> None:
    config = RunRecord.read(micro_run).config
    changed = {
        "seed": {"seed": 4},
        "style_weight": {"loss": config.loss.model_copy(update={"style_weight": 7.0})},
        "data": {"data": config.data.model_copy(update={"size": 40})},
    }[change]
    other = config.model_copy(update=changed)
    with pytest.raises(UserError, match="holds another run"):
        prepare(other, micro_run, resume=True)


def test_a_completed_run_is_not_trained_again(micro_run: Path) -> None:
    config = RunRecord.read(micro_run).config
    again = config.model_copy(update={"execution": config.execution.model_copy(update={"checkpoint_every": 7})})
    assert prepare(again, micro_run, resume=True).state == "completed"


@pytest.mark.slow
def test_init_from_starts_at_those_weights(dataset: Path, micro_run: Path, tmp_path: Path) -> None:
    config = micro_config(dataset, steps=1).model_copy(update={"init_from": str(micro_run / "model.safetensors")})
    train(config, tmp_path / "run")
    # The first loss of the continued training lies near the last of the other, far from a fresh network's.
    first, end, fresh = (
        losses_of(tmp_path / "run")[0]["total"],
        losses_of(micro_run)[-1]["total"],
        losses_of(micro_run)[0]["total"],
    )
    assert abs(first - end) < abs(first - fresh)
    wrong = config.model_copy(update={"network": config.network.model_copy(update={"alpha": 0.2})})
    with pytest.raises(UserError, match="must agree for `init_from`"):
        prepare(wrong, tmp_path / "other", resume=True)


def test_a_run_starts_from_the_weights_that_come_for_its_network_in_the_colors_of_its_style(dataset: Path) -> None:
    config, style = micro_config(dataset), Style.load("builtin:wave")
    small = config.model_copy(update={"network": NetworkConfig(architecture="small", alpha=0.3)})
    shipped = load_model(start_of("small", 0.3, "narrow") or "").network.state_dict()
    started = initial_network(small, style).state_dict()
    assert {name for name, weight in started.items() if not torch.equal(weight, shipped[name])} == {
        "out.norm.weight",
        "out.norm.bias",
    }
    torch.manual_seed(config.seed)
    random = build_network("small", 0.3)
    random.match_output(photo_tensor(style.at(config.style_side)))
    chosen = initial_network(small.model_copy(update={"init_from": "random"}), style).state_dict()
    assert all(torch.equal(weight, chosen[name]) for name, weight in random.state_dict().items())


def test_the_start_that_comes_for_a_network_decides_the_key(dataset: Path) -> None:
    """And the same file as a model of the user's gives another: it is not matched to the style."""
    values = {"style": "builtin:wave", "photos": str(dataset), "perceptual": "narrow", "precision": "32", "size": 48}
    starts = ("auto", "random", str(start_of("small", 0.3, "narrow")))
    keys = {run_keys(run_config({**values, "init_from": start}))["32"] for start in starts}
    assert len(keys) == len(starts)


def test_weights_that_learned_by_the_loss_network_are_preferred() -> None:
    files = [start_of("small", 0.3, name) for name in ("vgg16", "narrow", "efficientnet-lite0")]
    assert [path and path.stem for path in files] == ["small-0.3-vgg16", "small-0.3", "small-0.3"]
    assert load_model(str(files[0])).network.state_dict().keys() == build_network("small", 0.3).state_dict().keys()


def test_a_network_for_which_no_weights_come_starts_from_random_ones(dataset: Path) -> None:
    config = micro_config(dataset)
    assert (config.init_from, config.network.alpha, config.initial_model) == ("auto", 0.1, None)
    # Runs of earlier versions have null.
    assert RunConfig.model_validate({**config.model_dump(), "init_from": None}).init_from == "random"


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = micro_config(dataset, steps=8)
    prepare(config, tmp_path / "run", resume=True)
    from tinystyle.training import module

    real = module.total_variation_loss

    def poisoned(image: torch.Tensor) -> torch.Tensor:
        poisoned.calls += 1
        return real(image) * (float("nan") if poisoned.calls > 5 else 1.0)

    poisoned.calls = 0
    monkeypatch.setattr(module, "total_variation_loss", poisoned)
    record = fit(tmp_path / "run", show_progress=False)
    assert record.state == "collapsed"
    assert "step 6 holds NaN" in record.message
    assert not (tmp_path / "run" / "model.safetensors").exists()
    saved = load_model(tmp_path / "run" / "last.ckpt")
    assert all(bool(torch.isfinite(weight).all()) for weight in saved.network.state_dict().values())

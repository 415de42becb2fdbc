"""Trains the runs of a named grid, one after the other, and prints their table. Finished runs are kept and skipped.

    python benchmarks/experiments.py GRID --data FOLDER [--out FOLDER] [--only TEXT] [--limit N]

FOLDER contains photos/, styles/*.jpg and weights/*.safetensors (VGG16). The photos are ingested once to OUT/photos, at
a short side of 384 pixels. Runs train on them, and are judged on all held-out photos, with VGG16 in float32. Every
finished run adds a line to benchmarks/GRID.jsonl; its pictures are in OUT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from tinystyle import styles
from tinystyle.config import RunConfig
from tinystyle.data.contact_sheet import preview_strip
from tinystyle.data.ingest import ingest
from tinystyle.data.photos import photo_tensor
from tinystyle.data.shards import ShardDataset
from tinystyle.evaluation import Criterion, PaintMeasure, QualityRow, Stylize, paint_measure
from tinystyle.evaluation.model_report import second_measure
from tinystyle.evaluation.rows import quality_rows
from tinystyle.model_file import load_model
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.training.judge import to_image
from tinystyle.training.launch import launch, prepare

HERE = Path(__file__).parent
PAINTINGS = ("starry_night", "great_wave", "shipwreck", "poppy_field", "composition_vii")
NETWORKS = {"small": 0.3, "johnson": 1.0}
SIDE = 384
"""Short side, in pixels, of the photos used for judging."""
SHOWN = 6

Run = dict[str, Any]
"""Painting, architecture, and settings that differ from the defaults: `loss`, `data`, `optimizer`."""

GRAM_ALONE = {"style_layer_weights": (1, 1, 1, 1), "sliced_share": 0.0, "checkerboard_weight": 0.0}
BEFORE = {"style_weight": 2.0, "style_size": 512, **GRAM_ALONE}
SIMPLE = {"style_weight": 10.0, "style_size": 256, **GRAM_ALONE}
OLD_RATE = {"learning_rate": 2e-3}


def pictures() -> Iterator[tuple[str, Run]]:
    """Yield the defaults on five paintings and two networks, the old defaults, and a change of only two numbers."""
    choices = (("defaults", {}, {}), ("simple change", SIMPLE, OLD_RATE), ("before", BEFORE, OLD_RATE))
    for architecture in NETWORKS:
        for settings, loss, rate in choices:
            for painting in PAINTINGS:
                run = {"painting": painting, "architecture": architecture, "settings": settings, "loss": loss}
                optimizer = {"steps": 800, **rate}
                yield f"{architecture} {painting} {settings}", {**run, "data": {"size": 128}, "optimizer": optimizer}


CHANGES: dict[str, Run] = {
    "defaults": {},
    "Gram alone": {"loss": {"sliced_share": 0.0}},
    "half sliced": {"loss": {"sliced_share": 0.5}},
    "finer layers": {"loss": {"style_layer_weights": (3, 3, 1, 0.5)}},
    "style at the crop's size": {"loss": {"style_scale": 1.0}},
    "style at four times": {"loss": {"style_scale": 4.0}},
    "no grid penalty": {"loss": {"checkerboard_weight": 0.0}},
    "rate 2e-3": {"optimizer": {"learning_rate": 2e-3}},
    "rate 1.2e-2": {"optimizer": {"learning_rate": 1.2e-2}},
    "zoom 2": {"data": {"zoom": 2.0}},
}


def choices() -> Iterator[tuple[str, Run]]:
    """Yield ablations of the defaults: one changed at a time, with `small` on two paintings and half the steps."""
    for painting in ("starry_night", "shipwreck"):
        for name, change in CHANGES.items():
            run = {"painting": painting, "architecture": "small", "change": name, "loss": change.get("loss", {})}
            data = {"size": 128, **change.get("data", {})}
            optimizer = {"steps": 400, **change.get("optimizer", {})}
            yield f"{painting} {name}", {**run, "data": data, "optimizer": optimizer}


STAGES: dict[int, tuple[str, dict[str, Run]]] = {
    192: (
        "pictures/small_{}_defaults",
        {painting: {} for painting in PAINTINGS} | {"poppy_field": {"content_target": 0.45}},
    ),
    256: ("shipped/small_{}_192", {"starry_night": {"content_target": 1.05}}),
}
"""By the side of the crops: the run to continue from, and the changes in the loss for each painting that benefits."""


def shipped() -> Iterator[tuple[str, Run]]:
    """Yield the networks that ship: the default runs of `pictures`, trained further with larger and larger crops."""
    for side, (before, paintings) in STAGES.items():
        for painting, loss in paintings.items():
            run = {"painting": painting, "architecture": "small", "init_from": before.format(painting), "loss": loss}
            optimizer = {"steps": 400, "learning_rate": 3e-3}
            yield f"small {painting} {side}", {**run, "data": {"size": side}, "optimizer": optimizer}


GRIDS = {"pictures": pictures, "choices": choices, "shipped": shipped}


def config_of(run: Run, data: Path, dataset: Path, out: Path) -> RunConfig:
    """Return the RunConfig of a grid's entry; its `init_from` is the folder of another entry's run inside `out`."""
    return RunConfig.model_validate(
        {
            "init_from": str(out / run["init_from"] / "model.safetensors") if "init_from" in run else None,
            "style": style_file(run, data),
            "photos": str(dataset),
            "network": {"architecture": run["architecture"], "alpha": NETWORKS[run["architecture"]]},
            "loss": {"perceptual": "vgg16", "perceptual_weights": weights_file(data), **run.get("loss", {})},
            "data": run.get("data", {}),
            "optimizer": run.get("optimizer", {}),
            "execution": {"track": False},
        }
    )


def style_file(run: Run, data: Path) -> str:
    return str(data / "styles" / f"{run['painting']}.jpg")


def weights_file(data: Path) -> str:
    return str(next((data / "weights").glob("*.safetensors")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=sorted(GRIDS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments"))
    parser.add_argument("--only", default="", help="train only runs whose name contains this text")
    parser.add_argument("--limit", type=int, default=10**6, help="maximum number of runs to train")
    arguments = parser.parse_args()
    results = HERE / f"{arguments.grid}.jsonl"
    done = {json.loads(line)["run"] for line in results.read_text().splitlines()} if results.exists() else set()
    left = [(name, run) for name, run in GRIDS[arguments.grid]() if name not in done and arguments.only in name]
    dataset = arguments.out / "photos"
    ingest(str(arguments.data / "photos"), str(dataset), size=SIDE)
    for name, run in left[: arguments.limit]:
        folder = arguments.out / arguments.grid / name.replace(" ", "_")
        config = config_of(run, arguments.data, dataset, arguments.out)
        line = {"run": name, **run, **train(run, config, folder, arguments.data, dataset)}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
    print_table(results)


def train(run: Run, config: RunConfig, folder: Path, data: Path, dataset: Path) -> Run:
    """Train and judge one run; return its final state, its time in seconds, and its row."""
    began = monotonic()
    # A collapsed run is a valid result here; its last checkpoint is judged like a model.
    record = launch(prepare(config, folder, resume=True), folder)
    seconds = monotonic() - began
    if record.state in ("stopped", "failed"):
        raise SystemExit(record.message)
    model = load_model(folder / ("model.safetensors" if record.state == "completed" else "last.ckpt"))
    row, outputs = judge(model.network, run, data, dataset)
    shown = [to_image(photo) for photo in photos(dataset)[:SHOWN]]
    preview_strip(shown, outputs, height=320).save(folder / "held-out.png")
    return {
        "state": record.state,
        "step": record.step,
        "seconds": round(seconds),
        "precision": config.precision if config.precision != "auto" else record.config.precision,
        "chosen_style_weight": record.results.get("style_weight"),
        **{name: value for name, value in asdict(row).items() if name != "name"},
    }


@torch.inference_mode()
def judge(
    network: Stylize, run: Run, data: Path, dataset: Path, every: int = 1
) -> tuple[QualityRow, list[Image.Image]]:
    """Return the network's row on every n-th held-out photo, and its stylized versions of the first SHOWN of them."""
    criterion, second = criteria(style_file(run, data), data, dataset)
    judged = photos(dataset)[::every]
    (row,) = quality_rows({"network": network}, judged, criterion, second)
    return row, [to_image(network(photo)) for photo in judged[:SHOWN]]


@cache
def photos(dataset: Path) -> list[Tensor]:
    shards = ShardDataset(dataset)
    return [photo_tensor(shards.read(index)) for index in shards.held_out]


@cache
def criteria(style: str, data: Path, dataset: Path) -> tuple[Criterion, PaintMeasure]:
    """Return the criterion and the second measure, the same for all runs.

    The criterion uses VGG16, the style at 256 px and Gram distances only; the second measure uses a network that no run
    has seen.
    """
    cpu = torch.device("cpu")
    network = load_perceptual_network("vgg16", weights_file(data)).prepare(cpu, torch.float32)
    painting = photo_tensor(styles.load_style(style, 256))
    references = ReferenceStatistics.measure(network, photos(dataset)[::4])
    losses = Losses(network, StyleTarget.measure(network, painting, references))
    second = second_measure(style, network.name)
    assert second, "the package of the second network is not installed"
    return Criterion(losses, paint_measure(network, style, cpu), 1.0, 10.0), second


COLUMNS = ("content", "paint3", "paint4", "score", "second3", "second4", "worst_photo", "checkerboard", "border_error")


def print_table(results: Path) -> None:
    """Print all finished runs as a Markdown table."""
    screen = Console(width=220, highlight=False)
    screen.print("| run | ended | seconds | style weight | " + " | ".join(COLUMNS) + " |")
    screen.print("|---|---|---:|---:|" + "---:|" * len(COLUMNS))
    for line in map(json.loads, results.read_text().splitlines() if results.exists() else ()):
        figures = " | ".join(f"{line[name]:.3f}" for name in COLUMNS)
        weight = f"{line['chosen_style_weight']:.1f}" if line["chosen_style_weight"] else ""
        screen.print(
            f"| {line['run']} | {line['state']} at {line['step']} | {line['seconds']} | {weight} | {figures} |"
        )


if __name__ == "__main__":
    main()

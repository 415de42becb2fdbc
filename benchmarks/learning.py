"""Trains `small` 0.3 in many ways, for three paintings and two seeds side by side, and judges each by VGG16.

    python benchmarks/learning.py --data FOLDER --photos DATASET --out FOLDER [--only TEXT] [--start FILE] [--device cuda]

FOLDER contains styles/*.jpg and weights/*.safetensors (VGG16); DATASET was made by `tinystyle ingest --size 256`. Crops
have 128 px. Finished runs are lines of benchmarks/learning.jsonl, or of --results, and are skipped; weights are in OUT.
The networks of a run see the same photos; they differ in painting and initial weights.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from stack import Plan, References, Stack, Targets, photo_batches, reference_squares, small_network, train
from torch import Tensor

from tinystyle.config import OptimizerConfig
from tinystyle.data.photos import held_out_photos, photo_tensor
from tinystyle.data.shards import ShardDataset
from tinystyle.evaluation import Criterion, paint_measure
from tinystyle.evaluation.rows import loss_row
from tinystyle.model_file import load_model
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.styles import load_style

PAINTINGS = ("starry_night", "great_wave", "shipwreck")
SEEDS = (0, 1)
SIDE, BATCH = 128, 4
LENGTHS = (50, 100, 200, 400, 1000, 3000)
JUDGED = 16
"""Held-out photos."""

Run = dict[str, Any]
CHANGES: dict[str, Run] = {
    "rate 3e-3": {"rates": {"learning_rate": 3e-3}},
    "rate 1.2e-2": {"rates": {"learning_rate": 1.2e-2}},
    "rate 2.4e-2": {"rates": {"learning_rate": 2.4e-2}},
    "final rate 0.1": {"rates": {"final_rate": 0.1}},
    "warm-up 25": {"rates": {"warmup_steps": 25}},
    "Muon": {"plan": {"optimizer": "muon"}},
    "Muon 1.2e-2": {"plan": {"optimizer": "muon"}, "rates": {"learning_rate": 1.2e-2}},
    "Muon 2.4e-2": {"plan": {"optimizer": "muon"}, "rates": {"learning_rate": 2.4e-2}},
    "average 0.98": {"plan": {"average": 0.98}},
    "wide": {"wide": 64},
    "wide 2e-3": {"wide": 64, "rates": {"learning_rate": 2e-3}},
    "batch 2": {"batch": 2},
    "batch 8": {"batch": 8},
    "crops of 64, then 128": {"sizes": (64, 128)},
    "crops of 96, then 128": {"sizes": (96, 128)},
}
"""By name: other values of a `Plan`, of its `rates`, or of what `learn` takes."""


def runs() -> Iterator[tuple[str, Run]]:
    """Yield the runs by name, the most wanted first."""
    for steps in LENGTHS:
        yield f"defaults {steps}", {"steps": steps}
        yield f"start {steps}", {"steps": steps, "start": True}
    for steps in (400, 1000):
        for name, change in CHANGES.items():
            yield f"{name} {steps}", {"steps": steps, **change}
    for batch, lengths in ((1, (400, 800, 1600)), (2, (400, 800, 1600))):
        for steps in lengths:
            yield f"start, batch {batch} {steps}", {"steps": steps, "start": True, "batch": batch}
    yield "teacher 400", {"steps": 400, "teacher": "defaults 3000"}
    yield "teacher 1000", {"steps": 1000, "teacher": "defaults 3000"}


class Lab:
    """What all runs share: photos, targets, criteria."""

    def __init__(self, data: Path, dataset: Path, device: torch.device) -> None:
        self.data, self.device, self.shards = data, device, ShardDataset(dataset)
        weights = str(next((data / "weights").glob("*.safetensors")))
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.network = load_perceptual_network("vgg16", weights).prepare(device, dtype)
        self.exact = load_perceptual_network("vgg16", weights).prepare(device, torch.float32)
        self.held_out = [photo.to(device) for photo in held_out_photos(self.shards, JUDGED)]
        self.statistics = ReferenceStatistics.measure(self.exact, self.held_out)
        self.references = self.references_for(self.network)
        self.criteria = {painting: self.criterion(painting) for painting in PAINTINGS}

    def references_for(self, network: PerceptualNetwork) -> References:
        return References.measure(network, reference_squares(self.shards, SIDE).to(self.device))

    def style_file(self, painting: str) -> str:
        return str(self.data / "styles" / f"{painting}.jpg")

    def styles(self, side: int) -> Tensor:
        """Squares of the paintings, one for each network: (paintings x seeds, 3, side, side)."""
        pictures = [photo_tensor(load_style(self.style_file(painting), side)) for painting in PAINTINGS]
        squares = [picture[..., :side, :side] for picture in map(_centered, pictures)]
        return torch.cat([square for square in squares for _ in SEEDS]).to(self.device)

    def criterion(self, painting: str) -> Criterion:
        style = photo_tensor(load_style(self.style_file(painting), 2 * SIDE)).to(self.device)
        losses = Losses(self.exact, StyleTarget.measure(self.exact, style, self.statistics))
        return Criterion(losses, paint_measure(self.exact, self.style_file(painting), self.device), 1.0, 10.0)

    def networks(self, start: dict[str, Tensor] | None, styles: Tensor) -> list[StyleNetwork]:
        found = []
        for index, style in enumerate(styles):
            torch.manual_seed(SEEDS[index % len(SEEDS)])
            network = build_network("small", 0.3)
            if start:
                network.load_state_dict(start)
            network.match_output(style[None].cpu())
            found.append(network)
        return found


def _centered(picture: Tensor) -> Tensor:
    side = min(picture.shape[-2:])
    top, left = ((length - side) // 2 for length in picture.shape[-2:])
    return picture[..., top : top + side, left : left + side]


def learn(lab: Lab, run: Run, start: dict[str, Tensor] | None, out: Path) -> dict[str, Tensor]:
    """Train one run, and return the weights of its networks."""
    plan = Plan(OptimizerConfig(steps=run["steps"], **run.get("rates", {})), **run.get("plan", {}))
    styles = lab.styles(2 * SIDE)
    targets = Targets(lab.network, styles, lab.references)
    stack = Stack(lab.networks(start if run.get("start") else None, styles), lab.device, wide=run.get("wide", 0))
    sizes = run.get("sizes", (SIDE,))
    workers = 3 if lab.device.type == "cuda" else 0
    share = run["steps"] // len(sizes)
    batches = chain.from_iterable(
        islice(photo_batches(lab.shards, size, 0, run.get("batch", BATCH), workers), share if size < SIDE else None)
        for size in sizes
    )
    more = None
    if run.get("teacher"):
        taught = load_file(out / f"{run['teacher'].replace(' ', '_')}.safetensors", str(lab.device))
        teacher = Stack(lab.networks(None, styles), lab.device)
        teacher.weights = taught

        def more(output: Tensor, photo: Tensor) -> Tensor:
            with torch.no_grad():
                wanted = teacher(photo)[0]
            return ((output - wanted) / 64).square().mean((1, 2, 3, 4))

    average = deque(train(stack, targets, batches, plan, more), maxlen=1).pop()
    return average or stack.plain()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="train only runs whose name contains this text")
    parser.add_argument("--skip", default="?", help="train no runs whose name contains this text")
    parser.add_argument("--start", type=Path, help="model that the runs named start begin with")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    lab = Lab(arguments.data, arguments.photos, torch.device(arguments.device))
    start = load_model(arguments.start).network.state_dict() if arguments.start else None
    lines = arguments.results.read_text().splitlines() if arguments.results.exists() else []
    done = {json.loads(line)["run"] for line in lines}
    for name, run in runs():
        if name in done or arguments.only not in name or arguments.skip in name or (run.get("start") and not start):
            continue
        began = monotonic()
        weights = learn(lab, run, start, arguments.out)
        seconds = monotonic() - began
        save_file(
            {key: value.contiguous().cpu() for key, value in weights.items()},
            arguments.out / f"{name.replace(' ', '_')}.safetensors",
        )
        line = {"run": name, "seconds": round(seconds, 1), **judged(lab, weights)}
        with arguments.results.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(name, {key: value for key, value in line.items() if not isinstance(value, list)}, flush=True)
    print(table(arguments.results))


def table(results: Path) -> str:
    """Return all finished runs as a Markdown table: means over paintings and seeds, and the score of each painting."""
    rows = [
        "| run | " + " | ".join(("content", "paint3", "paint4", "score", *PAINTINGS)) + " |",
        "|---|" + "---:|" * (4 + len(PAINTINGS)),
    ]
    for line in map(json.loads, results.read_text().splitlines()):
        each = [mean(line["each_score"][index : index + len(SEEDS)]) for index in range(0, 6, len(SEEDS))]
        figures = [line[name] for name in ("content", "paint3", "paint4", "score")] + each
        rows.append(f"| {line['run']} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(rows)


def judged(lab: Lab, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return means over the networks, and the figures of each, by painting and seed."""
    rows = []
    for index in range(len(PAINTINGS) * len(SEEDS)):
        network = small_network(weights, index).to(lab.device)
        rows.append(loss_row("", network, lab.held_out, lab.criteria[PAINTINGS[index // len(SEEDS)]]))
    figures = ("content", "paint3", "paint4", "score")
    means = {name: round(mean(getattr(row, name) for row in rows), 4) for name in figures}
    return {**means, **{f"each_{name}": [round(getattr(row, name), 4) for row in rows] for name in figures}}


if __name__ == "__main__":
    main()

"""Compares learning from the losses with learning from the pictures of a network that has already learned the style.

    python benchmarks/teacher.py --data FOLDER --learned FOLDER [--out FOLDER] [--only TEXT]

FOLDER is as for benchmarks/experiments.py; that of --learned has what benchmarks/learning.py wrote on a GPU. The teacher is
the best there can be: a network of the student's own shape, which the student could equal, after 3,000 steps of the usual
kind. The student, `small` 0.3 from the weights that come with tinystyle, sees crops of 128 px, and is judged as in
benchmarks/time_to_quality.py. Finished runs are lines of benchmarks/teacher.jsonl and are skipped. Prints the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from time import process_time
from typing import Any

import torch
from experiments import SIDE, judge, style_file, weights_file
from safetensors.torch import load_file
from stack import small_network
from time_to_quality import EVERY, FIGURES, PAINTINGS, SEEDS
from torch import Tensor

from tinystyle.config import OptimizerConfig, RunConfig, run_config
from tinystyle.data.datamodule import GlobalBatches, PhotoDataModule
from tinystyle.data.ingest import ingest
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.styles import Style
from tinystyle.training.initial import initial_network
from tinystyle.training.module import StyleTransferModule, rate_fraction
from tinystyle.training.objective import build_criterion
from tinystyle.training.teacher import feature_distance, imitation

RESULTS = Path(__file__).with_suffix(".jsonl")
CPU = torch.device("cpu")
WAYS: dict[str, dict[str, Any]] = {
    "losses, 200": {"steps": 200, "photos": 1},
    "losses, 400": {"steps": 400, "photos": 1},
    "losses and teacher, 400": {"steps": 400, "photos": 1, "beside": 1.0},
    "losses and five times teacher, 400": {"steps": 400, "photos": 1, "beside": 5.0},
    "teacher's pixels, 1500": {"taught": 1500, "taught_photos": 4},
    "teacher's pixels and features, 400": {"taught": 400, "taught_photos": 4, "features": True},
    "teacher, 200, then losses, 400": {
        "taught": 200, "taught_photos": 4, "features": True, "steps": 400, "photos": 1,
    },
    "teacher, 200, then losses, 200 of four photos": {
        "taught": 200, "taught_photos": 4, "features": True, "steps": 200, "photos": 4,
    },
    "teacher, 200 of eight photos, then losses, 200": {
        "taught": 200, "taught_photos": 8, "features": True, "steps": 200, "photos": 1,
    },
    "teacher, 800 of one photo, then losses, 200": {
        "taught": 800, "taught_photos": 1, "features": True, "steps": 200, "photos": 1,
    },
    "teacher, 200, then losses, 200": {
        "taught": 200, "taught_photos": 4, "features": True, "steps": 200, "photos": 1,
    },
}  # fmt: skip
"""By name: steps with the losses of VGG16 and photos a step, with the distance to the teacher's features at its style layers
beside them; before them, steps that only imitate the teacher, by pixels and by the features of `narrow`."""


class Student(StyleTransferModule):
    """The usual training step, with a distance to the teacher's features in its content loss."""

    teacher: StyleNetwork
    beside = 0.0
    content = 0.0
    """Content loss of the last step, without that distance: what the style weight follows."""

    def _compared(self, output_b3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        content_b, style_b = super()._compared(output_b3hw, photo_b3hw)
        self.content = float(content_b.detach().mean())
        if self.beside:
            distance_b = feature_distance(self.losses.network, output_b3hw, picture(self.teacher, photo_b3hw))
            content_b = content_b + self.beside * distance_b
        return content_b, style_b


@torch.no_grad()
def picture(teacher: StyleNetwork, photo_b3hw: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        stylized: Tensor = teacher(photo_b3hw)
    return stylized.float()


def learn(way: dict[str, Any], config: RunConfig, teacher: StyleNetwork, photos: PhotoDataModule) -> StyleNetwork:
    """Train a student from the start."""
    network = initial_network(config, Style.load(config.style))
    narrow = load_perceptual_network("narrow").prepare(CPU, torch.bfloat16)
    if "taught" in way:
        plan = OptimizerConfig(steps=way["taught"])
        optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate, fused=True)
        for step, photo in enumerate(batches(photos, way["taught_photos"], plan.steps)):
            with torch.autocast("cpu", torch.bfloat16):
                output = network(photo).float()
            wanted = picture(teacher, photo)
            pixels_alone = ((output - wanted) / 127.5).square().mean()
            loss = imitation(narrow, output, wanted) if "features" in way else pixels_alone
            update(optimizer, network, loss, plan, step)
    if "steps" in way:
        module = Student(config, network, build_criterion(config, photos, CPU).losses, bf16=True)
        module.teacher, module.beside, plan = teacher, way.get("beside", 0.0), config.optimizer
        optimizer = torch.optim.Adam(network.parameters(), lr=plan.learning_rate, fused=True)
        for step, photo in enumerate(batches(photos, way["photos"], plan.steps)):
            update(optimizer, network, module.training_step(photo, step), plan, step)
            module.control(step + 1, {"content": module.content}, [])
    return network.eval()


def update(
    optimizer: torch.optim.Optimizer, network: StyleNetwork, loss: Tensor, plan: OptimizerConfig, step: int
) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm)
    optimizer.param_groups[0]["lr"] = plan.learning_rate * rate_fraction(plan, step)
    optimizer.step()


def batches(photos: PhotoDataModule, size: int, steps: int) -> Any:
    loader = torch.utils.data.DataLoader(photos.crops, batch_sampler=GlobalBatches(0, size, 0, 1))
    for photo in itertools.islice(loader, steps):
        yield photo.float().contiguous(memory_format=torch.channels_last)


def train(painting: str, name: str, data: Path, dataset: Path, teachers: Any) -> dict[str, Any]:
    """Train a student and judge it; return the line of results."""
    run, way = {"painting": painting}, WAYS[name]
    style = style_file(run, data)
    config = run_config(
        {
            "style": style, "photos": str(dataset), "size": 128, "batch_size": way.get("photos", 4),
            "steps": way.get("steps", 1), "perceptual": "vgg16", "perceptual_weights": weights_file(data), "precision": "bf16",
        }
    )  # fmt: skip
    teacher = small_network(teachers, PAINTINGS.index(painting) * len(SEEDS)).eval()
    photos = PhotoDataModule(dataset, 128, 4, 0)
    torch.manual_seed(0)
    began = process_time()
    network = learn(way, config, teacher, photos)
    seconds = (process_time() - began) / torch.get_num_threads()
    row, outputs = judge(network, run, data, dataset, EVERY)
    outputs[0].save(dataset.parent / f"teacher_{painting}_{name}.png".replace(" ", "_").replace(",", ""))
    figures = {key: round(value, 4) for key, value in asdict(row).items() if key in FIGURES}
    score = round(row.score, 4)
    return {"run": f"{painting}: {name}", **run, "way": name, "seconds": round(seconds), **figures, "score": score}


def table(lines: list[dict[str, Any]]) -> str:
    """Return the means over paintings as a Markdown table."""
    rows = ["| learns from, steps | runs | seconds | " + " | ".join(FIGURES) + " |", "|---|" + "---:|" * 8]
    for way in WAYS:
        own = [line for line in lines if line["way"] == way]
        if own:
            figures = " | ".join(f"{mean(line[name] for line in own):.3f}" for name in FIGURES)
            rows.append(f"| {way} | {len(own)} | {mean(line['seconds'] for line in own):.0f} | {figures} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--learned", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments") / "teacher")
    parser.add_argument("--only", default="", help="run only what has this text in its name")
    arguments = parser.parse_args()
    dataset = arguments.out / "photos"
    ingest(str(arguments.data / "photos"), str(dataset), size=SIDE)
    teachers = load_file(arguments.learned / "defaults_3000.safetensors")
    done = {json.loads(line)["run"] for line in RESULTS.read_text().splitlines()} if RESULTS.exists() else set()
    for painting, way in itertools.product(PAINTINGS, WAYS):
        if f"{painting}: {way}" not in done and arguments.only in f"{painting}: {way}":
            line = train(painting, way, arguments.data, dataset, teachers)
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))


if __name__ == "__main__":
    main()

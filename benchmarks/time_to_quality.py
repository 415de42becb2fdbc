"""Trains on three paintings for more and more steps, in several ways, and times the commands.

    python benchmarks/time_to_quality.py --data FOLDER [--out FOLDER] [--only TEXT] [--limit N] [--learned FOLDER]

FOLDER is as for benchmarks/experiments.py; that of --learned has what benchmarks/learning.py wrote on a GPU, for the way
in which every style was trained before: VGG16, random weights. A run is the command `tinystyle train --export FILE` in a
fresh process, from its start to its end: small 0.3, crops of 128 px, without MLflow. Its network is judged by VGG16 on a
quarter of the held-out photos, whatever it was trained with. Finished runs are lines of benchmarks/time_to_quality.jsonl
and are skipped. Prints the table, and with --sheet FILE writes a picture: what the runs of each length make of a photo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

from experiments import SIDE, judge, photos, style_file, weights_file
from PIL import Image, ImageOps
from safetensors.torch import load_file
from stack import small_network

from tinystyle.config import NetworkConfig
from tinystyle.data.contact_sheet import CELL, style_sheet
from tinystyle.data.ingest import ingest
from tinystyle.model_file import load_model, save_model
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.training.judge import to_image

RESULTS = Path(__file__).with_name("time_to_quality.jsonl")
PAINTINGS = ("starry_night", "great_wave", "shipwreck")
SEEDS = (0, 1)
WAYS = {
    "narrow, start": ("narrow", "auto", 4),
    "narrow": ("narrow", "random", 4),
    "vgg16": ("vgg16", "random", 4),
    "vgg16, start": ("vgg16", "auto", 4),
    "vgg16, start, one photo": ("vgg16", "auto", 1),
    "vgg16, start, one photo, teacher": ("vgg16", "auto", 1),
}
"""By name: loss network, where the weights start, and photos to a step. A teacher is a run of --learned."""
LENGTHS = {
    "narrow, start": (100, 200, 400, 800),
    "narrow": (400,),
    "vgg16": (200, 400),
    "vgg16, start": (400,),
    "vgg16, start, one photo": (200, 400, 800, 1600),
    "vgg16, start, one photo, teacher": (400, 800),
}
LEARNED = (400, 1000, 3000)
"""Steps of the runs of --learned; how long their commands take on this machine follows from those of `vgg16`."""
EVERY, SHOWN = 4, 0
"""Of the held-out photos, every fourth is judged, and the first of them is in the picture."""
IN_PICTURE = (
    ("narrow, start", 200),
    *(("vgg16, start, one photo", steps) for steps in LENGTHS["vgg16, start, one photo"]),
    ("vgg16", 400),
    ("vgg16 (GPU)", 1000),
    ("vgg16 (GPU)", 3000),
)
"""The ways, and their steps, of the columns of the picture."""
FIGURES = ("content", "paint3", "paint4", "score", "second3", "second4")


def runs() -> Iterator[dict[str, Any]]:
    """Yield all runs, the short ones first."""
    for steps in sorted({steps for lengths in LENGTHS.values() for steps in lengths}):
        for seed in SEEDS:
            for painting in PAINTINGS:
                for way, lengths in LENGTHS.items():
                    if steps in lengths:
                        run = {"painting": painting, "way": way, "seed": seed, "steps": steps}
                        yield {"run": f"{way} {painting} {seed} {steps}", **run}


def train(run: dict[str, Any], data: Path, dataset: Path, out: Path) -> dict[str, Any]:
    """Run the command, judge its network, and return the line of results."""
    folder = out / run["run"].replace(" ", "_")
    perceptual, start, batch = WAYS[run["way"]]
    command = [
        sys.executable, "-m", "tinystyle", "train", "--style", style_file(run, data), "--photos", str(dataset),
        "--out", str(folder), "--export", str(folder / "style.mlmodel"), "--resume", "never", "--no-track",
        "--size", "128", "--steps", str(run["steps"]), "--seed", str(run["seed"]), "--perceptual", perceptual,
        "--init-from", start, "--batch-size", str(batch),
        "--checkpoint-every", str(run["steps"]), "--preview-every", str(run["steps"]),
    ]  # fmt: skip
    if "teacher" in run["way"]:
        command += ["--teacher", str(out / f"teacher_{run['painting']}.safetensors")]
    if perceptual == "vgg16":
        command += ["--perceptual-weights", weights_file(data)]
    began = monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = monotonic() - began
    network = load_model(folder / "model.safetensors").network
    return {**run, "seconds": round(seconds, 1), **judged(network, run, folder, data, dataset)}


def judged(network: StyleNetwork, run: dict[str, Any], folder: Path, data: Path, dataset: Path) -> dict[str, Any]:
    row, outputs = judge(network, run, data, dataset, EVERY)
    folder.mkdir(parents=True, exist_ok=True)
    outputs[SHOWN].save(folder / "held-out.png")
    figures = {name: round(value, 4) for name, value in asdict(row).items() if name in FIGURES}
    return {**figures, "score": round(row.score, 4)}


def learned(weights: Path, data: Path, dataset: Path, out: Path, done: set[str]) -> Iterator[dict[str, Any]]:
    """Judge the networks that benchmarks/learning.py trained on a GPU, a painting and seed after the other."""
    pairs = [(painting, seed) for painting in PAINTINGS for seed in SEEDS]
    for steps in LEARNED:
        states = load_file(weights / f"defaults_{steps}.safetensors")
        for index, (painting, seed) in enumerate(pairs):
            run = {"painting": painting, "way": "vgg16 (GPU)", "seed": seed, "steps": steps}
            run = {"run": f"vgg16 (GPU) {painting} {seed} {steps}", **run}
            if run["run"] not in done:
                yield {
                    **run,
                    **judged(small_network(states, index), run, out / run["run"].replace(" ", "_"), data, dataset),
                }


def write_teachers(weights: Path, out: Path) -> None:
    """Write the networks of the longest runs of benchmarks/learning.py as model files, one for each painting."""
    states = load_file(weights / f"defaults_{LEARNED[-1]}.safetensors")
    for index, painting in enumerate(PAINTINGS):
        network = small_network(states, index * len(SEEDS)).eval()
        save_model(network, out / f"teacher_{painting}.safetensors", NetworkConfig(), {})


def seconds_of(lines: list[dict[str, Any]], way: str, steps: int) -> float:
    """Mean time of the commands; of those of the GPU, what `vgg16` would take, by the line through its lengths."""
    if way != "vgg16 (GPU)":
        return mean(line["seconds"] for line in lines if (line["way"], line["steps"]) == (way, steps))
    (short, first), (long, last) = [(steps, seconds_of(lines, "vgg16", steps)) for steps in LENGTHS["vgg16"]]
    return first + (steps - short) * (last - first) / (long - short)


def table(lines: list[dict[str, Any]]) -> str:
    """Return the means over paintings and seeds as a Markdown table."""
    rows = [
        "| trained with | steps | runs | seconds | " + " | ".join(FIGURES) + " |",
        "|---|" + "---:|" * (3 + len(FIGURES)),
    ]
    for way, steps in sorted({(line["way"], line["steps"]) for line in lines}):
        own = [line for line in lines if (line["way"], line["steps"]) == (way, steps)]
        figures = " | ".join(f"{mean(line[name] for line in own):.3f}" for name in FIGURES)
        rows.append(f"| {way} | {steps} | {len(own)} | {seconds_of(lines, way, steps):.0f} | {figures} |")
    return "\n".join(rows)


def sheet(out: Path, dataset: Path) -> Image.Image:
    """Return a held-out photo, and what runs of more and more seconds make of it, a painting to a row."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    columns = {}
    done = {(line["way"], line["steps"]) for line in lines}
    for seconds, way, steps in sorted((seconds_of(lines, *kind), *kind) for kind in IN_PICTURE if kind in done):
        name = f"{way} {{}} {SEEDS[0]} {steps}".replace(" ", "_")
        files = [out / name.format(painting) / "held-out.png" for painting in PAINTINGS]
        if all(file.exists() for file in files):
            pictures = [ImageOps.fit(Image.open(file), CELL) for file in files]
            columns[f"{seconds:.0f} s: {way}\n{steps} steps"] = pictures
    photo = ImageOps.fit(to_image(photos(dataset)[::EVERY][SHOWN]), CELL)
    return style_sheet([photo] * len(PAINTINGS), columns)


def append(line: dict[str, Any]) -> None:
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments") / "time_to_quality")
    parser.add_argument("--only", default="", help="run only what has this text in its name")
    parser.add_argument("--limit", type=int, default=10**6, help="maximum number of runs to train")
    parser.add_argument("--learned", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    dataset = arguments.out / "photos"
    ingest(str(arguments.data / "photos"), str(dataset), size=SIDE)
    done = {json.loads(line)["run"] for line in RESULTS.read_text().splitlines()} if RESULTS.exists() else set()
    if arguments.learned:
        write_teachers(arguments.learned, arguments.out)
        for line in learned(arguments.learned, arguments.data, dataset, arguments.out, done):
            append(line)
    left = [run for run in runs() if run["run"] not in done and arguments.only in run["run"]]
    for run in left[: arguments.limit]:
        append(train(run, arguments.data, dataset, arguments.out))
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))
    if arguments.sheet:
        sheet(arguments.out, dataset).save(arguments.sheet)


if __name__ == "__main__":
    main()

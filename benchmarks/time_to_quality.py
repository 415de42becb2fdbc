"""Trains on three paintings for more and more steps, with the loss networks narrow and vgg16, and times the commands.

    python benchmarks/time_to_quality.py --data FOLDER [--out FOLDER] [--only TEXT] [--limit N]

FOLDER is as for benchmarks/experiments.py. A run is the command `tinystyle train --export FILE` in a fresh process, from
its start to its end: small 0.3, crops of 128 px, without MLflow. Its network is judged by VGG16 on all held-out photos,
whatever it was trained with. Finished runs are lines of benchmarks/time_to_quality.jsonl and are skipped. Prints the
table, and with --sheet FILE writes a picture: what the runs of each length make of a held-out photo.
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

from tinystyle.data.contact_sheet import CELL, style_sheet
from tinystyle.data.ingest import ingest
from tinystyle.model_file import load_model
from tinystyle.training.callbacks import to_image

RESULTS = Path(__file__).with_name("time_to_quality.jsonl")
PAINTINGS = ("starry_night", "great_wave", "shipwreck")
SEEDS = (0, 1)
LENGTHS = {"narrow": (100, 200, 400, 800, 1600), "vgg16": (200, 800, 3000)}
SHOWN = 0
"""Held-out photo in the picture."""
FIGURES = ("content", "paint3", "paint4", "score", "second3", "second4")


def runs() -> Iterator[dict[str, Any]]:
    """Yield all runs, the short ones first."""
    for steps in sorted({steps for lengths in LENGTHS.values() for steps in lengths}):
        for seed in SEEDS:
            for painting in PAINTINGS:
                for perceptual, lengths in LENGTHS.items():
                    if steps in lengths:
                        name = f"{perceptual} {painting} {seed} {steps}"
                        run = {"painting": painting, "perceptual": perceptual, "seed": seed, "steps": steps}
                        yield {"run": name, **run}


def train(run: dict[str, Any], data: Path, dataset: Path, out: Path) -> dict[str, Any]:
    """Run the command, judge its network, and return the line of results."""
    folder = out / run["run"].replace(" ", "_")
    command = [
        sys.executable, "-m", "tinystyle", "train", "--style", style_file(run, data), "--photos", str(dataset),
        "--out", str(folder), "--export", str(folder / "style.mlmodel"), "--resume", "never", "--no-track",
        "--size", "128", "--steps", str(run["steps"]), "--seed", str(run["seed"]), "--perceptual", run["perceptual"],
        "--checkpoint-every", str(run["steps"]), "--preview-every", str(run["steps"]),
    ]  # fmt: skip
    if run["perceptual"] == "vgg16":
        command += ["--perceptual-weights", weights_file(data)]
    began = monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = monotonic() - began
    row, outputs = judge(load_model(folder / "model.safetensors").network, run, data, dataset)
    outputs[SHOWN].save(folder / "held-out.png")
    figures = {name: round(value, 4) for name, value in asdict(row).items() if name in FIGURES}
    return {**run, "seconds": round(seconds, 1), **figures, "score": round(row.score, 4)}


def table(lines: list[dict[str, Any]]) -> str:
    """Return the means over paintings and seeds as a Markdown table."""
    rows = [
        "| loss network | steps | runs | seconds | " + " | ".join(FIGURES) + " |",
        "|---|" + "---:|" * (3 + len(FIGURES)),
    ]
    for perceptual, steps in sorted({(line["perceptual"], line["steps"]) for line in lines}):
        own = [line for line in lines if (line["perceptual"], line["steps"]) == (perceptual, steps)]
        figures = " | ".join(f"{mean(line[name] for line in own):.3f}" for name in FIGURES)
        rows.append(
            f"| {perceptual} | {steps} | {len(own)} | {mean(line['seconds'] for line in own):.0f} | {figures} |"
        )
    return "\n".join(rows)


def sheet(out: Path, dataset: Path) -> Image.Image:
    """Return a held-out photo, and what the runs of each length make of it, a painting to a row."""
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    columns = {}
    for seconds, perceptual, steps in sorted(
        (mean(line["seconds"] for line in lines if (line["perceptual"], line["steps"]) == kind), *kind)
        for kind in {(line["perceptual"], line["steps"]) for line in lines}
    ):
        files = [out / f"{perceptual}_{painting}_{SEEDS[0]}_{steps}" / "held-out.png" for painting in PAINTINGS]
        if all(file.exists() for file in files):
            pictures = [ImageOps.fit(Image.open(file), CELL) for file in files]
            columns[f"{seconds:.0f} s: {perceptual}\n{steps} steps"] = pictures
    photo = ImageOps.fit(to_image(photos(dataset)[SHOWN]), CELL)
    return style_sheet([photo] * len(PAINTINGS), columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments") / "time_to_quality")
    parser.add_argument("--only", default="", help="run only what has this text in its name")
    parser.add_argument("--limit", type=int, default=10**6, help="maximum number of runs to train")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    dataset = arguments.out / "photos"
    ingest(str(arguments.data / "photos"), str(dataset), size=SIDE)
    done = {json.loads(line)["run"] for line in RESULTS.read_text().splitlines()} if RESULTS.exists() else set()
    left = [run for run in runs() if run["run"] not in done and arguments.only in run["run"]]
    for run in left[: arguments.limit]:
        line = train(run, arguments.data, dataset, arguments.out)
        with RESULTS.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    print(table([json.loads(line) for line in RESULTS.read_text().splitlines()]))
    if arguments.sheet:
        sheet(arguments.out, dataset).save(arguments.sheet)


if __name__ == "__main__":
    main()

"""Trains on the same global batches with one process and with two, in turn, and prints the images per second.

    python benchmarks/scaling.py --photos DATASET [--rounds N] [--steps N] [--size PIXELS]

DATASET was made by `tinystyle ingest`. One process has all cores, of two each has half of them. The rate is that of the
run's record: without start-up, checkpoints and previews.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tinystyle.config import RunConfig
from tinystyle.nets import build_network
from tinystyle.training.record import RunRecord


def images_per_second(photos: Path, devices: int, steps: int, size: int, folder: Path) -> float:
    command = [
        sys.executable, "-m", "tinystyle", "train", "--style", "builtin:wave", "--photos", str(photos), "--out", str(folder),
        "--devices", str(devices), "--steps", str(steps), "--size", str(size), "--checkpoint-every", str(steps),
        "--preview-every", str(steps), "--perceptual", "narrow", "--no-track",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return float(RunRecord.read(folder).results["images_per_second"] or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(arguments.rounds):
            for devices, found in rates.items():
                run = Path(folder) / f"{devices}-{round_number}"
                found.append(images_per_second(arguments.photos, devices, arguments.steps, arguments.size, run))
                print(f"{devices} processes: {found[-1]:.2f} images/s", flush=True)
    one, two = (median(found) for found in rates.values())
    ratios = [two / one for one, two in zip(*rates.values(), strict=True)]
    network = RunConfig.model_fields["network"].default
    weights = sum(weight.numel() for weight in build_network(network.architecture, network.alpha).parameters())
    print(f"one {one:.2f}, two {two:.2f} images/s; ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"gradient: {weights:,} numbers, {4 * weights:,} bytes a step")


if __name__ == "__main__":
    main()

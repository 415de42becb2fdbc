"""Trains the runs of a named grid, one after the other, and prints their table. Finished runs are kept and skipped.

    python benchmarks/experiments.py GRID --data FOLDER [--out FOLDER]

FOLDER holds photos/, styles/*.jpg and weights/*.safetensors (VGG16). Every finished run is a line of benchmarks/GRID.jsonl.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from time import monotonic

from rich.console import Console

from tinystyle.config import RunConfig
from tinystyle.training.launch import launch, prepare
from tinystyle.training.objective import held_out_rows

HERE = Path(__file__).parent
PAINTINGS = ("great_wave", "starry_night", "shipwreck", "poppy_field", "composition_vii")


def style_weight() -> Iterator[tuple[str, dict[str, object]]]:
    """`johnson` on five paintings: how far is a mere color match from a stylisation?"""
    for painting in PAINTINGS:
        yield painting, {"style": painting, "architecture": "johnson", "alpha": 1.0, "steps": 600, "size": 128}


GRIDS = {"style_weight": style_weight}


def config_of(run: dict[str, object], data: Path) -> RunConfig:
    """The RunConfig of a grid's entry."""
    loss = {"perceptual_weights": str(next((data / "weights").glob("*.safetensors")))}
    return RunConfig.model_validate(
        {
            "style": str(data / "styles" / f"{run['style']}.jpg"),
            "photos": str(data / "photos"),
            "network": {"architecture": run["architecture"], "alpha": run["alpha"]},
            "loss": loss,
            "data": {"size": run["size"]},
            "optimizer": {"steps": run["steps"]},
            "execution": {"track": False},
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", choices=sorted(GRIDS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments"))
    arguments = parser.parse_args()
    results = HERE / f"{arguments.grid}.jsonl"
    done = {json.loads(line)["run"] for line in results.read_text().splitlines()} if results.exists() else set()
    for name, run in GRIDS[arguments.grid]():
        if name in done:
            continue
        began, folder = monotonic(), arguments.out / arguments.grid / name.replace(" ", "_").replace(",", "")
        config = config_of(run, arguments.data)
        # A collapsed run is a result here: its last checkpoint is evaluated like a model.
        record = launch(prepare(config, folder, resume=True), folder, say=print)
        if record.state in ("stopped", "failed"):
            raise SystemExit(record.message)
        model = folder / ("model.safetensors" if record.state == "completed" else "last.ckpt")
        rows = [asdict(row) for row in held_out_rows(folder, model)]
        line = {
            "run": name,
            **run,
            "style_weight": config.loss.style_weight,
            "state": record.state,
            "step": record.step,
        }
        with results.open("a") as file:
            file.write(json.dumps({**line, "seconds": round(monotonic() - began), "rows": rows}) + "\n")
    print_table(results)


def print_table(results: Path) -> None:
    """The rows of all finished runs as a Markdown table."""
    screen = Console(width=200, highlight=False)
    screen.print("| run | ended | row | content | style | total | color match / total | bad blocks | worst photo |")
    screen.print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    for line in map(json.loads, results.read_text().splitlines()):
        totals = {row["name"]: row["total"] for row in line["rows"]}
        for row in line["rows"]:
            losses = " | ".join(f"{row[name]:.3f}" for name in ("content", "style", "total"))
            ratio = totals["color match"] / row["total"]
            bad = f"{row['bad_blocks']:.2%} | {row['worst_photo']:.2%}"
            screen.print(
                f"| {line['run']} | {line['state']} at {line['step']} | {row['name']} | {losses} | {ratio:.2f} | {bad} |"
            )


if __name__ == "__main__":
    main()

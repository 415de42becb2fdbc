"""Adds the network of a finished run to the package, as tinystyle/styles/pretrained/NAME.safetensors.

    python scripts/ship_style.py RUN NAME --painting "The Starry Night, Vincent van Gogh, 1889" --photos DATASET

Weights are converted to float16 (28 KB for `small` 0.3, including the record). The figures in the record are measured
on the written file, on all held-out photos of DATASET (anything that `tinystyle evaluate` accepts), at a short side of
384 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from tinystyle.evaluation.model_report import evaluate_model
from tinystyle.model_file import load_model, save_model
from tinystyle.styles import pretrained
from tinystyle.training.record import RunRecord

SIDE = 384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--painting", required=True, help="title, painter and year of the painting")
    parser.add_argument("--photos", required=True)
    arguments = parser.parse_args()
    run = RunRecord.read(arguments.run)
    if run.state != "completed":
        raise SystemExit(f"{arguments.run} is {run.state}; only a completed run ships")
    config = run.config
    model = load_model(arguments.run / "model.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "half.safetensors"
        save_model(model.network, half, model.config, model.lineage, dtype=torch.float16)
        report = evaluate_model(
            str(half), photos=arguments.photos, style=config.style, loss=config.loss, size=SIDE, exports=False
        )
    row = report.rows[-1]
    record = {
        "painting": arguments.painting,
        "network": report.name,
        "weights": str(report.weights),
        "crop": str(config.data.size),
        "batch": str(config.data.batch_size),
        "training": training(run),
        "seed": str(config.seed),
        "perceptual": config.loss.perceptual,
        "style_side": str(config.style_side),
        "style_weight": f"{run.results['style_weight']:.3g}",
        "photographs": f"{report.count} held out, short side {report.short_side}",
        **{name: f"{getattr(row, name):.3f}" for name in ("content", "paint3", "paint4", "score")},
        "worst_photo": f"{row.worst_photo:.4f}",
        "checkerboard": f"{row.checkerboard:.2f}",
        "border_error": f"{row.border_error:.2f}",
    }
    out = Path(pretrained.__file__).parent / f"{arguments.name}.safetensors"
    save_model(model.network, out, model.config, model.lineage, record=record, dtype=torch.float16)
    print(f"{out}: {out.stat().st_size:,} bytes; {record}")


def training(run: RunRecord) -> str:
    """Describe the training: steps and crop size, preceded by those of the run it started from."""
    config = run.config
    stage = f"{config.optimizer.steps} steps at {config.data.size} px"
    return f"{training(RunRecord.read(Path(config.init_from).parent))}, then {stage}" if config.init_from else stage


if __name__ == "__main__":
    main()

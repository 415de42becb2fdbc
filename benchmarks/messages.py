"""What wrong command lines are answered, and how fast, in two versions of tinystyle; writes the table of messages.md.

    git worktree add build/before 58a3b18
    python -m benchmarks.messages --before build/before

Every line runs in a process of its own; the time is in CPU seconds. Nothing is trained, except
the micro-run that the lines name.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.photos import synthetic_photo
from tests.support.runs import micro_config
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.data.ingest import ingest
from tinystyle.model_file import load_model
from tinystyle.training.launch import prepare
from tinystyle.training.runner import fit

__all__ = ["LINES", "main"]

TREE = Path(__file__).parents[1]
START = "try:\n from tinystyle.commands.app import main\nexcept ImportError:\n from tinystyle.cli import main\nmain()"
TRAIN = "train --style builtin:wave --photos dataset --out t"
LINES = (
    "-h",
    "trian",
    "quantize run",
    "train",
    "train --out t",
    f"{TRAIN} --lr 0.1",
    f"{TRAIN} --epochs 3",
    f"{TRAIN} --steps 4k",
    f"{TRAIN} --steps 1e4",
    f"{TRAIN} --precision fp16",
    f"{TRAIN} --resume maybe",
    f"{TRAIN} --alpha x",
    f"{TRAIN} --size 8",
    f"{TRAIN} --architecture smal",
    f"{TRAIN} --perceptual vgg61",
    f"{TRAIN} --perceptual-weights photos",
    "train --style builtin:Wave --photos dataset --out t",
    "train --style wave --photos dataset --out t",
    "train --style run/model.safetensors --photos dataset --out t",
    "train --style builtin:wave --photos dataset --out t --checkpoints s3://nobucket",
    "ingest photos",
    "ingest photos new --size 1e3",
    "ingest photos photos/photo-00.png/new",
    "ingest s3://nobucket/photos new",
    "ingest gs://bucket/photos new",
    "evaluate run --photos dataset",
    "evaluate run/model.safetensors --photos dataset --no-export",
    "evaluate micro.mlmodel --photos dataset --style builtin:wave",
    "export run --format mlmodel --out a.mlmodel",
    "export run/model.safetensors --out a.mlmodel",
    "export run/model.safetensors --format onnx --out a.onnx",
    "export run/model.safetensors --format mlmodel --bits 5 --out a.mlmodel",
    "export run/model.safetensors --format mlpackage --ios 15 --out a.mlpackage",
    "export starry-night --format mlmodel --out a.mlmodel",
    "verify run --against micro.mlmodel --photos dataset",
    "verify micro.mlmodel --against micro.mlmodel --photos dataset",
    "swift run/model.safetensors",
    "stylize photos/photo-00.png micro.mlmodel --out s",
    "stylize micro.mlmodel photos/photo-00.png --out s --strength 2",
    "stylize micro.mlmodel photos/photo-00.png --out s --max-side 0",
    "published wave --root pub",
    "rollback wave --root pub",
)


def main() -> None:
    """Run every line in both versions, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the version to compare with")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_suffix(".md"), help="page whose table is replaced"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tinystyle-messages-") as folder:
        _places(Path(folder))
        rows = [_row(line, options.before.resolve(), Path(folder)) for line in LINES]
    head = "| command | before | s | after | s |\n|---|---|---:|---|---:|\n"
    text = options.out.read_text() if options.out.exists() else ""
    options.out.write_text(text.partition("| command |")[0] + head + "".join(rows))


def _places(folder: Path) -> None:
    """Make what the lines name: photos, a dataset, a run and its Core ML file."""
    (folder / "photos").mkdir()
    for number in range(24):
        synthetic_photo(number).save(folder / "photos" / f"photo-{number:02d}.png")
    ingest(str(folder / "photos"), str(folder / "dataset"), size=64, held_out=["photo-00.png"], workers=1)
    prepare(micro_config(folder / "dataset", steps=20), folder / "run", resume=True)
    fit(folder / "run", show_progress=False)
    model = load_model(folder / "run" / "model.safetensors")
    export_model(model, format="mlmodel", bits=8, size=(48, 32), out=folder / "micro.mlmodel")


def _row(line: str, before: Path, folder: Path) -> str:
    cells = [f"`{line}`"]
    for tree in (before, TREE):
        message, seconds = _answer(line, tree, folder)
        cells += [message.replace("|", "\\|"), f"{seconds:.1f}"]
    print(*cells, sep="\n  ", flush=True)
    return f"| {' | '.join(cells)} |\n"


def _answer(line: str, tree: Path, folder: Path) -> tuple[str, float]:
    """Return the error, or the first line if there is none, and the CPU seconds."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", START, *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, env=_environment(tree, folder), capture_output=True, text=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    text = (done.stderr if done.returncode else "") or done.stdout
    lines = [each.strip() for each in text.replace(str(folder), ".").splitlines() if each.strip()]
    errors = [each for each in lines if each.startswith(("Error", "Usage"))] if done.returncode else lines[:1]
    return " ".join(errors or lines[-1:]), seconds


def _environment(tree: Path, folder: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))}
    own = {"PYTHONPATH": str(tree), "TINYSTYLE_CACHE": str(folder / "cache"), "HOME": str(folder)}
    return kept | own | {"AWS_EC2_METADATA_DISABLED": "true"}


if __name__ == "__main__":
    main()

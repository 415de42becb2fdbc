"""Prints the table of a finished run on all its held-out photos, and draws its gallery on the photographs that ship in packages.

python benchmarks/show_run.py RUN_FOLDER GALLERY.jpg
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console

from tinystyle.demo import write_photos
from tinystyle.model_file import load_model
from tinystyle.report import GalleryRow, gallery
from tinystyle.stylize import stylize_photos
from tinystyle.training.objective import held_out_rows
from tinystyle.training.record import RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("gallery", type=Path)
    arguments = parser.parse_args()
    screen, config = Console(width=120, highlight=False), RunRecord.read(arguments.run).config
    model_file = arguments.run / "model.safetensors"
    screen.print("| | content | style | paint3 | paint4 | score | bad blocks | worst photo |")
    screen.print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for row in held_out_rows(arguments.run, model_file):
        figures = (row.content, row.style, row.paint3, row.paint4, row.score)
        losses = " | ".join(f"{figure:.3f}" for figure in figures)
        screen.print(f"| {row.name} | {losses} | {row.bad_blocks:.2%} | {row.worst_photo:.2%} |")

    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        stylised = stylize_photos(load_model(model_file), list(photos.values()), Path(folder) / "stylized")
        rows = [
            GalleryRow(photo=Image.open(photo).convert("RGB"), stylised=Image.open(result), caption=name)
            for (name, photo), result in zip(photos.items(), stylised, strict=True)
        ]
        painting = Path(config.style).stem.replace("_", " ").title()  # named, not shown
        title = f"{painting}: {config.network.architecture} {config.network.alpha:g}, {config.optimizer.steps} steps"
        gallery(rows, None, title).save(arguments.gallery, quality=88)


if __name__ == "__main__":
    main()

"""Draws the gallery of a trained network on photos that ship in Python packages. The painting is named, not shown.

python benchmarks/show_run.py MODEL GALLERY.jpg

MODEL is the folder of a run, or pretrained:NAME.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from PIL import Image

from tinystyle.commands.demo import write_photos
from tinystyle.data.contact_sheet import GalleryRow, gallery
from tinystyle.model_file import load_model
from tinystyle.stylize import stylize_photos
from tinystyle.training.run_model import model_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("gallery", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        model = load_model(model_of(arguments.model))
        stylized = stylize_photos(model, list(photos.values()), Path(folder) / "stylized")
        rows = [
            GalleryRow(photo=Image.open(photo).convert("RGB"), stylized=Image.open(result), caption=name)
            for (name, photo), result in zip(photos.items(), stylized, strict=True)
        ]
        painting = re.sub("[_-]", " ", model.lineage["style_name"]).title()
        title = f"{painting}: {model.config.architecture} {model.config.alpha:g}"
        gallery(rows, None, title).save(arguments.gallery, quality=88)


if __name__ == "__main__":
    main()

"""Draws the gallery of a finished run on photos that ship in Python packages. The painting is named, not shown.

python benchmarks/show_run.py RUN_FOLDER GALLERY.jpg
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from tinystyle.commands.demo import write_photos
from tinystyle.data.contact_sheet import GalleryRow, gallery
from tinystyle.model_file import load_model
from tinystyle.styles import image_name
from tinystyle.stylize import stylize_photos
from tinystyle.training.record import RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("gallery", type=Path)
    arguments = parser.parse_args()
    config = RunRecord.read(arguments.run).config
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder) / "photos")
        model = load_model(arguments.run / "model.safetensors")
        stylized = stylize_photos(model, list(photos.values()), Path(folder) / "stylized")
        rows = [
            GalleryRow(photo=Image.open(photo).convert("RGB"), stylized=Image.open(result), caption=name)
            for (name, photo), result in zip(photos.items(), stylized, strict=True)
        ]
        painting = image_name(config.style).replace("_", " ").title()
        title = f"{painting}: {config.network.architecture} {config.network.alpha:g}"
        gallery(rows, None, title).save(arguments.gallery, quality=88)


if __name__ == "__main__":
    main()

"""`tinystyle demo`: from sample photos to Core ML files and a gallery, without a download or a server."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from tinystyle import styles
from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.styles import pretrained

if TYPE_CHECKING:
    from tinystyle.evaluation import QualityRow
    from tinystyle.model_file import LoadedModel

from tinystyle.training.run_folder import RunFolder

__all__ = ["HELD_OUT", "STEPS", "demo_config", "first_look", "run_demo", "write_photos"]

STYLE = "builtin:starry-sky"
HELD_OUT = ("chelsea.png", "china.png")
FIRST_LOOK = ("astronaut", "chelsea", "china")
TRAINING = ("astronaut.png", "coffee.png", "flower.png", "motorcycle.png", "rocket.png")
INGEST_SIZE = 256
SIDE = 128
"""Of the crops, in pixels."""
SIZE = (640, 480)
STEPS = 200


def demo_config(photos: Path, steps: int) -> RunConfig:
    """Return the demo's configuration on the dataset `photos`: `small`, alpha 0.3, loss network narrow."""
    return RunConfig(
        style=STYLE,
        photos=str(photos),
        network=NetworkConfig(architecture="small", alpha=0.3),
        loss=LossConfig(perceptual="narrow"),
        data=DataConfig(size=SIDE),
        optimizer=OptimizerConfig(steps=steps),
        execution=ExecutionConfig(checkpoint_every=steps, preview_every=100),
    )


def run_demo(out: Path, screen: Console, steps: int = STEPS) -> list[QualityRow]:
    """Run the demo: write all files to the folder `out`, print a summary, and return the rows of the evaluation.

    The files are photos, a dataset, a run, Core ML files and gallery.png.

    Raises:
        UserError: the packages of `tinystyle[demo]` are not installed, training failed, or an exported file does not
            match the network.
    """
    began = monotonic()
    photos = write_photos(out / "photos")
    screen.print(
        f"{len(photos)} photographs in {out / 'photos'}; {' and '.join(HELD_OUT)} are held out of training",
        soft_wrap=True,
    )

    sheet = first_look(photos, out / "styles.png")
    screen.print(
        f"What {len(pretrained.names())} trained networks of 28 KB make of them: {sheet} ({monotonic() - began:.0f} s)",
        soft_wrap=True,
    )

    from tinystyle.data.ingest import ingest
    from tinystyle.training.launch import launch, prepare

    ingest(str(out / "photos"), str(out / "dataset"), size=INGEST_SIZE, held_out=HELD_OUT)
    run = out / "run"
    record = prepare(demo_config(out / "dataset", steps), run, resume=True)
    if record.state != "completed":
        record = launch(record, run)
    if record.state != "completed":
        raise UserError(f"the demo's training {record.message}")
    rows = _finish(out, photos, screen)
    screen.print(f"Total time: {monotonic() - began:.0f} s.")
    return rows


def first_look(photos: dict[str, Path], sheet: Path) -> Path:
    """Write a PNG with three photos, cropped to 300x260 pixels, in every style of the package, and return its path.

    Args:
        photos: paths of photos, by name.
        sheet: path of the PNG.
    """
    from tinystyle.data.contact_sheet import CELL, style_sheet
    from tinystyle.model_file import load_model
    from tinystyle.stylize import stylize_image

    shown = [ImageOps.fit(Image.open(photos[name]).convert("RGB"), CELL) for name in FIRST_LOOK]
    columns = {}
    for name in pretrained.names():
        model = load_model(pretrained.PREFIX + name)
        columns[f"{name}\n{pretrained.painting_of(name)}"] = [stylize_image(model, photo) for photo in shown]
    with storage.atomic_path(sheet) as temporary:
        style_sheet(shown, columns).save(temporary, format="PNG")
    return sheet


def _finish(out: Path, photos: dict[str, Path], screen: Console) -> list[QualityRow]:
    """Evaluate, export and verify the network and draw the gallery; print the tables and the paths."""
    from tinystyle.evaluation.model_report import evaluate_model
    from tinystyle.model_file import load_model

    model_file = RunFolder(out / "run").model
    model, config = load_model(model_file), demo_config(out / "dataset", STEPS)
    report = evaluate_model(
        str(model_file), photos=str(out / "dataset"), style=STYLE, loss=config.loss, size=SIDE, exports=False
    )
    for table in report.tables():
        screen.print(table)
    shown = _export(model, out, screen)
    sheet = _gallery(model, out, photos, f"{shown.stat().st_size:,} bytes")
    for what, path in (("Core ML, 8 bits", shown), ("model", model_file), ("gallery", sheet)):
        screen.print(f"{what}: {path} ({path.stat().st_size:,} bytes)", soft_wrap=True)
    return report.rows


def _export(model: LoadedModel, out: Path, screen: Console) -> Path:
    """Write every Core ML file with its card, verify it on the held-out photos, and return the 8-bit .mlmodel."""
    from tinystyle.coreml import VARIANTS
    from tinystyle.coreml.exporter.convert import export_model
    from tinystyle.coreml.verification.verify import verify
    from tinystyle.release.card import newest_preview, write_card

    held_out = [(name, Image.open(out / "photos" / name).convert("RGB")) for name in HELD_OUT]
    preview = newest_preview(str(RunFolder(out / "run").model))
    table = Table("Core ML file", title="Exports at 640x480, read back and compared with the network")
    for column in ("bits", "bytes", "lowest PSNR, dB"):
        table.add_column(column, justify="right")
    shown = out / "starry-sky.mlmodel"
    for format, bits, ios in VARIANTS:
        file = (
            shown
            if (format, bits) == ("mlmodel", 8)
            else out / "coreml" / f"starry-sky-{'int4' if ios == 18 else bits}.{format}"
        )
        exported = export_model(model, format=format, bits=bits, size=SIZE, out=file, ios=ios)
        result = verify(file, model, held_out)
        if not result.passed:
            raise UserError(f"{file}: {result.sentence()}")
        write_card(exported, model, preview=preview, verification=result.paragraph())
        table.add_row(str(file.relative_to(out)), str(bits), f"{exported.bytes:,}", f"{result.worst:.1f}")
    screen.print(table)
    return shown


def _gallery(model: LoadedModel, out: Path, photos: dict[str, Path], size: str) -> Path:
    from tinystyle.data.contact_sheet import GalleryRow, gallery
    from tinystyle.stylize import stylize_photos

    stylized = stylize_photos(model, list(photos.values()), out / "stylized")
    rows = [
        GalleryRow(
            photo=Image.open(photo).convert("RGB"),
            stylized=Image.open(result),
            caption=name + (" (held out)" if photo.name in HELD_OUT else ""),
        )
        for (name, photo), result in zip(photos.items(), stylized, strict=True)
    ]
    title = f"{size}: {model.config.architecture} {model.config.alpha:g} as Core ML at 8 bits"
    sheet = gallery(rows, Image.fromarray(styles.load_style(STYLE, 512)), title)
    with storage.atomic_path(out / "gallery.png") as temporary:
        sheet.save(temporary, format="PNG")
    return out / "gallery.png"


def write_photos(folder: Path) -> dict[str, Path]:
    """Write the seven sample photos as PNG files, and return their paths by name, held-out photos first.

    Raises:
        UserError: the packages of `tinystyle[demo]` are not installed.
    """
    try:
        from skimage import data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise UserError("the demo's photos come with two packages: pip install 'tinystyle[demo]'") from error
    scikit_image: Any = data  # not typed
    pixels: dict[str, np.ndarray] = {
        "astronaut.png": scikit_image.astronaut(),
        "chelsea.png": scikit_image.chelsea(),
        "coffee.png": scikit_image.coffee(),
        "rocket.png": scikit_image.rocket(),
        "motorcycle.png": scikit_image.stereo_motorcycle()[0],
        "china.png": load_sample_image("china.jpg"),
        "flower.png": load_sample_image("flower.jpg"),
    }
    paths = {}
    for name in (*HELD_OUT, *TRAINING):
        path = folder / name
        with storage.atomic_path(path) as temporary:
            Image.fromarray(pixels[name]).save(temporary, format="PNG")
        paths[path.stem] = path
    return paths

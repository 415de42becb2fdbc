"""`tinystyle demo`: from photographs that ship in packages to a Core ML file and a gallery, with no download and no server."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from tinystyle import storage, styles
from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig

if TYPE_CHECKING:
    from tinystyle.evaluation import LossRow

__all__ = ["HELD_OUT", "STEPS", "demo_config", "run_demo", "write_photos"]

STYLE = "builtin:starry-sky"
HELD_OUT = ("chelsea.png", "china.png")
TRAINING = ("astronaut.png", "coffee.png", "flower.png", "motorcycle.png", "rocket.png")
SIZE = (640, 480)
STEPS = 500


def demo_config(photos: Path, steps: int) -> RunConfig:
    """The demo's run on the dataset `photos`: `small` at alpha 0.3, EfficientNet-Lite0 as the loss network."""
    return RunConfig(
        style=STYLE,
        photos=str(photos),
        network=NetworkConfig(architecture="small", alpha=0.3),
        loss=LossConfig(perceptual="efficientnet-lite0", style_size=384),
        data=DataConfig(size=192),
        optimizer=OptimizerConfig(steps=steps),
        execution=ExecutionConfig(checkpoint_every=100, preview_every=100),
    )


def run_demo(out: Path, screen: Console, steps: int = STEPS) -> list[LossRow]:
    """Write photos, dataset, run, Core ML file and gallery.png below `out`, print what came of it, and return the table's rows.

    Raises:
        ValueError: the packages of `tinystyle[demo]` are not installed, or training failed.
    """
    began = monotonic()
    photos = write_photos(out / "photos")
    screen.print(
        f"{len(photos)} photographs in {out / 'photos'}; {' and '.join(HELD_OUT)} are held out of training",
        soft_wrap=True,
    )

    from tinystyle.data.ingest import ingest
    from tinystyle.training.launch import launch, prepare

    ingest(str(out / "photos"), str(out / "dataset"), size=256, held_out=HELD_OUT)
    run = out / "run"
    record = prepare(demo_config(out / "dataset", steps), run, resume=True)
    if record.state != "completed":
        record = launch(record, run, say=screen.print)
    if record.state != "completed":
        raise ValueError(f"the demo's training {record.message}")
    rows = _finish(out, photos, screen)
    screen.print(f"All of it took {monotonic() - began:.0f} s.")
    return rows


def _finish(out: Path, photos: dict[str, Path], screen: Console) -> list[LossRow]:
    """Export, evaluate, draw the gallery, print the table and the paths."""
    from tinystyle.coreml.convert import export_model
    from tinystyle.model_file import load_model
    from tinystyle.report import GalleryRow, gallery
    from tinystyle.stylize import stylize_photos
    from tinystyle.training.objective import held_out_rows

    model_file = out / "run" / "model.safetensors"
    model = load_model(model_file)
    exported = export_model(model, format="mlmodel", bits=8, size=SIZE, out=out / "starry-sky.mlmodel")
    stylised = stylize_photos(model, list(photos.values()), out / "stylized")

    table = Table("", title="Held-out photos: losses")
    for column in ("content", "style", "total", "bad blocks"):
        table.add_column(column, justify="right")
    results = held_out_rows(out / "run", model_file)
    for row in results:
        table.add_row(row.name, f"{row.content:.3f}", f"{row.style:.3f}", f"{row.total:.3f}", f"{row.bad_blocks:.2%}")
    screen.print(table)

    rows = [
        GalleryRow(
            photo=Image.open(photo).convert("RGB"),
            stylised=Image.open(result),
            caption=name + (" (held out)" if photo.name in HELD_OUT else ""),
        )
        for (name, photo), result in zip(photos.items(), stylised, strict=True)
    ]
    sheet = gallery(
        rows,
        Image.fromarray(styles.load_style(STYLE, 512)),
        f"{exported.bytes:,} bytes: {model.config.architecture} {model.config.alpha:g} as Core ML at 8 bits",
    )
    with storage.atomic_path(out / "gallery.png") as temporary:
        sheet.save(temporary, format="PNG")
    for what, path in (("Core ML, 8 bits", exported.path), ("model", model_file), ("gallery", out / "gallery.png")):
        size = path.stat().st_size
        screen.print(f"{what}: {path} ({size:,} bytes)", soft_wrap=True)
    return results


def write_photos(folder: Path) -> dict[str, Path]:
    """The seven photographs as PNG files; name -> path, the held-out ones first."""
    try:
        from skimage import data
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ValueError("the demo's photographs come with packages: pip install 'tinystyle[demo]'") from error
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

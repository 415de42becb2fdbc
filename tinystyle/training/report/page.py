"""The report's page. This module determines the content, `templates/` the appearance. Imports no torch."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from tinystyle import styles
from tinystyle.config import PARAMETERS, flat
from tinystyle.data import storage
from tinystyle.data.shards import evenly_spaced
from tinystyle.errors import UserError
from tinystyle.training.html import data_uri, jpeg_uri, page
from tinystyle.training.record import RunRecord
from tinystyle.training.report.curves import PANELS, Metrics, write_curves
from tinystyle.training.run_folder import RunFolder, metric_lines
from tinystyle.training.style_list import style_title

__all__ = ["write_report"]

PREVIEWS = 7
"""Previews of the history, at most, evenly spaced."""
NEWEST_WIDTH, EARLIER_WIDTH = 1600, 640
"""Widths to which previews are scaled down, in pixels."""
FIGURES = {
    "held_out_content": ("content", "how much of the photo is lost; an untouched photo has 0"),
    "held_out_paint3": ("paint3", "distance to the painting in its finer features; an untouched photo has 1"),
    "held_out_paint4": ("paint4", "distance to the painting in its coarser features; an untouched photo has 1"),
    "held_out_score": ("score", "content + 2 (paint3 + paint4)"),
    "held_out_bad_blocks": ("bad blocks", "fraction of the picture that is black, white or flat without need"),
    "style_weight": ("style weight", "found by the training, if it was to find it"),
    "images_per_second": ("images/s", "in training, on that machine"),
}
"""Results of a run record: name on the page, and what it means."""
STATES = {
    "running": "is at",
    "stopped": "was stopped at",
    "killed": "was killed at",
    "failed": "failed at",
    "collapsed": "collapsed, and stands at",
    "completed": "is complete, with",
}


def write_report(run: str | Path, out: Path | None = None) -> Path:
    """Write the report of a run, complete or not, as one HTML file, atomically.

    Args:
        run: folder of the run.
        out: path of the file; by default report.html in the folder.

    Returns:
        The path of the file.

    Raises:
        UserError: the folder holds no run, or its record is damaged.
        OSError: the file cannot be written.
    """
    folder = storage.local_path(run)
    try:
        record = RunRecord.read(folder)
    except FileNotFoundError as error:
        raise UserError(f"{run}: has no run.json; give the folder of a run") from error
    files = RunFolder(folder)
    config = record.config
    network = config.network
    text = page(
        "tinystyle.training.report",
        title=style_title(config),
        network=f"{network.architecture} {network.alpha:g}",
        style=", ".join(map(_image, config.styles or (config.style,))),
        state=STATES[record.state],
        message=record.message,
        step=record.step,
        steps=config.optimizer.steps,
        previews=_previews(files.previews),
        curves=_curves(metrics := _metrics(files.metrics)),
        curves_of=[label for name, label, _ in PANELS if name in metrics],
        figures=[
            (name, f"{record.results[key]:.3g}", meaning)
            for key, (name, meaning) in FIGURES.items()
            if key in record.results
        ],
        settings=_settings(record),
        lineage=sorted(record.lineage.items()),
    )
    path = out or folder / "report.html"
    storage.write_bytes(path, text.encode())
    return path


def _image(style: str) -> str:
    return style if styles.builtin_name(style) else PurePosixPath(style).name


def _metrics(file: Path) -> Metrics:
    """Return the metrics of every step; one that was trained again counts as it was the last time."""
    found = (
        (step, {k: v for k, v in values.items() if isinstance(v, int | float)}) for step, values in metric_lines(file)
    )
    lines = {step: values for step, values in found if values.keys() >= {"content", "style"}}
    steps = sorted(lines)
    names = set.intersection(*(set(lines[step]) for step in steps)) if steps else set()
    columns = {name: np.array([lines[step][name] for step in steps], dtype=np.float64) for name in names}
    return {name: column for name, column in columns.items() if np.isfinite(column).all()}


def _curves(metrics: Metrics) -> str:
    if not any(name in metrics for name, _, _ in PANELS):
        return ""
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
        file = Path(scratch) / "curves.svg"
        write_curves(file, metrics)
        return data_uri(file)


def _previews(folder: Path) -> list[dict[str, Any]]:
    """Return the newest preview first, then earlier ones, from the first."""
    files = sorted(folder.glob("step-*.png"))
    earlier = [files[index] for index in evenly_spaced(list(range(len(files) - 1)), PREVIEWS - 1)]
    return [
        {"step": int(file.stem.removeprefix("step-")), "uri": jpeg_uri(_scaled(file, width))}
        for file, width in [
            *((file, NEWEST_WIDTH) for file in files[-1:]),
            *((file, EARLIER_WIDTH) for file in earlier),
        ]
    ]


def _scaled(file: Path, width: int) -> Image.Image:
    with Image.open(file) as image:
        picture = image.convert("RGB")
    return picture if picture.width <= width else picture.resize((width, round(picture.height * width / picture.width)))


def _settings(record: RunRecord) -> list[dict[str, Any]]:
    """Return every parameter of the run, with what it means and whether it was changed."""
    return [
        {
            "name": name,
            "value": "" if value is None else value,
            "unit": parameter.unit,
            "help": parameter.help,
            "changed": parameter.required or value != parameter.default,
        }
        for name, value in flat(record.config).items()
        if (parameter := PARAMETERS.get(name))
    ]

"""The frontier page: one HTML file that embeds its images and loads nothing from any server. Imports no torch.

This module determines the content; `templates/` determines the appearance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from tinystyle import styles
from tinystyle.data import storage
from tinystyle.training.frontier.gallery import write_jpeg
from tinystyle.training.frontier.plots import AXES, COLORS
from tinystyle.training.frontier.rows import Row, fronts
from tinystyle.training.frontier.table import Column, columns_of, table_rows
from tinystyle.training.html import data_uri, page

__all__ = ["Facts", "Pictures", "write_page"]

THUMBNAIL = 192
"""Side of the thumbnail of a built-in style, in pixels. Paintings are only named, not copied."""
COST_NAMES = {"weights": "weights", "bytes": "bytes", "macs": "multiply-accumulates", "latency_ms": "latency"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """How the metrics were measured: photos, networks and machine."""

    photos: str
    count: int
    side: int
    perceptual: str
    second: str | None
    cpu: str
    threads: int
    rounds: int


@dataclass(frozen=True)
class Pictures:
    """The files of a gallery."""

    names: Sequence[str]
    """Names of the photos."""
    photos: Sequence[Path]
    made: Mapping[tuple[str, str], Sequence[Path]]
    """Maps (style, key) of a row to its stylized version of each photo."""


def write_page(
    path: Path, rows: Sequence[Row], plots: Mapping[str, Mapping[str, Path]], pictures: Pictures, facts: Facts
) -> None:
    """Write the page atomically.

    Args:
        path: path of the HTML file; a thumbnail of each built-in style is written to gallery/ beside it.
        rows: rows of all styles, including baselines, in display order.
        plots: PNG files by style and cost.
        pictures: image files of the gallery.
        facts: how the metrics were measured.
    """
    architectures = sorted({row.architecture for row in rows if row.architecture})
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(architectures)}
    columns = columns_of(rows)
    names = list(dict.fromkeys(row.style for row in rows))
    sections = [
        _section(
            f"style-{number}",
            [row for row in rows if row.style == style],
            columns,
            plots[style],
            pictures,
            colors,
            path,
        )
        for number, style in enumerate(names, 1)
    ]
    text = page(
        "tinystyle.training.frontier",
        sections=sections,
        networks=sum(row.architecture is not None and row.state != "impossible" for row in rows),
        facts=facts,
        training=_training(rows),
        columns=columns,
        photos=[
            {"name": name, "short": PurePosixPath(name).stem, "uri": data_uri(photo), "aspect": _aspect(photo)}
            for name, photo in zip(pictures.names, pictures.photos, strict=True)
        ],
        script=(Path(__file__).parent / "templates" / "page.js").read_text(encoding="utf-8"),
    )
    storage.write_bytes(path, text.encode())


def _section(
    ident: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    plots: Mapping[str, Path],
    pictures: Pictures,
    colors: Mapping[str, str],
    path: Path,
) -> dict[str, Any]:
    """Return the template variables for the section of one style."""
    front = fronts(rows)
    title = rows[0].style_name
    return {
        "ident": ident,
        "title": title,
        "painting": _painting(rows[0].image),
        "thumbnail": _thumbnail(rows[0].image, path.parent / "gallery"),
        "summary": _summary(rows, front),
        "plots": [
            {
                "uri": data_uri(plot),
                "alt": f"Score, content, paint3 and paint4 of every network of {title}, against {AXES[cost]}. "
                f"On the Pareto front: {', '.join(row.name for row in front[cost]) or 'none'}.",
                "caption": f"Against {COST_NAMES[cost]}",
            }
            for cost, plot in plots.items()
        ],
        "rows": table_rows(rows, columns, front, colors),
        "cards": [
            {
                "name": row.name,
                "color": colors.get(row.architecture or "", ""),
                "note": _note(row),
                "uris": [data_uri(picture) for picture in pictures.made[row.style, row.key]],
            }
            for row in rows
            if (row.style, row.key) in pictures.made
        ],
    }


def _painting(image: str) -> str:
    if styles.builtin_name(image) is not None:
        return f"The style is {image}, drawn by the code of tinystyle."
    return f"The style image is {PurePosixPath(image).name}; it is not shown here."


def _thumbnail(image: str, folder: Path) -> str:
    """Return a small picture of a built-in style as a `data:` URI; empty for any other style."""
    name = styles.builtin_name(image)
    if name is None:
        return ""
    path = folder / f"style-{name}.jpg"
    write_jpeg(path, styles.draw_style(name, THUMBNAIL))
    return data_uri(path)


def _summary(rows: Sequence[Row], front: Mapping[str, Sequence[Row]]) -> list[str]:
    """Summarize the metrics of one style in sentences."""
    judged = [row for row in rows if row.architecture and row.score is not None]
    missing = [row for row in rows if row.architecture and row.score is None]
    sentences = []
    matched = next((row.score for row in rows if row.name == "color match"), None)
    if judged:
        best = min(judged, key=lambda row: row.score or 0)
        sentences.append(f"The lowest score is {best.score:.2f}, of {best.name}.")
        if matched is not None:
            better = sum((row.score or 0) < matched for row in judged)
            sentences.append(
                f"The color matching baseline has {matched:.2f}; {better} of {len(judged)} networks are below it."
            )
        names = ", ".join(row.name for row in front["bytes"])
        sentences.append(f"The Pareto front by bytes: {names}.")
    if missing:
        names = ", ".join(row.name for row in missing)
        sentences.append(f"Without metrics: {names}; the table says why.")
    return sentences


def _training(rows: Sequence[Row]) -> str:
    """Describe how the networks were trained, in one sentence."""
    settings = {(row.steps, row.batch_size, row.crop, row.perceptual) for row in rows if row.architecture and row.steps}
    if len(settings) != 1:
        return "The networks were trained with different settings, which frontier.csv lists."
    steps, batch, crop, perceptual = settings.pop()
    crops = f"batches of {batch} crops" if batch != 1 else "one crop"
    return (
        f"Every network was trained for {steps:,} steps of {crops} of {crop} pixels a side, with {perceptual} as the "
        "loss network."
    )


def _note(row: Row) -> str:
    facts = [f"score {row.score:.2f}"] if row.score is not None else []
    if row.bytes is not None:
        facts.append(f"{row.bytes:,} bytes")
    return ", ".join(facts)


def _aspect(photo: Path) -> str:
    with Image.open(photo) as image:
        return f"{image.width} / {image.height}"

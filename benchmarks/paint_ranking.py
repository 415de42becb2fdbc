"""Compares rankings of pictures by eye, by paint and by Gram distance, and prints their rank correlations.

    python benchmarks/paint_ranking.py --data FOLDER [--runs FOLDER]

FOLDER contains published/ and weights/ (VGG16). The rankings by eye are in benchmarks/paint_by_eye.json: groups of
pictures of one photo, with the one that looks most painted first. A picture is a published file, `identity`, `color
match`, `run:NAME` (the network of a finished run in RUNS, applied to the group's photo), or `pretrained:NAME`. Missing
pictures are skipped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tinystyle import styles
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import Criterion, PaintMeasure, color_match, paint_measure
from tinystyle.evaluation.model_report import second_measure
from tinystyle.model_file import load_model
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.styles.pretrained import PREFIX

BY_EYE = Path(__file__).parent / "paint_by_eye.json"
STYLE_SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("experiments"))
    arguments = parser.parse_args()
    for group in json.loads(BY_EYE.read_text()):
        print_group(group, arguments.data, arguments.runs)


@torch.inference_mode()
def print_group(group: dict[str, Any], data: Path, runs: Path) -> None:
    """Print one table, with a row for each available picture, in the order by eye."""
    rows = []
    for name, style in group["best_first"]:
        row = row_of(name, str(data / style), group, data, runs)
        if row:
            rows.append((name, *row))
    print(f"\n{group['title']}\n")
    print(
        "| by eye | picture | content | paint3 | paint4 | second3 | second4 | rank by paint | by second | by Gram distance |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    by_paint = ranks([row[2] + row[3] for row in rows])
    by_second = ranks([row[4] + row[5] for row in rows])
    by_gram = ranks([row[6] for row in rows])
    for index, row in enumerate(rows):
        figures = " | ".join(f"{value:.2f}" for value in row[1:6])
        print(f"| {index + 1} | {row[0]} | {figures} | {by_paint[index]} | {by_second[index]} | {by_gram[index]} |")
    eye = list(range(1, len(rows) + 1))
    paint, second, gram = (f"{spearman(eye, found):.2f}" for found in (by_paint, by_second, by_gram))
    print(f"\nSpearman's correlation with the eye: paint {paint}, by the second network {second}, Gram distance {gram}")


def row_of(name: str, style: str, group: dict[str, Any], data: Path, runs: Path) -> tuple[float, ...] | None:
    """Return content, paint3, paint4, second3, second4 and Gram distance (the style loss; 1 for the photo)."""
    published = data / "published" / name
    size = Image.open(published).size if published.is_file() else tuple(group["size"])
    photo = read(data / group["photo"], size)
    picture = picture_of(name, photo, style, published, runs)
    if picture is None:
        return None
    criterion, second = measures(style, photo, data)
    scores = criterion.scores(picture, criterion.photo_features(photo))
    by_second = PaintMeasure.scores(second.of(picture), second.of(photo))
    return scores.content, scores.paint3, scores.paint4, *by_second, scores.style


def read(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    image = Image.open(path).convert("RGB")
    return photo_tensor(np.asarray(image.resize(size, Image.Resampling.LANCZOS) if size else image))


def measures(style: str, photo: Tensor, data: Path) -> tuple[Criterion, PaintMeasure]:
    cpu = torch.device("cpu")
    weights = str(next((data / "weights").glob("*.safetensors")))
    network = load_perceptual_network("vgg16", weights).prepare(cpu, torch.float32)
    references = ReferenceStatistics.measure(network, [photo])
    target = StyleTarget.measure(network, photo_tensor(styles.load_style(style, STYLE_SIDE)), references, (1, 1, 1, 1))
    second = second_measure(style, network.name)
    assert second, "the package of the second network is not installed"
    criterion = Criterion(Losses(network, target), paint_measure(network, style, cpu), 1.0, 10.0)
    return criterion, second


def picture_of(name: str, photo: Tensor, style: str, published: Path, runs: Path) -> Tensor | None:
    if name == "identity":
        return photo
    if name == "color match":
        return color_match(photo_tensor(styles.load_style(style, STYLE_SIDE)))(photo)
    if name.startswith(PREFIX):
        return load_model(name).network(photo)
    if name.startswith("run:"):
        file = runs / name.removeprefix("run:") / "model.safetensors"
        return load_model(file).network(photo) if file.exists() else None
    return read(published) if published.is_file() else None


def ranks(values: Sequence[float]) -> list[int]:
    """Return the rank of each value, 1 for the smallest."""
    order = sorted(range(len(values)), key=values.__getitem__)
    return [order.index(index) + 1 for index in range(len(values))]


def spearman(first: Sequence[int], second: Sequence[int]) -> float:
    """Return Spearman's rank correlation of two rankings without ties."""
    count = len(first)
    return 1 - 6 * sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / (count * (count**2 - 1))


if __name__ == "__main__":
    main()

"""Every row of a table says what it should of a known damage, and nothing of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from tests.support.degrade import black_holed, blurred, framed, with_grid
from tinystyle import styles
from tinystyle.data.images import open_rgb
from tinystyle.data.photos import photo_tensor
from tinystyle.errors import UserError
from tinystyle.evaluation import (
    Criterion,
    QualityRow,
    beside_trivial,
    identity,
    loss_row,
    paint_measure,
    picture_score,
    quality_rows,
)
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics


def criterion_on(photos: list[Tensor], style: str, perceptual: str, weights: str | None = None) -> Criterion:
    """Of total content + 2 style."""
    network = load_perceptual_network(perceptual, weights).prepare(torch.device("cpu"), torch.float32)
    painting = photo_tensor(styles.load_style(style, 128))
    losses = Losses(network, StyleTarget.measure(network, painting, ReferenceStatistics.measure(network, photos)))
    return Criterion(losses, paint_measure(network, style, torch.device("cpu")), 1.0, 2.0)


@pytest.fixture(scope="module")
def photos() -> list[Tensor]:
    images = (Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower"))
    return [photo_tensor(np.asarray(image.resize((192, 128), Image.Resampling.LANCZOS))) for image in images]


@pytest.fixture(scope="module")
def style() -> Tensor:
    return photo_tensor(styles.load_style("builtin:starry-sky", 128))


@pytest.fixture(scope="module")
def criterion(photos: list[Tensor]) -> Criterion:
    return criterion_on(photos, "builtin:starry-sky", "efficientnet-lite0")


@pytest.fixture(scope="module")
def rows(photos: list[Tensor], style: Tensor, criterion: Criterion) -> dict[str, QualityRow]:
    damages = {function.__name__: function for function in (blurred, black_holed, with_grid, framed)}
    candidates = {**beside_trivial("photo", identity, style), **damages}
    return {row.name: row for row in quality_rows(candidates, photos, criterion)}


@pytest.mark.slow
def test_the_untouched_photo_has_style_loss_one(rows: dict[str, QualityRow]) -> None:
    row = rows["identity"]
    assert row.style == pytest.approx(1.0, abs=1e-6)
    assert (row.content, row.bad_blocks, row.worst_photo, row.checkerboard) == (0, 0, 0, 1)
    assert row.border_error == pytest.approx(0, abs=1e-3)
    assert row.total == pytest.approx(2.0, abs=1e-6)
    assert (row.paint3, row.paint4, row.score) == (1, 1, 4)
    assert (row.second3, row.second4) == (None, None)


@pytest.mark.slow
def test_a_color_matched_photo_has_the_recorded_losses(rows: dict[str, QualityRow]) -> None:
    row = rows["color match"]
    assert row.content == pytest.approx(0.0761, abs=0.002)
    assert row.style == pytest.approx(0.4977, abs=0.005)
    assert row.total == pytest.approx(row.content + 2 * row.style)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "metric", "least"),
    [
        ("blurred", "content", 0.1),
        ("black_holed", "bad_blocks", 0.1),
        ("with_grid", "checkerboard", 5.0),
        ("framed", "border_error", 3.0),
    ],
)
def test_a_damage_raises_its_metric_and_leaves_the_other_artifacts(
    damage: str, metric: str, least: float, rows: dict[str, QualityRow]
) -> None:
    row, clean = rows[damage], rows["identity"]
    assert getattr(row, metric) > getattr(clean, metric) + least
    assert row.content > 0
    # A faint sky blurs to a flat one, which is why bad blocks have a tolerance.
    for other, tolerance in (("bad_blocks", 0.02), ("checkerboard", 0.3), ("border_error", 0.02)):
        if other != metric:
            assert getattr(row, other) < getattr(clean, other) + tolerance, other


@pytest.mark.slow
def test_the_worst_photo_is_that_with_the_most_bad_blocks(
    rows: dict[str, QualityRow], photos: list[Tensor], criterion: Criterion
) -> None:
    singles = [loss_row("", black_holed, [photo], criterion) for photo in photos]
    assert rows["black_holed"].worst_photo == max(single.bad_blocks for single in singles)
    assert rows["black_holed"].bad_blocks == pytest.approx(sum(single.bad_blocks for single in singles) / 2)


@pytest.mark.slow
def test_one_row_alone_has_the_losses_of_the_table(
    rows: dict[str, QualityRow], photos: list[Tensor], criterion: Criterion
) -> None:
    alone = loss_row("blurred", blurred, photos, criterion).as_dict()
    assert alone == {name: value for name, value in rows["blurred"].as_dict().items() if name in alone}


@pytest.mark.slow
def test_an_output_that_is_not_finite_is_refused(photos: list[Tensor], criterion: Criterion) -> None:
    with pytest.raises(UserError, match=r"^small 0\.3: .*NaN"):
        quality_rows({"small 0.3": lambda photo: photo / 0}, photos, criterion)


@pytest.mark.shared_data
def test_vgg16_on_real_photographs_and_starry_night(shared_data: Path) -> None:
    files = sorted((shared_data / "photos").glob("*.jpg"))[::240]
    images = [open_rgb(file.read_bytes(), file).resize((192, 128), Image.Resampling.LANCZOS) for file in files]
    photos = [photo_tensor(np.asarray(image)) for image in images]
    painting = str(shared_data / "styles" / "starry_night.jpg")
    style = photo_tensor(styles.load_style(painting, 128))
    weights = str(shared_data / "weights" / "vgg16_features_to_relu4_3_fp16.safetensors")
    criterion = criterion_on(photos, painting, "vgg16", weights)
    candidates = {**beside_trivial("blurred", blurred, style), "with_grid": with_grid}
    second = paint_measure(
        load_perceptual_network("efficientnet-lite0").prepare(torch.device("cpu"), torch.float32),
        painting,
        torch.device("cpu"),
    )
    untouched, matched, soft, grid = quality_rows(candidates, photos, criterion, second)
    assert untouched.style == pytest.approx(1.0, abs=1e-5)
    assert matched.content == pytest.approx(0.1468, abs=0.003)
    assert matched.style == pytest.approx(0.4898, abs=0.005)
    assert 0.3 < matched.paint3 < 0.95
    assert matched.score == picture_score(matched.content, matched.paint3, matched.paint4)
    assert (untouched.second3, untouched.second4) == (1, 1)
    assert matched.second3 is not None
    assert 0.1 < matched.second3 < 1
    assert soft.content > 0.2
    assert grid.checkerboard > 5

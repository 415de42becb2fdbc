"""`paint3` and `paint4` as distances: exact in simple cases, blind to the size of strokes, not to what is painted."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tinystyle import styles
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation.paint import PAINTING_SIZES, PaintMeasure, picture_score
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork


class Pixels(PerceptualNetwork):
    """Features that are the colors themselves, so that distances can be computed by hand."""

    name = content_layer = "pixels"
    style_layers = ("pixels",)
    paint_layers = ("pixels", "pixels")

    def forward(self, image_b3hw: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, image_b3hw)


def flat(color: tuple[float, float, float], side: int = 8) -> Tensor:
    return torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, side, side).contiguous()


def test_the_distance_of_two_flat_images_is_that_of_their_colors_along_the_directions() -> None:
    measure = PaintMeasure(Pixels(), [flat((0, 0, 0))])
    # A unit direction in three dimensions has a third of a squared distance on average; 128 directions come near.
    assert measure.of(flat((30, 0, 0)))[0].item() == pytest.approx(300, rel=0.2)
    assert measure.of(flat((60, 0, 0)))[0].item() == pytest.approx(4 * measure.of(flat((30, 0, 0)))[0].item())


def test_where_a_color_lies_does_not_count_and_how_often_it_occurs_does() -> None:
    image = torch.rand(1, 3, 16, 16) * 255
    shuffled = image.flatten(2)[:, :, torch.randperm(256)].view_as(image)
    measure = PaintMeasure(Pixels(), [image])
    assert measure.of(shuffled).max().item() == pytest.approx(0, abs=1e-3)
    assert measure.of(image.clamp_max(100)).min().item() > 100


def test_the_nearest_size_of_the_painting_counts() -> None:
    near, far, photo = flat((100, 0, 0)), flat((0, 200, 0)), flat((255, 255, 255))
    both, one = PaintMeasure(Pixels(), [far, near]), PaintMeasure(Pixels(), [far])
    assert PaintMeasure.scores(both.of(near), both.of(photo)) == (0, 0)
    assert PaintMeasure.scores(one.of(near), one.of(photo))[0] > 0.1
    assert PaintMeasure.scores(both.of(photo), both.of(photo)) == (1, 1)


def test_strokes_of_another_size_are_nearer_than_another_style() -> None:
    network = load_perceptual_network("efficientnet-lite0").prepare(torch.device("cpu"), torch.float32)
    wave = [photo_tensor(styles.load_style("builtin:wave", size)) for size in (96, 192)]
    measure = PaintMeasure(network, wave)
    same, other = (photo_tensor(styles.load_style(f"builtin:{name}", 144)) for name in ("wave", "mosaic"))
    assert bool((measure.of(same).amin(1) < 0.3 * measure.of(other).amin(1)).all())


def test_the_score_of_an_untouched_photo_is_four() -> None:
    assert picture_score(0, 1, 1) == 4
    assert picture_score(1.4, 0.25, 0.7) < picture_score(0.7, 0.7, 1.4)


@pytest.mark.shared_data
def test_published_pictures_are_ranked_as_the_eye_ranks_them(shared_data: Path) -> None:
    """The article's picture and jcjohnson's are paintings; the same photos with the painting's colors are not."""
    from tinystyle.evaluation import color_match

    weights = str(shared_data / "weights" / "vgg16_features_to_relu4_3_fp16.safetensors")
    network = load_perceptual_network("vgg16", weights).prepare(torch.device("cpu"), torch.float32)

    def image(name: str) -> Tensor:
        return photo_tensor(styles.load_style(str(shared_data / "published" / f"{name}.jpg"), 320))

    for photo, picture, painting in (
        ("chicago", "jcjohnson_chicago_starry_night", "style_starry_night_crop"),
        ("fritz_photo", "fritz_tiny_starry_night", "style_fritz_starry_night"),
    ):
        sizes = styles.Style.load(str(shared_data / "published" / f"{painting}.jpg")).at_sizes(PAINTING_SIZES)
        measure = PaintMeasure(network, [photo_tensor(pixels) for pixels in sizes])
        untouched, painted = image(photo), image(picture)
        recolored = color_match(photo_tensor(sizes[-1]))(untouched)
        scores = [PaintMeasure.scores(measure.of(each), measure.of(untouched)) for each in (painted, recolored)]
        assert scores[0][0] < 0.6 * scores[1][0], picture
        assert scores[0][1] < 0.95 * scores[1][1], picture

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from tests.support.photos import synthetic_photo
from tests.support.places import ASSETS
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import bad_blocks, collapse, color_match

ASSETS = ASSETS / "collapse"


def photo(seed: int) -> Tensor:
    return photo_tensor(np.asarray(synthetic_photo(seed, 160, 160)))  # 100 blocks


def with_hole(image: Tensor, blocks: int, value: float) -> Tensor:
    image = image.clone()
    image[..., :16, : 16 * blocks] = value
    return image


@pytest.mark.parametrize("value", [0.0, 5.0, 250.0, 255.0, 128.0])
def test_black_white_and_flat_blocks_are_bad(value: float) -> None:
    assert bad_blocks(with_hole(photo(0), 3, value), photo(0)).tolist() == pytest.approx([0.03])


def test_a_block_that_the_photo_has_empty_too_is_not_bad() -> None:
    night = with_hole(photo(0), 10, 2.0)
    assert bad_blocks(with_hole(photo(1), 10, 0.0), night).tolist() == [0.0]


def test_a_block_is_bad_from_nine_tenths_black() -> None:
    image = photo(0)
    block = torch.zeros(256)
    random = torch.rand(256)
    for black, expected in ((229, 0.0), (231, 0.01)):
        block[:] = 3.0
        block[black:] = 100 + 100 * random[black:]
        image[..., :16, :16] = block.view(16, 16)
        assert bad_blocks(image, photo(0)).tolist() == pytest.approx([expected])


def test_images_under_a_block_have_none() -> None:
    assert bad_blocks(torch.zeros(2, 3, 8, 40), torch.rand(2, 3, 8, 40) * 255).tolist() == [0.0, 0.0]


def test_photos_and_recolored_photos_pass() -> None:
    photos = [photo(seed) for seed in range(6)]
    assert collapse(photos, photos) is None
    recolor = color_match(photo(99))
    assert collapse([recolor(p) for p in photos], photos) is None


def test_over_one_percent_black_holes_fails() -> None:
    photos = [photo(seed) for seed in range(4)]
    assert collapse([with_hole(p, 1, 0.0) for p in photos], photos) is None
    reason = collapse([with_hole(p, 2, 0.0) for p in photos], photos)
    assert reason is not None
    assert reason.startswith("2.00% of the blocks")


def test_a_sky_without_a_stroke_here_and_there_is_no_collapse() -> None:
    """As Great Wave is painted: 1.2 to 2.7% of the blocks are plain paper, in good pictures."""
    photos = [photo(seed) for seed in range(4)]
    assert collapse([with_hole(p, 4, 128.0) for p in photos], photos) is None
    reason = collapse([with_hole(p, 5, 128.0) for p in photos], photos)
    assert reason is not None
    assert reason.startswith("5.00% of the blocks of held-out photos came out flat")


def test_a_plain_sky_that_loses_a_little_is_no_collapse() -> None:
    noise = torch.randn(1, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    for deviation, lost in ((2.4, False), (12.0, True)):
        photos = [photo(seed) for seed in range(4)]
        for image in photos:
            image[..., :80, :] = 180 + deviation * noise[..., :80, :]
        outputs = [image.clone() for image in photos]
        for image in outputs:
            image[..., :80, :] = 180 + 1.2 * noise[..., :80, :]
        assert bad_blocks(outputs[0], photos[0]).item() == pytest.approx(0.5), "tables count it all the same"
        assert (collapse(outputs, photos) is not None) == lost


def test_what_a_color_match_flattens_is_no_collapse_but_a_hole_is() -> None:
    pale = color_match(photo(99) * 0.02 + 200)
    photos = [photo(seed) for seed in range(4)]
    matched = [pale(p) for p in photos]
    assert "came out flat" in str(collapse(matched, photos))
    assert collapse(matched, photos, matched) is None
    vivid = [color_match(photo(99))(p) for p in photos]
    assert collapse([with_hole(p, 2, 0.0) for p in photos], photos, vivid) is not None
    # However pale the style, photos must not all come out the same.
    assert collapse([torch.full_like(p, 200) for p in photos], photos, matched) is not None


def test_flat_means_flat_for_the_contrast_of_the_style() -> None:
    torch.manual_seed(0)
    photo_of_noise = 128 + 7 * torch.randn(1, 1, 160, 160).expand(-1, 3, -1, -1)
    matched = color_match(photo_of_noise * 0.3 + 100)(photo_of_noise)  # a pale style: 2.1 gray levels
    mean = matched.mean()
    calmer, dead = mean + 0.8 * (matched - mean), mean + 0.1 * (matched - mean)
    assert bad_blocks(calmer, photo_of_noise).tolist() == [1.0]
    assert bad_blocks(calmer, photo_of_noise, matched).tolist() == [0.0]
    assert bad_blocks(dead, photo_of_noise, matched).tolist() == [1.0]


def test_flat_gray_fails() -> None:
    photos = [photo(seed) for seed in range(2)]
    outputs = [torch.full_like(p, 120 + 10 * i) for i, p in enumerate(photos)]
    assert str(collapse(outputs, photos)).startswith("100.00% of the blocks")


def test_the_same_output_for_two_photos_fails_but_not_for_a_duplicate() -> None:
    photos = [photo(0), photo(1)]
    assert collapse([photo(5), photo(5)], photos) == "two different photos came out the same"
    assert collapse([photo(5), photo(5)], [photo(0), photo(0)]) is None


def test_nan_fails() -> None:
    broken = photo(1)
    broken[0, 0, 0, 0] = float("nan")
    assert collapse([broken], [photo(1)]) == "an output holds NaN or infinity"


def test_color_match_has_the_styles_mean_and_deviation() -> None:
    style, matched = photo(99), color_match(photo(99))(photo(1) * 0.5 + 60)
    for measure in (torch.mean, torch.std):
        torch.testing.assert_close(measure(matched, dim=(2, 3)), measure(style, dim=(2, 3)), rtol=0.05, atol=2.0)


def saved(name: str) -> tuple[Tensor, Tensor]:
    """An output saved from a real network, `KIND-PHOTO.png`, and its photo, which ships in a package."""
    with Image.open(ASSETS / f"{name}.png") as image:
        output = np.asarray(image.convert("RGB"))
    photo = Image.fromarray(load_sample_image(name.split("-")[1] + ".jpg"))
    return photo_tensor(output), photo_tensor(np.asarray(photo.resize(output.shape[1::-1], Image.Resampling.BICUBIC)))


def test_holes_of_a_real_network_are_bad_blocks() -> None:
    """`small` trained without the saturation penalty: two flat holes in the dark of the flower's leaves."""
    output, photo = saved("holes-flower")
    assert bad_blocks(output, photo).item() > 0.01


def test_stylizations_of_a_real_network_pass() -> None:
    outputs, photos = zip(*(saved(f"good-{name}") for name in ("flower", "china")), strict=True)
    assert collapse(outputs, photos) is None

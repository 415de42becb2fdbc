"""Masks: where they are white the photo is stylized, where they are black it is untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.stylize import stylize_photos

CONFIG = NetworkConfig(alpha=0.1)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(build_network(CONFIG.architecture, CONFIG.alpha).eval(), CONFIG, {})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.png"
    synthetic_photo(0, 64, 48).save(path)
    return path


def pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as image:
        return np.array(image).astype(np.int64)


def halves(width: int = 64, height: int = 48) -> Image.Image:
    """White at the left, black at the right."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    return mask


def test_white_is_stylized_black_is_the_photo_and_gray_is_between(
    model: LoadedModel, photo: Path, tmp_path: Path
) -> None:
    mask = halves()
    mask.paste(51, (48, 0, 64, 48))
    mask.save(tmp_path / "mask.png")
    (plain,) = stylize_photos(model, [photo], tmp_path / "plain")
    (masked,) = stylize_photos(model, [photo], tmp_path / "masked", mask=tmp_path / "mask.png")
    before, stylized, result = pixels(photo), pixels(plain), pixels(masked)
    assert np.abs(stylized - before).mean() > 20
    assert (result[:, :32] == stylized[:, :32]).all()
    assert (result[:, 32:48] == before[:, 32:48]).all()
    assert np.abs(result - (0.8 * before + 0.2 * stylized))[:, 48:].max() <= 0.5 + 1e-9


def test_strength_and_colors_apply_within_the_mask(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    halves().save(tmp_path / "mask.png")
    options = {"strength": 0.4, "keep_colors": True}
    (plain,) = stylize_photos(model, [photo], tmp_path / "plain", **options)  # type: ignore[arg-type]
    (masked,) = stylize_photos(model, [photo], tmp_path / "masked", mask=tmp_path / "mask.png", **options)  # type: ignore[arg-type]
    assert (pixels(masked)[:, :32] == pixels(plain)[:, :32]).all()
    assert (pixels(masked)[:, 32:] == pixels(photo)[:, 32:]).all()


def test_tiles_give_the_same_as_the_whole(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    halves(32, 24).save(tmp_path / "mask.png")
    results = [
        pixels(stylize_photos(model, [photo], tmp_path / str(tile), mask=tmp_path / "mask.png", tile=tile)[0])
        for tile in ("off", 32)
    ]
    assert np.abs(results[0] - results[1]).max() <= 1


def test_a_small_mask_is_enlarged_and_an_inverted_one_exchanges_the_sides(
    model: LoadedModel, photo: Path, tmp_path: Path
) -> None:
    halves(16, 12).save(tmp_path / "mask.png")
    (out,) = stylize_photos(model, [photo], tmp_path / "out", mask=tmp_path / "mask.png", invert_mask=True)
    (plain,) = stylize_photos(model, [photo], tmp_path / "plain")
    assert (pixels(out)[:, :24] == pixels(photo)[:, :24]).all()
    assert (pixels(out)[:, 40:] == pixels(plain)[:, 40:]).all()


def test_photo_and_mask_are_both_turned_upright(model: LoadedModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees: the stored left is the top
    synthetic_photo(0, 64, 48).save(tmp_path / "turned.png", exif=exif)
    turned_mask, upright_mask = tmp_path / "turned_mask.png", tmp_path / "upright_mask.png"
    halves().save(turned_mask, exif=exif)
    halves().transpose(Image.Transpose.ROTATE_270).save(upright_mask)
    results = []
    for mask in (turned_mask, upright_mask):
        (out,) = stylize_photos(model, [tmp_path / "turned.png"], tmp_path / mask.stem, mask=mask)
        results.append(pixels(out))
    assert results[0].shape == (64, 48, 3)
    assert (results[0] == results[1]).all()
    upright = np.array(synthetic_photo(0, 64, 48).transpose(Image.Transpose.ROTATE_270))
    assert (results[0][32:] == upright[32:]).all()
    assert np.abs(results[0][:32] - upright[:32]).mean() > 20


def test_the_transparent_part_of_a_cutout_is_not_stylized(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    cutout = Image.new("RGBA", (64, 48), (255, 255, 255, 255))
    cutout.putalpha(halves())
    cutout.save(tmp_path / "cutout.png")
    (out,) = stylize_photos(model, [photo], tmp_path / "out", mask=tmp_path / "cutout.png")
    assert (pixels(out)[:, 32:] == pixels(photo)[:, 32:]).all()
    assert (pixels(out)[:, :32] != pixels(photo)[:, :32]).any()


def test_a_folder_has_a_mask_for_each_photo(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    synthetic_photo(1, 40, 60).save(photo.with_name("b.jpg"))
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.new("L", (64, 48)).save(folder / "a.jpg")
    Image.new("L", (40, 60)).save(folder / "b.png")
    Image.new("L", (1, 1)).save(folder / "another.png")
    a, _ = stylize_photos(model, [photo.parent], tmp_path / "out", mask=folder)
    assert (pixels(a) == pixels(photo)).all()
    (folder / "b.png").unlink()
    with pytest.raises(UserError, match=r"b\.jpg: `mask` .*masks has no image named b; add it there"):
        stylize_photos(model, [photo.parent], tmp_path / "none", mask=folder)
    assert not (tmp_path / "none").exists()
    Image.new("L", (40, 60)).save(folder / "b.png")
    Image.new("L", (40, 60)).save(folder / "b.webp")
    with pytest.raises(UserError, match=r"b\.png and .*b\.webp have one name"):
        stylize_photos(model, [photo.parent], tmp_path / "none", mask=folder)


def test_one_mask_serves_all_photos_that_have_its_shape(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    synthetic_photo(1, 128, 96).save(photo.with_name("b.png"))
    synthetic_photo(2, 48, 64).save(photo.with_name("c.png"))
    halves().save(tmp_path / "mask.png")
    sentence = (
        r"^1 of 3 photos could not be stylized: .*c\.png: the mask .*mask\.png has 64x48 pixels, .* shape of 48x64"
    )
    with pytest.raises(UserError, match=sentence):
        stylize_photos(model, [photo.parent], tmp_path / "out", mask=tmp_path / "mask.png")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        ("absent.png", r"`mask` .*absent\.png: no such file or folder"),
        ("empty", r"empty: there is no readable image"),
        ("-", r"`mask` -: give a file or a folder"),
        (None, "`invert_mask` is for a mask"),
    ],
)
def test_a_mask_that_is_missing_is_refused_before_any_work(
    model: LoadedModel, photo: Path, tmp_path: Path, mask: str | None, sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    place = mask if mask in (None, "-") else tmp_path / str(mask)
    with pytest.raises(UserError, match=sentence):
        stylize_photos(model, [photo], tmp_path / "out", mask=place, invert_mask=True)
    assert not (tmp_path / "out").exists()


def test_a_damaged_mask_is_named(model: LoadedModel, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(photo.read_bytes()[:300])
    with pytest.raises(UserError, match=r"mask\.png is truncated or damaged"):
        stylize_photos(model, [photo], tmp_path / "out", mask=tmp_path / "mask.png")

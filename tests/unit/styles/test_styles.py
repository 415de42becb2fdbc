"""Built-in styles are worth learning from and always the same; a bad style image is one sentence."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from tests.support.photos import synthetic_photo
from tests.support.places import SHARED
from tinystyle.errors import UserError
from tinystyle.styles import BUILTIN_STYLES, Style, draw_style, load_style

NAMES = sorted(BUILTIN_STYLES)
PAINTINGS = SHARED / "styles"


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _luma(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), float)


@functools.cache
def _drawn(name: str) -> Image.Image:
    return draw_style(name)


def test_the_catalog() -> None:
    assert {"starry-sky", "mosaic", "wave"} <= set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [32, 33, 200, 512])
def test_drawn_at_any_size(name: str, size: int) -> None:
    image = draw_style(name, size)
    assert (image.mode, image.size) == ("RGB", (size, size))
    assert np.array_equal(load_style(f"builtin:{name}", size), np.asarray(image))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture_at_two_sizes(name: str) -> None:
    small = _luma(draw_style(name, 256).resize((64, 64), Image.Resampling.BOX))
    large = _luma(_drawn(name).resize((64, 64), Image.Resampling.BOX))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_texture_everywhere(name: str) -> None:
    blocks = _luma(_drawn(name)).reshape(32, 16, 32, 16).std(axis=(1, 3))
    assert (blocks < 3).mean() <= 0.005
    assert np.median(blocks) > 20


def test_styles_differ_in_color_and_texture() -> None:
    colors = {name: np.asarray(_drawn(name), float).mean(axis=(0, 1)) for name in NAMES}
    spectra = {}
    for name in NAMES:
        power = np.abs(np.fft.rfft2(_luma(_drawn(name)) - 128))
        spectra[name] = np.log(power[:64, :64] + 1).ravel()
    for index, first in enumerate(NAMES):
        for second in NAMES[index + 1 :]:
            assert np.linalg.norm(colors[first] - colors[second]) > 20, (first, second)
            assert np.corrcoef(spectra[first], spectra[second])[0, 1] < 0.9, (first, second)


def test_starry_sky_is_blue_with_yellow_lights() -> None:
    red, green, blue = np.moveaxis(np.asarray(_drawn("starry-sky"), int), -1, 0)
    assert (blue > red + 20).mean() > 0.5
    assert ((red > 200) & (green > 160) & (blue < 140)).mean() > 0.01


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(300, 200, (64, 96)), (200, 300, (96, 64)), (32, 32, (64, 64))]
)
def test_the_short_side_is_the_size(tmp_path: Path, width: int, height: int, expected: tuple[int, int]) -> None:
    _noise(width, height).save(tmp_path / "style.png")
    pixels = load_style(str(tmp_path / "style.png"), 64)
    assert pixels.shape == (*expected, 3)
    assert pixels.dtype == np.uint8


def test_from_a_uri_and_of_any_mode(tmp_path: Path) -> None:
    _noise(80, 80).convert("LA").save(tmp_path / "gray.png")
    data = (tmp_path / "gray.png").read_bytes()
    fsspec.filesystem("memory").pipe_file("/styles/gray.png", data)
    remote = load_style("memory://styles/gray.png", 80)
    assert np.array_equal(remote, load_style(str(tmp_path / "gray.png"), 80))
    assert np.array_equal(remote[..., 0], remote[..., 2])


def test_a_photo_turned_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _noise(120, 80).save(tmp_path / "turned.jpg", exif=exif)
    assert load_style(str(tmp_path / "turned.jpg"), 80).shape == (120, 80, 3)


def test_the_hash_is_of_the_pixels(tmp_path: Path) -> None:
    image = _noise(60, 50)
    image.save(tmp_path / "one.png")
    image.save(tmp_path / "two.bmp")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "other.png")
    image.resize((50, 60)).save(tmp_path / "turned.png")
    Image.frombytes("RGB", (50, 60), image.tobytes()).save(tmp_path / "reshaped.png")
    one = Style.load(str(tmp_path / "one.png")).sha256
    assert len(one) == 64
    assert one == Style.load(str(tmp_path / "two.bmp")).sha256
    assert one not in {Style.load(str(tmp_path / name)).sha256 for name in ("other.png", "turned.png", "reshaped.png")}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(b""), "is an empty file; give a"),
        (lambda path: path.write_text("text named .jpg"), "is not an image that can be read; give a"),
        (lambda path: path.write_bytes(_jpeg()[:9000]), r"is truncated or damaged \(.+\); give a whole file"),
        (
            lambda path: path.mkdir(),
            r"cannot be read \(Is a directory\)",
        ),
        (lambda path: path.symlink_to(path), r"cannot be read \(.+\)"),
        (
            lambda path: path.unlink(missing_ok=True),
            r"cannot be read \(no such file\)",
        ),
        (
            lambda path: Image.new("RGB", (99, 99), "teal").save(path),
            r"is a single flat colo",
        ),
        (lambda path: _noise(401, 100).save(path), "is 401x100, an aspect ratio over 4"),
        (lambda path: _noise(100, 401).save(path), "is 100x401, an aspect ratio over 4"),
        (lambda path: _noise(40, 31).save(path), "is only 40x31, .* of at most 62$"),
    ],
    ids=["empty", "text", "truncated", "folder", "link loop", "missing", "flat", "wide", "tall", "small"],
)
def test_a_bad_style_is_one_sentence_that_names_it(tmp_path: Path, make: object, sentence: str) -> None:
    path = tmp_path / "style.jpg"
    make(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"^style {path} {sentence}") as caught:
        load_style(str(path), 64)
    assert "\n" not in str(caught.value)


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    _noise(200, 200).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_missing_remote_style_is_named() -> None:
    with pytest.raises(UserError, match=r"^style memory://nowhere/a\.jpg cannot be read"):
        load_style("memory://nowhere/a.jpg", 64)


def test_an_unknown_built_in_style_lists_those_there_are() -> None:
    names = r"unknown built-in style 'stary' \(did you mean starry-sky\?\); choose one of mosaic, starry-sky, wave"
    with pytest.raises(UserError, match=f"^{names}$"):
        load_style("builtin:stary", 64)
    with pytest.raises(UserError, match=r"not 8$"):
        load_style("builtin:wave", 8)


@pytest.mark.shared_data
def test_real_paintings_load() -> None:
    if not PAINTINGS.is_dir():
        pytest.skip(f"the shared paintings are not there: {PAINTINGS}")
    paintings = sorted(PAINTINGS.glob("*.jpg"))
    assert paintings
    for painting in paintings:
        pixels = load_style(str(painting), 256)
        assert min(pixels.shape[:2]) == 256
        assert pixels.std() > 20


def test_the_sizes_at_which_a_painting_can_be_seen(tmp_path: Path) -> None:
    synthetic_photo(0, 150, 100).save(tmp_path / "small.png")
    sizes = [min(pixels.shape[:2]) for pixels in Style.load(str(tmp_path / "small.png")).at_sizes((64, 128, 200, 201))]
    assert sizes == [64, 128, 200], "enlarged twice at most"
    assert [min(pixels.shape[:2]) for pixels in Style.load(str(tmp_path / "small.png")).at_sizes((512,))] == [100]
    assert [pixels.shape[0] for pixels in Style.load("builtin:wave").at_sizes((48, 96))] == [48, 96]

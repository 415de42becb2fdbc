"""Pictures computed in tiles: the same as whole ones."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tests.support.photos import synthetic_photo
from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.stylize import fitting, stylize_photos
from tinystyle.stylize.metadata import Metadata
from tinystyle.stylize.picture import read_picture
from tinystyle.stylize.tiles import decode, large, layers, scratch
from tinystyle.stylize.tiles.bands import Resized, resized
from tinystyle.stylize.tiles.decode import read_large_picture
from tinystyle.stylize.tiles.scratch import Mapping, Region, Scratch, tiles


def network(architecture: str, alpha: float) -> StyleNetwork:
    torch.manual_seed(1)
    return build_network(architecture, alpha).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def model(architecture: str = "small", alpha: float = 0.1) -> LoadedModel:
    return LoadedModel(network(architecture, alpha), NetworkConfig(architecture=architecture, alpha=alpha), {})


def spilled(pixels: NDArray[np.uint8]) -> Scratch:
    file = Scratch(*pixels.shape)
    file.write(Region(0, pixels.shape[0], 0, pixels.shape[1]), pixels)
    return file


def whole(file: Scratch) -> NDArray[np.uint8]:
    return file.read(Region(0, file.shape[0], 0, file.shape[1]))


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize(
    ("architecture", "alpha", "size", "side"),
    [
        ("small", 0.1, (150, 101), 32),
        ("small", 0.3, (64, 48), 45),
        ("johnson", 0.1, (90, 67), 36),
        ("small", 0.1, (21, 300), 64),
        ("small", 0.1, (9, 5), 32),  # the margin is larger than the picture
        ("small", 0.1, (40, 30), 4000),
    ],
)
def test_item_11_tiles_equal_the_whole_within_a_hundredth_of_a_gray_level(
    architecture: str, alpha: float, size: tuple[int, int], side: int
) -> None:
    net, photo = network(architecture, alpha), np.asarray(synthetic_photo(1, *size))
    tiled = torch.full((3, size[1], size[0]), -1.0)
    done: list[float] = []

    def write(region: Region, values_3hw: Tensor) -> None:
        assert max(region.size) <= -(-side // 4) * 4
        tiled[:, region.top : region.bottom, region.left : region.right] = values_3hw

    layers.stylize_tiles(net, spilled(photo), side, write, done.append)
    with torch.inference_mode():
        expected = net(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float())[0]
    assert (tiled - expected).abs().max() < 0.01
    assert done == sorted(done)
    assert done[-1] == 1


def test_statistics_of_a_tile_alone_would_be_far_off() -> None:
    """What the other test would say of naive tiles."""
    net, photo = (
        network("small", 0.1),
        torch.from_numpy(np.array(synthetic_photo(1, 64, 64))).permute(2, 0, 1)[None].float(),
    )
    with torch.inference_mode():
        assert (net(photo)[..., :32, :32] - net(photo[..., :32, :32])).abs().max() > 1


def test_a_network_with_other_layers_is_not_computed_in_tiles() -> None:
    class Other(StyleNetwork):
        def forward_with_preactivation(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
            return photo_b3hw, photo_b3hw

    other = LoadedModel(Other((3, 3, 3), 1).eval(), NetworkConfig(), {})
    with pytest.raises(UserError, match=r"^`tile`: "):
        fitting.Fitting(other, 64, 1.0)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"max_side": 70},
    {"keep_colors": True},
    {"strength": 0.4},
    {"stroke_size": 2},
    {"stroke_size": 0.5, "max_side": 60},
    {"stroke_size": 1.7, "keep_colors": True, "strength": 0.8},
    {"flatten": True},
    {"format": "jpeg", "quality": 100},
    {"format": "webp", "quality": 100},
    {"format": "tiff"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_item_11_every_option_gives_the_same_file_in_tiles(tmp_path: Path, options: dict[str, Any]) -> None:
    image = synthetic_photo(2, 97, 74).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.png", exif=exif, dpi=(200, 100))
    (one,) = stylize_photos(model(), [tmp_path / "photo.png"], tmp_path / "whole", tile="off", **options)
    (other,) = stylize_photos(model(), [tmp_path / "photo.png"], tmp_path / "tiles", tile=32, **options)
    difference = np.abs(pixels(one).astype(int) - pixels(other))
    lossy = options.get("format") in ("jpeg", "webp")
    assert difference.max() <= (4 if lossy else 1)
    assert (difference > 0).mean() < 0.02
    with Image.open(one) as first, Image.open(other) as second:
        assert (first.mode, first.size) == (second.mode, second.size)
        assert first.getexif() == second.getexif()
        assert first.info.get("dpi") == second.info.get("dpi")


ODD = {
    "gray": ("L", "PNG"), "gray jpeg": ("L", "JPEG"), "cmyk": ("CMYK", "JPEG"), "palette": ("P", "PNG"), "bits": ("1", "PNG"),
    "gray alpha": ("LA", "PNG"),
    "color": ("RGB", "JPEG"), "bmp": ("RGB", "BMP"), "webp": ("RGBA", "WEBP"), "tiff": ("RGB", "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("orientation", [1, 5, 7])
def test_large_files_are_read_like_others(
    tmp_path: Path, kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_BLOCK", 16)
    mode, format_ = ODD[kind]
    exif = Image.Exif()
    exif[0x0112] = orientation
    synthetic_photo(3, 45, 34).convert(mode).save(tmp_path / "photo", format=format_, exif=exif)
    expected = read_picture((tmp_path / "photo").read_bytes(), "photo", 40)
    picture = read_large_picture(tmp_path / "photo", "photo", 40)
    assert np.abs(whole(picture.pixels).astype(int) - np.asarray(expected.image)).max() <= 1
    assert (picture.alpha is None) == (expected.alpha is None)
    if picture.alpha and expected.alpha:
        assert np.abs(whole(picture.alpha)[..., 0].astype(int) - np.asarray(expected.alpha)).max() <= 1
    assert picture.metadata == expected.metadata


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_in_blocks(tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_BLOCK", 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    synthetic_photo(4, 37, 50).save(tmp_path / "photo.png", exif=exif)
    expected = read_picture((tmp_path / "photo.png").read_bytes(), "photo")
    assert np.array_equal(whole(read_large_picture(tmp_path / "photo.png", "photo").pixels), np.asarray(expected.image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.2, 0.7])
def test_damage_of_a_large_file_is_said_as_of_others(tmp_path: Path, kind: str, kept: float) -> None:
    buffer = io.BytesIO()
    synthetic_photo(5, 200, 150).save(buffer, format=kind)
    data = buffer.getvalue()[: int(buffer.tell() * kept)]
    with pytest.raises(UserError) as ordinary:
        read_picture(data, "photo")
    (tmp_path / "photo").write_bytes(data)
    with pytest.raises(UserError) as raised:
        read_large_picture(tmp_path / "photo", "photo")
    assert str(raised.value) == str(ordinary.value)


@pytest.mark.parametrize("size", [(50, 33), (211, 180), (101, 7), (1, 1)])
@pytest.mark.parametrize("resample", [Image.Resampling.LANCZOS, Image.Resampling.BICUBIC])
def test_resizing_in_regions_is_resizing(size: tuple[int, int], resample: Image.Resampling) -> None:
    photo = synthetic_photo(6, 101, 83)
    expected = np.asarray(photo.resize(size, resample)).astype(int)
    assert np.abs(whole(resized(spilled(np.asarray(photo)), size, resample)) - expected).max() <= 1
    view = Resized(spilled(np.asarray(photo)), size, resample)
    for region in tiles(size[1], size[0], 19):
        there = expected[region.top : region.bottom, region.left : region.right]
        assert np.abs(view.read(region) - there).max() <= 1


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic_photo(1, 40, 30).save(tmp_path / "photo.png")
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))

    class Usage:
        free = 1000

    monkeypatch.setattr(large.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(
        UserError, match=rf"photo\.png: 40x30 pixels need 0\.0 GB of temporary files, and {tmp_path} has"
    ):
        stylize_photos(model(), [tmp_path / "photo.png"], tmp_path / "out", tile=64)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scratch.os, "pwrite", full)
    monkeypatch.setattr(scratch.os, "posix_fallocate", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}'"):
        Scratch(2, 2, 3).write(Region(0, 1, 0, 1), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}'"):
        Mapping(2, 2)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}'"):
        stylize_photos(model(), [tmp_path / "photo.png"], tmp_path / "out", tile=64)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("tile", ["", "none", "-1", "16", "5000", "64.0", 31, "٦٤"])
def test_a_tile_that_is_none(tile: str | int, tmp_path: Path) -> None:
    synthetic_photo(1, 40, 30).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"^`tile` .*: give auto, off, or the side of a tile from 32 to 4096 pixels$"):
        stylize_photos(model(), [tmp_path / "photo.png"], tmp_path / "out", tile=tile)


def test_item_11_auto_takes_tiles_where_memory_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    network, megapixels = model(), (1500, 1000)
    monkeypatch.setattr(fitting.Fitting, "_measure", lambda _: 200.0)  # bytes per pixel
    assert fitting.Fitting(network, "auto", 1.0).tile_side("photo", megapixels) is None
    assert fitting.Fitting(network, "auto", 1.0).tile_side("photo", (20000, 15000)) == 256
    monkeypatch.setattr(fitting, "available_memory", lambda: 200_000_000)
    assert fitting.Fitting(network, "auto", 1.0).tile_side("photo", megapixels) == 256
    assert fitting.Fitting(model("johnson", 1.0), "auto", 1.0).tile_side("photo", megapixels) == 128
    assert fitting.Fitting(network, "auto", 1.0).tile_side("photo", (800, 600)) is None
    with pytest.raises(
        UserError, match=r"^photo: 1500x1000 pixels need 0\.\d GB .* with `max_side` \d+ or leave out `tile`$"
    ):
        fitting.Fitting(network, "off", 1.0).tile_side("photo", megapixels)


def test_more_pixels_than_are_decoded_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic_photo(1, 80, 60).save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="more than 0 million pixels"):
        read_picture((tmp_path / "photo.png").read_bytes(), "photo")
    assert read_large_picture(tmp_path / "photo.png", "photo").pixels.shape == (60, 80, 3)


def test_a_result_keeps_what_its_mapping_holds() -> None:
    mapping = Mapping(3, 5)
    mapping.pixels[...] = 7
    mapping.forget()
    assert (mapping.pixels == 7).all()
    result, file = large.LargeResult(mapping, "RGB", Metadata(comment="x")), io.BytesIO()
    result.save(file, "png", None)
    with Image.open(file) as image:
        assert image.text == {"Comment": "x"}  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(image), np.full((3, 5, 3), 7))

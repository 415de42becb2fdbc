from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from tests.support.badimages import CORNERS, encoded, exif_photo, half_transparent, photograph, ramp
from tinystyle.data.decode import Unusable, decode_photo, prepare_photo


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    pixels = decode_photo(exif_photo(orientation), 160)
    assert pixels.shape == (160, 240, 3)
    corners = pixels[[10, 10, -10, -10], [10, -10, 10, -10]].astype(int)
    assert np.abs(corners - np.array(CORNERS)).max() < 12


@pytest.mark.parametrize("width_height", [(640, 480), (480, 640), (641, 479), (128, 300), (2048, 300), (1600, 1600)])
def test_short_side_and_aspect(width_height: tuple[int, int]) -> None:
    height, width, channels = decode_photo(encoded(photograph(0, *width_height), "JPEG"), 256).shape
    assert (min(height, width), channels) == (256, 3)
    assert width / height == pytest.approx(width_height[0] / width_height[1], rel=0.5 / 256)


def test_reduced_decoding_looks_like_full_decoding() -> None:
    image = photograph(1, 1600, 1200)
    full = np.asarray(image.resize((341, 256), Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(decode_photo(encoded(image, "JPEG", quality=95), 256) - full).mean() < 1.5


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("PNG", ramp(np.uint16, 65535)),
        ("TIFF", ramp(np.int32, 65535)),
        ("TIFF", ramp(np.int32, 255)),
        ("TIFF", ramp(np.int32, 2_000_000_000)),
        ("TIFF", ramp(np.float32, 1)),
        ("TIFF", ramp(np.float32, 65535)),
        ("TIFF", ramp(np.float32, 2) - 1),
    ],
)
def test_deep_images_keep_their_range(kind: str, values: np.ndarray) -> None:
    pixels = decode_photo(encoded(Image.fromarray(values), kind), 150)
    expected = np.linspace(0, 255, 200)
    assert np.abs(pixels.astype(float) - expected[None, :, None]).max() <= 1


def test_a_dark_16_bit_image_stays_dark() -> None:
    pixels = decode_photo(encoded(Image.fromarray(ramp(np.uint16, 200)), "PNG"), 150)
    assert pixels.max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_white(mode: str) -> None:
    image = Image.new("RGB", (200, 150), (40, 40, 40)).convert(mode)
    pixels = decode_photo(encoded(half_transparent(image), "PNG"), 150)
    assert (pixels[:, :99] == 255).all()
    assert (pixels[:, 101:] == 40).all()


def test_transparent_palette_entry_is_white() -> None:
    image = Image.new("P", (200, 150), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 100, 150))
    pixels = decode_photo(encoded(image, "PNG", transparency=0), 150)
    assert pixels[75, 20].tolist() == [255, 255, 255]
    assert pixels[75, 180].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpeg_of_other_colors(mode: str) -> None:
    image = photograph(3).convert(mode)
    expected = np.asarray(image.convert("RGB"), dtype=float)
    assert np.abs(decode_photo(encoded(image, "JPEG", quality=95), 150) - expected).mean() < 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (200, 150), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode_photo(data, 150) == (255, 0, 0)).all()


def test_same_photo_same_bytes() -> None:
    data = encoded(photograph(4), "JPEG")
    assert prepare_photo(data, 96) == prepare_photo(data, 96)
    assert prepare_photo(data, 96).sha256 != prepare_photo(data, 97).sha256


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_damage_is_refused_with_a_reason_or_survived(kind: str) -> None:
    """Whatever happens to a file, the answer is pixels or `Unusable`: no other error, no warning."""
    data = encoded(photograph(5), kind)
    dice = random.Random(kind)
    reasons = []
    for round_ in range(80):
        damaged = bytearray(data[: dice.randrange(1, len(data))] if round_ % 2 else data)
        for _ in range(dice.randrange(3) if round_ % 2 else 4):
            damaged[dice.randrange(min(len(damaged), 2000))] = dice.randrange(256)
        try:
            assert min(decode_photo(bytes(damaged), 96).shape[:2]) == 96
        except Unusable as reason:
            reasons.append(str(reason))
    assert len(reasons) >= 20
    assert all(0 < len(reason) < 140 and "\n" not in reason for reason in reasons)

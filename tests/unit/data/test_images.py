"""Any image file becomes upright 8-bit RGB, or one sentence that names it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tinystyle.data.images import open_rgb
from tinystyle.errors import UserError


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _noise(mode: str = "RGB", width: int = 40, height: int = 24) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, bands), np.uint8)
    return Image.merge(mode, [Image.fromarray(pixels[..., band]) for band in range(bands)])


def _pixels(data: bytes) -> np.ndarray:
    image = open_rgb(data, "x")
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_keep_every_pixel(kind: str, options: dict[str, object]) -> None:
    image = _noise()
    assert np.array_equal(_pixels(_encode(image, kind, **options)), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_undone_once(kind: str, orientation: int) -> None:
    # A red left half in the upright picture, stored as the camera would with each orientation.
    upright = Image.new("RGB", (32, 16), "white")
    upright.paste("red", (0, 0, 16, 16))
    stored = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    camera = upright
    for turn in stored[orientation]:
        camera = camera.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = _pixels(_encode(camera, kind, exif=exif)).astype(int)
    assert pixels.shape == (16, 32, 3)
    assert np.abs(pixels - np.asarray(upright, int)).mean() < 6


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    gray = Image.merge("LA", [Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 0)])
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert (_pixels(_encode(clear, "PNG")) == 255).all()
    assert np.abs(_pixels(_encode(half, "PNG")).astype(int) - 127).max() <= 1
    assert (_pixels(_encode(gray, "PNG")) == 255).all()
    assert (_pixels(_encode(palette, "PNG", transparency=1)) == 255).all()
    assert (_pixels(_encode(palette, "PNG")) == (255, 0, 0)).all()


def test_one_bit_and_grayscale() -> None:
    gray = _noise("L")
    assert np.array_equal(_pixels(_encode(gray, "PNG")), np.repeat(np.asarray(gray)[..., None], 3, axis=2))
    ones = gray.convert("1")
    assert np.array_equal(_pixels(_encode(ones, "PNG"))[..., 0], np.asarray(ones) * 255)


def test_cmyk_jpeg_keeps_its_colors() -> None:
    pixels = _pixels(_encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)).astype(int)
    assert np.abs(pixels - (255, 0, 0)).max() < 16


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.linspace(0, 65535, 256).astype(np.uint16), 65535),
        (np.linspace(0, 65535, 256).astype(np.int32), 65535),
        (np.arange(256, dtype=np.int32), 255),
        (np.linspace(0, 2_000_000_000, 256).astype(np.int32), 2_000_000_000),
        (np.linspace(0, 1, 256, dtype=np.float32), 1),
        (np.linspace(0, 255, 256, dtype=np.float32), 255),
    ],
    ids=["uint16", "int32 of 16 bits", "int32 of 8 bits", "int32", "float of 1", "float of 255"],
)
def test_deep_grayscale_is_scaled_not_clipped(values: np.ndarray, white: float) -> None:
    pixels = _pixels(_encode(Image.fromarray(values.reshape(16, 16)), "TIFF"))[..., 0]
    assert np.abs(pixels.reshape(-1) - values.astype(float) / white * 255).max() <= 1


def test_a_float_image_with_nan_is_read() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    values[0, 5] = np.nan
    values[0, 6] = np.inf
    pixels = _pixels(_encode(Image.fromarray(values), "TIFF"))[..., 0]
    assert pixels[0, 5] == pixels[0, 6] == 0
    assert pixels[15, 15] == 255


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        pixels = _pixels(_encode(frames[0], kind, save_all=True, append_images=frames[1:])).astype(int)
        assert np.abs(pixels - (255, 0, 0)).max() < 8, kind


def test_broken_exif_does_not_refuse_a_good_picture() -> None:
    assert open_rgb(_encode(_noise(), "JPEG", exif=b"Exif\0\0garbage that is no TIFF header"), "x").size == (40, 24)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_named_in_one_sentence(kind: str, share: float) -> None:
    data = _encode(_noise(width=200, height=200), kind)
    with pytest.raises(UserError, match=r"^photo a\.x is (truncated or damaged|not an image)[^\n]*; give a [^\n]+$"):
        open_rgb(data[: int(len(data) * share)], "photo a.x")


def test_bit_rot_in_a_png_is_found() -> None:
    data = bytearray(_encode(_noise(width=200, height=200), "PNG"))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(UserError, match=r"^a\.png is truncated"):
        open_rgb(bytes(data), "a.png")


@pytest.mark.parametrize("data", [b"just text", b"\0" * 5000, b"<html>", bytes(range(1, 200))])
def test_no_image(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^a\.jpg is (not an image|a web page)"):
        open_rgb(data, "a.jpg")


def test_empty() -> None:
    with pytest.raises(UserError, match=r"^a\.jpg is an empty file; "):
        open_rgb(b"", "a.jpg")


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(side: int) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(UserError, match=r"^bomb\.png has more than 178 million pixels; scale it down first$"):
        open_rgb(bomb, "bomb.png")

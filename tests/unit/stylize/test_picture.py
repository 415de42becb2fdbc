"""Pixels and EXIF out of files and into PNGs."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.support.photos import synthetic_photo
from tinystyle.stylize.formats import encode
from tinystyle.stylize.picture import Picture, read_picture

TAGS, IFD = ExifTags.Base, ExifTags.IFD


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def to_png(picture: Picture) -> bytes:
    return encode(picture.whole(), "png", picture.metadata)


def exif_of_a_camera(width: int, height: int) -> Image.Exif:
    exif = Image.Exif()
    exif[TAGS.Orientation] = 6
    exif[TAGS.Make] = "Camera"
    exif.get_ifd(IFD.Exif).update(
        {TAGS.ExifImageWidth: width, TAGS.ExifImageHeight: height, TAGS.MakerNote: b"\x01note"}
    )
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_kept_and_says_what_is_so(kind: str) -> None:
    data = encoded(synthetic_photo(1, 40, 24), kind, exif=exif_of_a_camera(40, 24).tobytes())
    picture = read_picture(data, "photo", max_side=20)
    result = Image.open(io.BytesIO(to_png(picture)))
    exif = result.getexif()
    assert result.size == picture.image.size == (12, 20)
    assert {TAGS.Orientation: 1, TAGS.Make: "Camera"}.items() <= dict(exif).items()
    assert not {TAGS.StripOffsets, TAGS.ImageWidth, TAGS.Compression} & exif.keys()
    assert exif.get_ifd(IFD.GPSInfo) == {1: "N", 2: (52.0, 31.0, 12.0)}
    details = exif.get_ifd(IFD.Exif)
    assert (details[TAGS.ExifImageWidth], details[TAGS.ExifImageHeight]) == (12, 20)
    assert details[TAGS.MakerNote] == b"\x01note"


def test_no_exif_stays_none_and_a_damaged_block_is_left_out() -> None:
    image = synthetic_photo(1)
    assert read_picture(encoded(image, "PNG"), "photo").metadata.exif == b""
    whole = exif_of_a_camera(96, 72).tobytes()
    for damage in (whole[:20], whole[:8] + b"\xff" * 40, b"Exif\0\0MM\0*\xff\xff\xff\xff"):
        picture = read_picture(encoded(image, "JPEG", exif=damage), "photo")
        assert Image.open(io.BytesIO(to_png(picture))).size == (96, 72)


def test_another_rgb_profile_is_converted_to_srgb() -> None:
    image = synthetic_photo(2)
    # Its red and blue exchanged: unmistakable, unlike Display P3, which Pillow does not hold.
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = bytearray(xyz)
    offsets = {bytes(profile[i : i + 4]): i for i in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)}
    red, blue = offsets[b"rXYZ"], offsets[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    swapped = bytes(profile).replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
    converted = read_picture(encoded(image, "PNG", icc_profile=swapped), "photo").image
    assert np.abs(np.asarray(converted).astype(int) - np.asarray(image)[..., ::-1]).max() <= 2
    for harmless in (xyz, b"no profile", swapped[:200]):
        same = read_picture(encoded(image, "PNG", icc_profile=harmless), "photo").image
        assert np.array_equal(np.asarray(same), np.asarray(image))
    assert "icc_profile" not in Image.open(io.BytesIO(to_png(Picture(converted)))).info


def test_grayscale_cmyk_and_16_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 48, dtype=np.uint16).reshape(6, 8)
    Image.fromarray(ramp).save(tmp_path / "16.png")
    gray = Image.fromarray((ramp // 257).astype(np.uint8))
    for data in (encoded(gray, "PNG"), (tmp_path / "16.png").read_bytes()):
        pixels = np.asarray(read_picture(data, "photo").image)
        assert np.abs(pixels.astype(int) - (ramp / 257)[..., None]).max() <= 1
    # A CMYK profile, or any bytes for one, must not reach the RGB result.
    red = Image.new("CMYK", (8, 6), (0, 255, 255, 0))
    picture = read_picture(encoded(red, "JPEG", icc_profile=b"CMYK profile", quality=95), "photo")
    assert np.abs(np.asarray(picture.image).astype(int) - (255, 0, 0)).max() <= 8

"""Every odd file shows what it shows elsewhere, to a gray level, or is refused by its name.

The reference is LittleCMS by its own interface, the formulas of the standards, and other decoders (see `odd_photos`).
"""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from PIL import Image

from tests.support import littlecms as cms
from tests.support.badimages import encoded, photograph
from tests.support.odd_files import container_photos, heic, tiff_photos
from tests.support.odd_photos import (
    OddPhoto,
    deep_profile_photos,
    exif_photos,
    iccp,
    pil,
    png,
    profile_photos,
    scene,
    signal_photos,
    tiff,
)
from tests.support.refused_files import not_images, refused_files
from tinystyle.api import _read
from tinystyle.data import file_kinds
from tinystyle.data.color import is_srgb
from tinystyle.data.decode import prepare_photo
from tinystyle.data.images import decode, open_rgb
from tinystyle.data.reasons import Refused, Unusable
from tinystyle.errors import UserError

RGB = (scene(6)[..., :3] // 257).astype(np.uint8)


def _wrong(photos: Iterable[OddPhoto]) -> dict[str, str]:
    wrong = {}
    for photo in photos:
        try:
            pixels = np.asarray(decode(photo.data), float)
        except Unusable as error:
            wrong[photo.name] = str(error)
            continue
        if pixels.shape != photo.expected.shape:
            wrong[photo.name] = f"shape {pixels.shape}"
        elif (off := float(np.abs(pixels - np.rint(photo.expected)).max())) > photo.tolerance:
            wrong[photo.name] = f"off by {off:.0f}"
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    "photos",
    [
        pytest.param(profile_photos, id="i10-profiles"),
        pytest.param(deep_profile_photos, id="i10-profiles-of-deep-images"),
        pytest.param(signal_photos, id="o7-chunks-of-png"),
        pytest.param(exif_photos, id="r03-marks-of-exif"),
        pytest.param(container_photos, id="o6-containers"),
        pytest.param(tiff_photos, id="o1-o2-o9-layouts-of-tiff"),
    ],
)
def test_i10_o1_o2_o6_o7_o9_r03_odd_photos_show_what_they_show_elsewhere(
    photos: Callable[[], Iterable[OddPhoto]],
) -> None:
    assert _wrong(photos()) == {}


@pytest.mark.parametrize("name", sorted(refused_files()))
def test_i12_o9_a_file_that_is_not_read_is_refused_by_its_name(name: str) -> None:
    data, kind = refused_files()[name]
    with pytest.raises(UserError) as refusal:
        open_rgb(data, name)
    assert str(refusal.value).startswith(f"{name} is {kind}")
    assert "which is not read; " in str(refusal.value)
    with pytest.raises(Refused) as reason:
        decode(data)
    assert str(reason.value).startswith(kind.split(" ", 1)[1])
    assert len(str(reason.value)) < 140


@pytest.mark.parametrize("name", sorted(not_images()))
def test_i12_what_is_no_image_is_named_too(name: str) -> None:
    data, kind = not_images()[name]
    with pytest.raises(UserError) as refusal:
        open_rgb(data, name)
    assert str(refusal.value).startswith((f"{name} is not an image that can be read but {kind}; ", f"{name} is {kind}"))
    with pytest.raises(Unusable, match=f"^not an image: {kind}$"):
        decode(data)


def test_i12_o6_without_the_extra_heic_and_jpeg_xl_are_named_and_tried_again_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = heic(RGB)
    brands = [b"heic", b"heix", b"hevc", b"mif1", b"msf1"]
    monkeypatch.setattr(file_kinds, "find_spec", lambda _: None)
    for brand in brands:
        with pytest.raises(
            UserError, match=r"^a\.heic is an HEIC image, which is not read; install `tinystyle\[formats"
        ):
            open_rgb(data[:8] + brand + data[12:], "a.heic")
    with pytest.raises(UserError, match=r"^a\.jxl is a JPEG XL image, which is not read; install"):
        open_rgb(b"\xff\x0a" + bytes(50), "a.jxl")
    with pytest.raises(Refused) as refused:
        decode(data)
    assert str(refused.value) == "HEIC image: install `tinystyle[formats]`, or export it as JPEG or PNG"
    assert not file_kinds.is_worth_another_try(str(refused.value))
    monkeypatch.undo()
    assert file_kinds.is_worth_another_try(str(refused.value))
    assert not file_kinds.is_worth_another_try("Photoshop document (PSD): export it as JPEG or PNG")


def test_i10_an_untagged_image_and_one_in_srgb_keep_every_pixel() -> None:
    srgb = cms.rgb_profile(cms.SRGB, cms.srgb_curve())
    alpha = np.dstack([RGB, (scene(7)[..., 3] // 257).astype(np.uint8)])
    deep = scene(6)[..., :3]
    files = {
        "rgb": pil(RGB, "PNG"),
        "gray": pil(RGB[..., 0], "PNG"),
        "alpha": pil(alpha, "PNG"),
        "jpeg": pil(RGB, "JPEG", quality=90),
        "16 bits": png(deep),
        "16 bits.tif": tiff(deep, photometric="rgb"),
        "webp": pil(RGB, "WEBP", lossless=True),
    }
    tagged = {
        "rgb": pil(RGB, "PNG", icc_profile=srgb),
        "gray": pil(RGB[..., 0], "PNG", icc_profile=cms.gray_profile(cms.srgb_curve())),
        "alpha": pil(alpha, "PNG", icc_profile=srgb),
        "jpeg": pil(RGB, "JPEG", quality=90, icc_profile=srgb),
        "16 bits": png(deep, iccp(srgb)),
        "16 bits.tif": tiff(deep, photometric="rgb", iccprofile=srgb),
        "webp": pil(RGB, "WEBP", lossless=True, icc_profile=srgb),
    }
    for name, data in files.items():
        image = Image.open(io.BytesIO(data))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        assert np.array_equal(np.asarray(decode(data)), np.asarray(image.convert("RGB"))), name
        assert prepare_photo(data, 72) == prepare_photo(tagged[name], 72), name


@pytest.mark.parametrize("version", [2.1, 4.3])
def test_i10_a_profile_is_srgb_by_what_it_contains(version: float) -> None:
    assert is_srgb(cms.rgb_profile(cms.SRGB, cms.srgb_curve(), version=version, name="Adobe RGB (1998)"))
    assert not is_srgb(cms.rgb_profile(cms.ADOBE, cms.gamma(2.2), version=version, name="sRGB IEC61966-2.1"))
    assert not is_srgb(cms.rgb_profile(cms.SRGB, cms.gamma(2.2), version=version, name="sRGB"))
    assert not is_srgb(cms.table_profile(3, cms.film, version=version))


def test_i10_what_cannot_be_converted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    inks = cms.table_profile(4, cms.inks)
    link = bytearray(cms.rgb_profile(cms.ADOBE, cms.gamma(2.2)))
    link[12:16] = b"link"
    for profile, problem in (
        (b"no profile", "damaged"),
        (inks, "one of CMYK in an image of RGB"),
        (cms.gray_profile(cms.gamma(1.8)), "one of GRAY in an image of RGB"),
        (bytes(link), "not one of an image"),
    ):
        caplog.clear()
        data = pil(RGB, "JPEG", icc_profile=profile)
        open_rgb(data, "style a.jpg")
        assert caplog.messages == [f"style a.jpg: its ICC profile is {problem} and was ignored"]
        assert prepare_photo(data, 72).note == f"its ICC profile is {problem} and was ignored"


def test_i10_an_image_of_pillow_is_converted_by_its_profile() -> None:
    profile = cms.rgb_profile(cms.ADOBE, cms.gamma(2.2))
    image = Image.open(io.BytesIO(pil(RGB, "PNG", icc_profile=profile)))
    rgb = _read(image).image
    assert np.array_equal(np.asarray(image), RGB)
    assert np.abs(np.asarray(rgb) - np.rint(cms.to_srgb(RGB / 255, profile))).max() <= 1


def test_i10_a_photo_reduced_as_it_is_decoded_is_converted_too() -> None:
    profile = cms.rgb_profile(cms.PROPHOTO, cms.gamma(1.8), white=cms.D50)
    image = photograph(2, 800, 600)
    tagged = decode(encoded(image, "JPEG", quality=95, icc_profile=profile), lambda _: (200, 150))
    plain = decode(encoded(image, "JPEG", quality=95), lambda _: (200, 150))
    expected = cms.to_srgb(np.asarray(plain) / 255, profile)
    assert np.abs(np.asarray(tagged) - expected).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_i18_damage_in_the_second_half_of_a_jpeg_is_found(
    mode: str, progressive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    data = encoded(photograph(8, 400, 300).convert(mode), "JPEG", quality=90, progressive=progressive)
    dice = random.Random(0)
    quarantined = said = 0
    for _ in range(10):
        damaged = bytearray(data)
        for _ in range(30):
            damaged[dice.randrange(len(data) // 2, len(data) - 2)] = dice.randrange(255)
        try:
            prepare_photo(bytes(damaged), 150)
        except Unusable as reason:
            quarantined += str(reason).startswith(("corrupt", "truncated"))
        caplog.clear()
        try:
            open_rgb(bytes(damaged), "style a.jpg")
        except UserError:
            said += 1
        else:  # a viewer shows it too; what is wrong with it is said
            said += any(message.startswith("style a.jpg: its data is damaged (") for message in caplog.messages)
    # Some damage leaves a file that is correct: other pixels.
    assert min(quarantined, said) >= (10 if progressive else 7)


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_o2_o9_a_damaged_deep_tiff_is_refused_or_survived(damage: str) -> None:
    planes = np.moveaxis(scene()[..., :3], -1, 0)
    whole = [
        tiff(planes, photometric="rgb", planarconfig="separate", compression="lzw", predictor=True),
        tiff((planes / 65535).astype(np.float32), photometric="rgb", planarconfig="separate", compression="zlib"),
        tiff(65535 - planes[0], photometric="miniswhite", bigtiff=True, byteorder=">"),
    ]
    dice = random.Random(damage)
    reasons = []
    for round_ in range(60):
        data = whole[round_ % 3]
        damaged = bytearray(data[: dice.randrange(1, len(data))] if damage == "cut" else data)
        for _ in range(4 if damage == "changed" else 0):
            damaged[dice.randrange(min(len(damaged), 600))] = dice.randrange(256)
        try:
            decode(bytes(damaged))
        except Unusable as reason:
            reasons.append(str(reason))
    assert len(reasons) >= 15
    assert all(0 < len(reason) < 140 and "\n" not in reason for reason in reasons)

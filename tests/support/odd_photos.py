"""Photographs of every odd kind that is readable: each file with the sRGB pixels that it shows.

The pixels come from what was written into the file, through LittleCMS's own interface (`littlecms`), or through the
formulas of the standards; where a format is lossy, from another decoder than the library's.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.support import littlecms as cms

Array = NDArray[Any]
HEIGHT, WIDTH = 72, 96


@dataclass(frozen=True)
class OddPhoto:
    """A file and what it shows."""

    name: str
    data: bytes
    expected: NDArray[np.float64]
    """(72, 96, 3), or turned, 0..255."""
    tolerance: float = 1.0
    """Largest difference in gray levels from the expected value, rounded."""


def scene(seed: int = 0) -> Array:
    """Device values of a smooth scene with noise, (72, 96, 4) uint16; the fourth is an alpha, or black ink."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 1, (6, 8, 4))
    bands = [
        np.asarray(Image.fromarray(coarse[..., band]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        for band in range(4)
    ]
    smooth = np.stack(bands, axis=-1) * 0.9 + 0.05 + random.normal(0, 0.01, (HEIGHT, WIDTH, 4))
    smooth[:8, :8, :3] = 1.0
    smooth[:8, 8:16, :3] = 0.0
    return np.asarray(np.rint(smooth.clip(0, 1) * 65535).astype(np.uint16))


def pil(pixels: Array, kind: str, **options: Any) -> bytes:
    """An image file by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples: Array, **options: Any) -> bytes:
    """A TIFF by tifffile."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(samples), **options)
    return buffer.getvalue()


def png(samples: Array, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 8 or 16 bits, gray, RGB or with alpha, with chunks before its pixels."""
    height, width, bands = samples.shape
    depth = 8 * samples.dtype.itemsize
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    all_chunks = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in all_chunks
    )


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    """The chunk that holds a profile."""
    return b"iCCP", b"photo\0\0" + zlib.compress(profile)


def gama(gamma: float) -> tuple[bytes, bytes]:
    """The chunk gAMA; `gamma` is that of the file, such as 0.45455."""
    return b"gAMA", struct.pack(">I", round(gamma * 100_000))


def chrm(white: tuple[float, float], primaries: tuple[float, ...]) -> tuple[bytes, bytes]:
    """The chunk cHRM."""
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in (*white, *primaries)))


def cicp(primaries: int, transfer: int) -> tuple[bytes, bytes]:
    """The chunk cICP of full-range RGB."""
    return b"cICP", bytes([primaries, transfer, 0, 1])


def exif(*, color_space: int | None, index: str | None) -> bytes:
    """An EXIF block with a color space and an interoperability index."""
    block = Image.Exif()
    details = block.get_ifd(0x8769)
    if color_space is not None:
        details[0xA001] = color_space
    details[0x9000] = b"0230"
    if index:
        details[0xA005] = {1: index, 2: b"0100"}
    return block.tobytes()


def profile_photos() -> Iterator[OddPhoto]:
    """Profiles of every sort on images of 8 bits; some are sRGB, some make no sense."""
    device = scene() // 257
    rgb, gray, alpha = (
        device[..., :3].astype(np.uint8),
        device[..., 1].astype(np.uint8),
        device[..., 3].astype(np.uint8),
    )
    adobe = cms.rgb_profile(cms.ADOBE, cms.gamma(563 / 256), version=2.1)
    p3 = cms.rgb_profile(cms.P3, cms.srgb_curve(), name="sRGB IEC61966-2.1")
    wide = cms.rgb_profile(cms.PROPHOTO, cms.gamma(1.8), white=cms.D50)
    swapped = cms.rgb_profile((*cms.SRGB[2:4], *cms.SRGB[:2], *cms.SRGB[4:]), cms.srgb_curve(), version=2.1)
    linear = cms.rgb_profile(cms.SRGB, cms.gamma(1.0))
    for name, profile in (
        ("Adobe RGB, version 2", adobe),
        ("Display P3 that calls itself sRGB", p3),
        ("ProPhoto", wide),
        ("red and green exchanged", swapped),
        ("linear", linear),
        ("table with a Lab connection space, version 2", cms.table_profile(3, cms.film, version=2.1)),
        ("table with a Lab connection space, version 4", cms.table_profile(3, cms.film)),
    ):
        yield OddPhoto(f"{name}.png", pil(rgb, "PNG", icc_profile=profile), cms.to_srgb(rgb / 255, profile))
    for kind, options in (("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_lzw"})):
        data = pil(rgb, kind, icc_profile=p3, **options)
        yield OddPhoto(f"Display P3.{kind.lower()}", data, cms.to_srgb(rgb / 255, p3))
    jpeg = pil(rgb, "JPEG", quality=95, subsampling=0, icc_profile=adobe)
    yield OddPhoto("Adobe RGB.jpg", jpeg, cms.to_srgb(imagecodecs.jpeg8_decode(jpeg) / 255, adobe))
    turned = pil(rgb, "JPEG", quality=95, subsampling=0, icc_profile=p3, exif=orientation(6))
    expected = cms.to_srgb(imagecodecs.jpeg8_decode(turned) / 255, p3)
    yield OddPhoto("Display P3, orientation 6.jpg", turned, np.rot90(expected, -1))
    for name, profile in (
        ("sRGB of version 2 by another name.png", cms.rgb_profile(cms.SRGB, cms.srgb_curve(), version=2.1, name="c2")),
        ("sRGB of version 4.png", cms.rgb_profile(cms.SRGB, cms.srgb_curve())),
        ("a damaged profile.png", adobe[:200]),
        ("no profile at all.png", b"not a profile"),
        ("a profile of CMYK.png", cms.table_profile(4, cms.inks)),
        ("a profile of gray.png", cms.gray_profile(cms.gamma(1.0))),
    ):
        yield OddPhoto(name, pil(rgb, "PNG", icc_profile=profile), rgb.astype(float), 0)
    dark = cms.gray_profile(cms.gamma(1.0))
    steep = cms.gray_profile(cms.gamma(2.6), version=2.1)
    for name, profile in (("gray, linear", dark), ("gray, gamma 2.6", steep)):
        yield OddPhoto(
            f"{name}.png", pil(gray, "PNG", icc_profile=profile), cms.to_srgb(gray[..., None] / 255, profile)
        )
    jpeg = pil(gray, "JPEG", quality=95, icc_profile=steep)
    yield OddPhoto("gray.jpg", jpeg, cms.to_srgb(imagecodecs.jpeg8_decode(jpeg)[..., None] / 255, steep))
    repeated = np.repeat(gray[..., None], 3, axis=2)
    yield OddPhoto("gray with RGB.png", pil(gray, "PNG", icc_profile=wide), cms.to_srgb(repeated / 255, wide))
    half = np.dstack([gray, alpha])
    shown = on_white(cms.to_srgb(gray[..., None] / 255, steep), alpha / 255)
    yield OddPhoto("gray and alpha.png", png(half, iccp(steep)), shown)
    shown = on_white(cms.to_srgb(rgb / 255, p3), alpha / 255)
    yield OddPhoto("RGB and alpha.png", png(np.dstack([rgb, alpha]), iccp(p3)), shown)
    few = Image.fromarray(rgb).quantize(64)
    colors = np.asarray(few.convert("RGB"))
    buffer = io.BytesIO()
    few.save(buffer, "PNG", icc_profile=p3)
    yield OddPhoto("palette.png", buffer.getvalue(), cms.to_srgb(colors / 255, p3))
    yield from _inks(device.astype(np.uint8))


def _inks(inks: Array) -> Iterator[OddPhoto]:
    inks = inks // np.array([1, 1, 1, 3], np.uint8)
    for version in (2.1, 4.3):
        profile = cms.table_profile(4, cms.inks, version=version)
        expected = cms.to_srgb(inks / 255, profile)
        data = tiff(inks, photometric="separated", iccprofile=profile)
        yield OddPhoto(f"CMYK, version {version}.tif", data, expected)
    buffer = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(buffer, "JPEG", quality=98, subsampling=0, icc_profile=profile)
    stored = 255 - imagecodecs.jpeg8_decode(buffer.getvalue())  # as Adobe stores them: inverted
    yield OddPhoto("CMYK.jpg", buffer.getvalue(), cms.to_srgb(stored / 255, profile))


def deep_profile_photos() -> Iterator[OddPhoto]:
    """Profiles on images of more bits."""
    device = scene(1)
    rgb, gray = device[..., :3], device[..., 1:2]
    wide = cms.rgb_profile(cms.PROPHOTO, cms.gamma(1.8), white=cms.D50)
    linear = cms.rgb_profile(cms.SRGB, cms.gamma(1.0))
    film, inks = cms.table_profile(3, cms.film), cms.table_profile(4, cms.inks)
    dark = cms.gray_profile(cms.gamma(1.0))
    shown = cms.to_srgb(rgb / 65535, wide)
    yield OddPhoto("16 bits, ProPhoto.png", png(rgb, iccp(wide)), shown)
    yield OddPhoto("16 bits, linear.png", png(rgb, iccp(linear)), cms.to_srgb(rgb / 65535, linear))
    yield OddPhoto("16 bits, gray, linear.png", png(gray, iccp(dark)), cms.to_srgb(gray / 65535, dark))
    alpha = on_white(shown, device[..., 3] / 65535)
    yield OddPhoto("16 bits, alpha, ProPhoto.png", png(device, iccp(wide)), alpha)
    options = {"photometric": "rgb", "compression": "lzw", "predictor": True}
    yield OddPhoto("16 bits, ProPhoto.tif", tiff(rgb, iccprofile=wide, **options), shown)
    yield OddPhoto("16 bits, table.tif", tiff(rgb, photometric="rgb", iccprofile=film), cms.to_srgb(rgb / 65535, film))
    planes = np.moveaxis(rgb, -1, 0)
    data = tiff(planes, photometric="rgb", planarconfig="separate", iccprofile=wide)
    yield OddPhoto("16 bits, planes, ProPhoto.tif", data, shown)
    data = tiff(device, photometric="separated", iccprofile=inks)
    yield OddPhoto("16 bits, CMYK.tif", data, cms.to_srgb(device / 65535, inks))
    data = tiff((rgb / 65535).astype(np.float32), photometric="rgb", iccprofile=linear)
    yield OddPhoto("float, linear.tif", data, cms.to_srgb(rgb / 65535, linear))
    data = tiff(65535 - gray[..., 0], photometric="miniswhite", iccprofile=dark)
    yield OddPhoto("16 bits, white is zero, linear.tif", data, cms.to_srgb(gray / 65535, dark))


def signal_photos() -> Iterator[OddPhoto]:
    """PNG's other chunks about color."""
    deep = scene(2)[..., :3]
    rgb = (deep // 257).astype(np.uint8)
    linear = cms.rgb_profile(cms.SRGB, cms.gamma(1.0))
    adobe = cms.rgb_profile(cms.ADOBE, cms.gamma(2.2))
    p3 = cms.rgb_profile(cms.P3, cms.srgb_curve())
    video = cms.rgb_profile(cms.BT2020, cms.bt709_curve())
    as_it_is = rgb.astype(float)
    yield OddPhoto("gAMA 1.png", png(rgb, gama(1.0)), cms.to_srgb(rgb / 255, linear))
    yield OddPhoto("gAMA 1, 16 bits.png", png(deep, gama(1.0)), cms.to_srgb(deep / 65535, linear))
    both = (gama(1 / 2.2), chrm(cms.D65, cms.ADOBE))
    yield OddPhoto("gAMA and cHRM.png", png(rgb, *both), cms.to_srgb(rgb / 255, adobe))
    yield OddPhoto("cHRM.png", png(rgb, chrm(cms.D65, cms.P3)), cms.to_srgb(rgb / 255, p3))
    yield OddPhoto("gAMA as encoders write it.png", png(rgb, gama(0.45455), chrm(cms.D65, cms.SRGB)), as_it_is, 0)
    yield OddPhoto("gAMA 0.png", png(rgb, gama(0)), as_it_is, 0)
    yield OddPhoto("cHRM of zeros.png", png(rgb, chrm((0, 0), (0,) * 6)), as_it_is, 0)
    yield OddPhoto("sRGB before gAMA.png", png(rgb, (b"sRGB", b"\0"), gama(1.0)), as_it_is, 0)
    yield OddPhoto(
        "iCCP before gAMA and sRGB.png", png(rgb, iccp(p3), (b"sRGB", b"\0"), gama(1.0)), cms.to_srgb(rgb / 255, p3)
    )
    yield OddPhoto("cICP of Display P3.png", png(rgb, cicp(12, 13)), cms.to_srgb(rgb / 255, p3))
    yield OddPhoto("cICP of BT.2020, 16 bits.png", png(deep, cicp(9, 14)), cms.to_srgb(deep / 65535, video))
    yield OddPhoto("cICP before iCCP.png", png(rgb, cicp(1, 13), iccp(linear)), as_it_is, 0)
    yield OddPhoto("cICP that says nothing.png", png(rgb, cicp(2, 2), iccp(p3)), cms.to_srgb(rgb / 255, p3))
    yield OddPhoto(
        "a damaged iCCP before gAMA.png", png(rgb, iccp(p3[:150]), gama(1.0)), cms.to_srgb(rgb / 255, linear)
    )


def exif_photos() -> Iterator[OddPhoto]:
    """EXIF's marks of color spaces."""
    rgb = (scene(3)[..., :3] // 257).astype(np.uint8)
    adobe = cms.rgb_profile(cms.ADOBE, cms.gamma(563 / 256))
    srgb = cms.rgb_profile(cms.SRGB, cms.srgb_curve())
    for name, block, options, profile in (
        ("EXIF R03", exif(color_space=0xFFFF, index="R03"), {}, adobe),
        ("EXIF color space 2", exif(color_space=2, index=None), {}, adobe),
        ("EXIF R98", exif(color_space=1, index="R98"), {}, None),
        ("EXIF uncalibrated", exif(color_space=0xFFFF, index=None), {}, None),
        ("EXIF R03 beside a profile of sRGB", exif(color_space=0xFFFF, index="R03"), {"icc_profile": srgb}, None),
    ):
        data = pil(rgb, "JPEG", quality=95, subsampling=0, exif=block, **options)
        decoded = imagecodecs.jpeg8_decode(data)
        yield OddPhoto(f"{name}.jpg", data, cms.to_srgb(decoded / 255, profile) if profile else decoded.astype(float))


def on_white(colors: Array, alpha: Array) -> Array:
    """Composite colors of 0..255 over white."""
    return np.asarray(colors * alpha[..., None] + 255 * (1 - alpha[..., None]))


def orientation(value: int) -> bytes:
    """An EXIF block that holds an orientation."""
    block = Image.Exif()
    block[0x0112] = value
    return block.tobytes()

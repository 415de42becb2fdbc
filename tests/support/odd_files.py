"""Photographs in odd containers, and TIFF files of odd layouts: the second half of `odd_photos`."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif

from tests.support import littlecms as cms
from tests.support.odd_photos import Array, OddPhoto, on_white, orientation, pil, scene, tiff

__all__ = ["container_photos", "heic", "tiff_photos"]


def container_photos() -> Iterator[OddPhoto]:
    """Formats that photos are found in beside JPEG and PNG."""
    rgb = (scene(4)[..., :3] // 257).astype(np.uint8)
    p3 = cms.rgb_profile(cms.P3, cms.srgb_curve())
    shown = cms.to_srgb(rgb / 255, p3)
    lossless = pil(rgb, "JPEG2000", irreversible=False)
    yield OddPhoto("JPEG 2000.jp2", lossless, rgb.astype(float), 0)
    yield OddPhoto("JPEG 2000 with a profile.jp2", _jp2_with_profile(lossless, p3), shown)
    yield OddPhoto("BMP with a profile.bmp", _bmp_with_profile(rgb, p3), shown)
    for name, profile in (("AVIF.avif", None), ("AVIF with a profile.avif", p3)):
        data = pil(rgb, "AVIF", quality=95, subsampling="4:4:4", **({"icc_profile": profile} if profile else {}))
        decoded = imagecodecs.avif_decode(data)
        yield OddPhoto(name, data, cms.to_srgb(decoded / 255, p3) if profile else decoded.astype(float))
    for name, options, profile in (
        ("HEIC.heic", {}, None),
        ("HEIC with a profile.heic", {"icc_profile": p3}, p3),
        ("HEIC, orientation 6.heic", {"exif": orientation(6)}, None),
    ):
        data = heic(rgb, **options)
        decoded = np.asarray(pillow_heif.open_heif(io.BytesIO(data)))[..., :3]  # libheif's own pixels, no Pillow
        decoded = decoded.astype(float) if profile is None else cms.to_srgb(decoded / 255, profile)
        yield OddPhoto(name, data, decoded)
    yield OddPhoto("JPEG XL.jxl", bytes(imagecodecs.jpegxl_encode(rgb, lossless=True)), rgb.astype(float), 0)
    deep = scene(4)[..., :3]
    linear = cms.rgb_profile(cms.SRGB, cms.gamma(1.0))
    data = bytes(imagecodecs.jpegxl_encode(deep, lossless=True))  # which says that it is linear
    yield OddPhoto("JPEG XL, 16 bits, linear.jxl", data, cms.to_srgb(deep / 65535, linear))


def tiff_photos() -> Iterator[OddPhoto]:
    """TIFF files of layouts and depths that are easily misread."""
    device = scene(5)
    device[..., 3] = np.maximum(device[..., 3], 5000)
    deep, gray = device[..., :3], device[..., 1]
    planes = np.moveaxis(deep, -1, 0)
    colors, grays = deep / 257, np.repeat(gray[..., None] / 257, 3, axis=2)
    rgb = {"photometric": "rgb"}
    separate = {"photometric": "rgb", "planarconfig": "separate"}
    white_is_zero, black_is_zero = {"photometric": "miniswhite"}, {"photometric": "minisblack"}
    inks = {"photometric": "separated", "planarconfig": "separate"}
    alpha = device[..., 3] / 65535
    layouts: tuple[tuple[str, Callable[[], bytes], Array], ...] = (
        ("white is zero", lambda: tiff(65535 - gray, **white_is_zero), grays),
        ("white is zero, deflate", lambda: tiff(65535 - gray, compression="zlib", predictor=True, **white_is_zero), grays),
        ("white is zero, LZW, big-endian", lambda: tiff(65535 - gray, compression="lzw", byteorder=">", **white_is_zero), grays),
        ("white is zero, 8 bits", lambda: tiff((255 - gray // 257).astype(np.uint8), **white_is_zero), grays // 1),
        ("white is zero, float", lambda: tiff((1 - gray / 65535).astype(np.float32), **white_is_zero), grays),
        ("planes", lambda: tiff(planes, **separate), colors),
        ("planes, LZW", lambda: tiff(planes, compression="lzw", predictor=True, **separate), colors),
        ("planes, deflate, tiles", lambda: tiff(planes, compression="zlib", tile=(32, 32), **separate), colors),
        ("planes, big-endian", lambda: tiff(planes, byteorder=">", **separate), colors),
        ("planes, BigTIFF", lambda: tiff(planes, bigtiff=True, **separate), colors),
        ("planes, orientation 6", lambda: tiff(planes, extratags=[(274, 3, 1, 6, True)], **separate), np.rot90(colors, -1)),
        ("BigTIFF, big-endian", lambda: tiff(deep, bigtiff=True, byteorder=">", **rgb), colors),
        ("pixels, LZW, tiles", lambda: tiff(deep, compression="lzw", predictor=True, tile=(32, 32), **rgb), colors),
        ("transparent", lambda: tiff(device, extrasamples=["unassalpha"], **rgb), on_white(colors, alpha)),
        ("premultiplied planes", lambda: _premultiplied(device), on_white(colors, alpha)),
        ("32 bits", lambda: tiff(deep.astype(np.uint32) * 65537, **rgb), colors),
        ("32 bits, gray", lambda: tiff(gray.astype(np.uint32) * 65537, **black_is_zero), grays),
        ("float", lambda: tiff((deep / 65535).astype(np.float32), **rgb), colors),
        ("float, predictor", lambda: tiff((deep / 65535).astype(np.float32), compression="zlib", predictor=True, **rgb), colors),
        ("half float, planes", lambda: tiff((planes / 65535).astype(np.float16), **separate), colors),
        ("double, gray", lambda: tiff(gray / 65535, **black_is_zero), grays),
        ("12 bits, gray", lambda: tiff(gray // 16, **black_is_zero, bitspersample=12), grays),
        ("10 bits", lambda: tiff(deep // 64, bitspersample=10, **rgb), colors),
        ("gray and alpha", lambda: tiff(device[..., [1, 3]], extrasamples=[2], **black_is_zero), on_white(grays, alpha)),
        ("CMYK planes", lambda: tiff(np.moveaxis(device, -1, 0), **inks), _naive(device)),
    )  # fmt: skip
    for name, make, expected in layouts:
        # Pillow keeps the upper 8 bits of each sample, as it always has; the same files have the same pixels.
        yield OddPhoto(f"TIFF, {name}.tif", make(), expected, 2 if name == "transparent" else 1)


def _naive(inks: Array) -> Array:
    shares = inks / 65535
    return np.asarray(255 * (1 - shares[..., :3]) * (1 - shares[..., 3:]))


def _premultiplied(device: Array) -> bytes:
    colors = np.rint(device[..., :3] * (device[..., 3:] / 65535)).astype(np.uint16)
    planes = np.moveaxis(np.dstack([colors, device[..., 3]]), -1, 0)
    return tiff(planes, photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"])


def heic(rgb: Array, **options: Any) -> bytes:
    """An HEIC image by libheif."""
    buffer = io.BytesIO()
    size = (rgb.shape[1], rgb.shape[0])
    pillow_heif.from_bytes("RGB", size, rgb.tobytes()).save(buffer, quality=95, chroma=444, **options)
    return buffer.getvalue()


def _jp2_with_profile(data: bytes, profile: bytes) -> bytes:
    """Replace the box that says "sRGB" by one that holds a profile, and make the box around it longer."""
    start = data.index(b"colr") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    outer = data.index(b"jp2h") - 4
    size = int.from_bytes(data[outer : outer + 4], "big") + len(box) - length
    return data[:outer] + struct.pack(">I", size) + data[outer + 4 : start] + box + data[start + length :]


def _bmp_with_profile(rgb: Array, profile: bytes) -> bytes:
    """A bitmap of version 5, whose profile follows its pixels."""
    height, width, _ = rgb.shape
    pixels = rgb[::-1, :, ::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    return b"BM" + struct.pack("<IHHI", 14 + 124 + len(pixels) + len(profile), 0, 0, 138) + header + pixels + profile

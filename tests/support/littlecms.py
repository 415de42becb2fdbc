"""LittleCMS by its C interface: makes ICC profiles of every kind, and converts by them in double precision.

A reference for what the library reads: it shares no call with it, and no rounding.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

D65 = (0.3127, 0.3290)
SRGB = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
ADOBE = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
PROPHOTO = (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
D50 = (0.3457, 0.3585)

_SPACES = {b"GRAY": (3, 1), b"RGB ": (4, 3), b"CMYK": (6, 4)}  # numbers of LittleCMS, and channels
_A2B0, _DESCRIPTION = 0x41324230, 0x64657363
_LAB, _INPUT = 0x4C616220, 0x73636E72

Colors = NDArray[np.float64]


class _XyY(ctypes.Structure):
    _fields_ = (("x", ctypes.c_double), ("y", ctypes.c_double), ("Y", ctypes.c_double))


_Sampler = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.POINTER(ctypes.c_uint16), ctypes.POINTER(ctypes.c_uint16), ctypes.c_void_p
)


def gamma(exponent: float) -> Colors:
    """The curve of a gamma: linear light at 4096 values of 0..1."""
    return np.asarray(np.linspace(0, 1, 4096) ** exponent)


def srgb_curve() -> Colors:
    """Linear light by IEC 61966-2-1."""
    value = np.linspace(0, 1, 4096)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def bt709_curve() -> Colors:
    """Linear light by the inverse of BT.709's curve."""
    value = np.linspace(0, 1, 4096)
    return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))


def rgb_profile(
    primaries: Sequence[float],
    curve: Colors,
    *,
    white: tuple[float, float] = D65,
    version: float = 4.3,
    name: str = "some RGB",
) -> bytes:
    """A profile of a matrix and three equal curves."""
    cms = _library()
    points = (_XyY * 3)(*(_XyY(x, y, 1.0) for x, y in zip(primaries[::2], primaries[1::2], strict=True)))
    handle = cms.cmsCreateRGBProfile(ctypes.byref(_XyY(*white, 1.0)), points, _curves(curve, 3))
    return _saved(handle, version, name)


def gray_profile(curve: Colors, *, version: float = 4.3) -> bytes:
    """A profile of gray by one curve."""
    handle = _library().cmsCreateGrayProfile(ctypes.byref(_XyY(*D50, 1.0)), _curves(curve, 1)[0])
    return _saved(handle, version, "some gray")


@cache
def table_profile(channels: int, lab: Callable[[Sequence[float]], Sequence[float]], *, version: float = 4.3) -> bytes:
    """A profile of a table: device values of 0..1, three or four, to L*, a*, b*, with Lab as its connection space."""
    cms = _library()
    handle = cms.cmsCreateProfilePlaceholder(None)
    cms.cmsSetDeviceClass(handle, _INPUT)
    cms.cmsSetColorSpace(handle, int.from_bytes({3: b"RGB ", 4: b"CMYK"}[channels], "big"))
    cms.cmsSetPCS(handle, _LAB)

    def sample(values: Any, result: Any, _: Any) -> int:
        lightness, a, b = lab([values[channel] / 65535 for channel in range(channels)])
        for place, share in enumerate((lightness / 100, (a + 128) / 255, (b + 128) / 255)):
            result[place] = round(min(max(share, 0), 1) * 65535)
        return 1

    table = cms.cmsStageAllocCLut16bit(None, {3: 9, 4: 7}[channels], channels, 3, None)
    assert cms.cmsStageSampleCLut16bit(table, _Sampler(sample), None, 0)
    pipeline = cms.cmsPipelineAlloc(None, channels, 3)
    for stage in (cms.cmsStageAllocToneCurves(None, channels, None), table, cms.cmsStageAllocToneCurves(None, 3, None)):
        assert cms.cmsPipelineInsertStage(pipeline, 1, stage)
    cms.cmsSetProfileVersion(handle, ctypes.c_double(version))
    assert cms.cmsWriteTag(handle, _A2B0, pipeline)
    return _saved(handle, version, "some table")


def inks(values: Sequence[float]) -> tuple[float, float, float]:
    """L*, a*, b* of a press on which cyan, magenta, yellow and black are dull, and black is not quite black."""
    cyan, magenta, yellow, black = values
    left = 1 - 0.92 * black
    return (
        6 + 90 * left * (1 - 0.35 * cyan) * (1 - 0.45 * magenta) * (1 - 0.05 * yellow),
        left * (62 * magenta - 32 * cyan),
        left * (78 * yellow - 42 * cyan - 8 * magenta),
    )


def film(values: Sequence[float]) -> tuple[float, float, float]:
    """L*, a*, b* of a scanner whose red, green and blue are none of sRGB's."""
    red, green, blue = values
    light = 0.3 * red + 0.6 * green + 0.1 * blue
    return 100 * math.sqrt(light), 80 * (red - green), 70 * (0.5 * (red + green) - blue)


def to_srgb(device: Colors, profile: bytes, intent: int = 0) -> Colors:
    """Convert device values, (..., channels) of 0..1 (1 is full ink), to sRGB of 0..255 in double precision.

    Perceptual (0) is LittleCMS's default intent.
    """
    cms = _library()
    number, channels = _SPACES[profile[16:20]]
    source = cms.cmsOpenProfileFromMem(profile, len(profile))
    assert source, "LittleCMS does not open it"
    double = 1 << 22
    transform = cms.cmsCreateTransform(
        ctypes.c_void_p(source),
        double | number << 16 | channels << 3,
        ctypes.c_void_p(cms.cmsCreate_sRGBProfile()),
        double | 4 << 16 | 3 << 3,
        intent,
        0x0100,  # every value by the profile itself, none by tables made from it
    )
    assert transform, "LittleCMS does not convert by it"
    values = np.ascontiguousarray(device * (100 if channels == 4 else 1), np.float64)
    result = np.empty((*values.shape[:-1], 3))
    cms.cmsDoTransform(
        ctypes.c_void_p(transform),
        values.ctypes.data_as(ctypes.c_void_p),
        result.ctypes.data_as(ctypes.c_void_p),
        values.size // channels,
    )
    return np.asarray(result.clip(0, 1) * 255)


@cache
def _library() -> Any:
    """The one that comes with Pillow, whose code is not involved, or that of the system.

    Old ones, such as 2.14, find another black of version 2 profiles of CMYK, ten gray levels away.
    """
    bundled = [*(Path(PIL.__file__).parent.parent / "pillow.libs").glob("liblcms2*")]
    library = ctypes.CDLL(str(bundled[0]) if bundled else ctypes.util.find_library("lcms2"))
    for name in (
        *(
            "cmsCreateRGBProfile",
            "cmsCreateGrayProfile",
            "cmsCreateProfilePlaceholder",
            "cmsBuildTabulatedToneCurveFloat",
        ),
        *("cmsStageAllocCLut16bit", "cmsStageAllocToneCurves", "cmsPipelineAlloc", "cmsOpenProfileFromMem"),
        *("cmsCreateTransform", "cmsCreate_sRGBProfile", "cmsMLUalloc"),
    ):
        getattr(library, name).restype = ctypes.c_void_p
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    library.cmsCreateGrayProfile.argtypes = (pointer, pointer)
    library.cmsCreateProfilePlaceholder.argtypes = (pointer,)
    for name in ("cmsSetDeviceClass", "cmsSetColorSpace", "cmsSetPCS"):
        getattr(library, name).argtypes = (pointer, number)
    library.cmsSetProfileVersion.argtypes = (pointer, ctypes.c_double)
    library.cmsStageSampleCLut16bit.argtypes = (pointer, _Sampler, pointer, number)
    library.cmsStageAllocToneCurves.argtypes = (pointer, number, pointer)
    library.cmsPipelineAlloc.argtypes = (pointer, number, number)
    library.cmsPipelineInsertStage.argtypes = (pointer, ctypes.c_int, pointer)
    library.cmsWriteTag.argtypes = (pointer, number, pointer)
    library.cmsSaveProfileToMem.argtypes = (pointer, pointer, pointer)
    library.cmsMLUsetASCII.argtypes = (pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
    return library


def _curves(curve: Colors, count: int) -> Any:
    values = (ctypes.c_float * curve.size)(*curve)
    made = [_library().cmsBuildTabulatedToneCurveFloat(None, curve.size, values) for _ in range(count)]
    return (ctypes.c_void_p * count)(*made)


def _saved(handle: int, version: float, name: str) -> bytes:
    cms = _library()
    cms.cmsSetProfileVersion(handle, version)
    text = cms.cmsMLUalloc(None, 1)
    cms.cmsMLUsetASCII(text, b"en", b"US", name.encode())
    assert cms.cmsWriteTag(handle, _DESCRIPTION, text)
    size = ctypes.c_uint32()
    assert cms.cmsSaveProfileToMem(handle, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    assert cms.cmsSaveProfileToMem(handle, buffer, ctypes.byref(size))
    return buffer.raw

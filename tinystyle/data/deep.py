"""Images of more than 8 bits as arrays, and TIFF files that Pillow reads wrongly or not at all.

tifffile and imagecodecs decode; both are imported only when such a file comes. Ranges, inversion, alpha and colors are
settled here.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tinystyle.data.color import space, to_srgb
from tinystyle.data.reasons import TRUNCATED, Refused, Unusable

__all__ = ["DeepImage", "deep_image", "gray_range", "pillow_reads", "render", "tiff_image"]

_STRIP_PIXELS = 1_000_000
_EXPORT = "export it as RGB of 8 or 16 bits"
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # values of TIFF's SampleFormat
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _SEPARATED = 0, 1, 2, 5
_MODELS = {_WHITE_IS_ZERO: ("GRAY", 1), _BLACK_IS_ZERO: ("GRAY", 1), _RGB: ("RGB", 3), _SEPARATED: ("CMYK", 4)}
_PREMULTIPLIED, _ALPHA = 1, 2  # values of TIFF's ExtraSamples
_NOT_IN_PILLOW = {50001}  # WebP
_NAMES = {3: "a palette TIFF", 4: "a mask TIFF", 6: "a YCbCr TIFF", 8: "a Lab TIFF", 9: "a Lab TIFF", 10: "a Lab TIFF"}
_BYTES_PER_PIXEL = 8
_INSIDE = 0.99
"""Share of a floating-point image's samples that are at most white; what is beyond is overshoot of a filter."""
_FLOAT_WHITES = ((-np.inf, 1.0), (32.0, 255.0), (4096.0, 65535.0))
"""White of floating-point RGB, if that share of the samples is at most white and not all of it below the first."""


@dataclass(frozen=True)
class DeepImage:
    """Samples of any number of bits, with what they mean."""

    samples: NDArray[Any]
    """(H, W, 1), (H, W, 3) or (H, W, 4): gray, RGB or CMYK."""
    black: float
    """Value of black, or of no ink."""
    white: float
    """Value of white, or of full ink."""
    alpha: NDArray[Any] | None = None
    """(H, W) on a scale from 0 to `opaque`."""
    opaque: float = 1.0
    premultiplied: bool = False
    orientation: int = 1
    profile: bytes | None = None


def render(image: DeepImage, profile: bytes | None) -> Image.Image:
    """Return an 8-bit RGB image, on white where it is transparent, converted to sRGB by `profile` if there is one."""
    height, width, channels = image.samples.shape
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        values = image.samples[strip].astype(np.float64)
        values = np.nan_to_num(values, nan=image.black, posinf=image.black, neginf=image.black)
        colors = ((values - image.black) / (image.white - image.black)).clip(0, 1).astype(np.float32)
        alpha = None
        if image.alpha is not None:
            alpha = (image.alpha[strip].astype(np.float32) / np.float32(image.opaque)).clip(0, 1)[..., None]
            if image.premultiplied:
                colors = (colors / np.maximum(alpha, 1e-6)).clip(0, 1)
        if profile:
            rgb_of_gray = channels == 1 and space(profile) == "RGB"
            colors = to_srgb(np.repeat(colors, 3, axis=2) if rgb_of_gray else colors, profile)
        elif channels == 4:  # as Pillow does without a profile
            colors = (1 - colors[..., :3]) * (1 - colors[..., 3:])
        if alpha is not None:
            colors = colors * alpha + (1 - alpha)
        out[strip] = np.rint(colors * 255)
    return Image.fromarray(out)


def gray_range(values: NDArray[Any], whites: tuple[int, ...]) -> tuple[float, float]:
    """Return (black, white): 0 and the lowest of `whites` that is not below the maximum, or minimum and maximum."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if values.dtype.kind == "f" and finite.size < values.size:  # NaN and infinity count as 0
        low, high = min(low, 0.0), max(high, 0.0)
    white = next((white for white in whites if high <= white), None)
    if low >= 0 and white is not None:
        return 0.0, float(white)
    return low, high if high > low else low + 1


def deep_image(image: Image.Image, data: bytes) -> DeepImage | None:
    """Decode a PNG, JPEG XL or JPEG 2000 of 16 bits, of which Pillow keeps 8; None for any other image.

    Args:
        image: the image as opened.
        data: content of the file.
    """
    import imagecodecs

    header = data.find(b"ihdr", 0, 4096)  # of JPEG 2000; depth minus 1 is behind height, width and number of components
    decoders = {
        "PNG": (data[24:25] == b"\x10", "png_decode"),
        "JXL": (True, "jpegxl_decode"),
        "JPEG2000": (header > 0 and data[header + 14 : header + 15] == b"\x0f", "jpeg2k_decode"),
    }
    worthwhile, decoder = decoders.get(image.format or "", (False, ""))
    samples = getattr(imagecodecs, decoder)(data) if worthwhile else np.zeros(0, np.uint8)
    if samples.dtype != np.uint16:
        return None
    samples = samples[..., None] if samples.ndim == 2 else samples
    colors = samples.shape[2] - (samples.shape[2] + 1) % 2
    alpha = samples[..., colors] if samples.shape[2] > colors else None
    return DeepImage(samples[..., :colors], 0, 65535, alpha, 65535)


def pillow_reads(image: Image.Image, *, converting: bool) -> bool:
    """Return whether Pillow reads a TIFF as it is meant.

    It does not in planes of 16 bits, 10 to 14 bits, unsigned 32 bits, and deep gray in which white is zero. It keeps 8
    of the 16 bits of RGB, which is too few if the colors have to be converted.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(258, (1,))
    bits = (bits,) if isinstance(bits, int) else tuple(bits)
    sample_format = tags.get(339, _UNSIGNED)
    sample_format = sample_format if isinstance(sample_format, int) else sample_format[0]
    if tags.get(259) in _NOT_IN_PILLOW:
        return False
    if max(bits) <= 8:
        return True
    if converting or tags.get(262) == _WHITE_IS_ZERO or max(bits) not in (16, 32):
        return False
    if len(bits) > 1 and tags.get(284) == 2:
        return False
    return not (max(bits) == 32 and sample_format == _UNSIGNED)


def tiff_image(data: bytes, limit: int) -> DeepImage:
    """Decode the first image of a TIFF or BigTIFF.

    Args:
        data: content of the file.
        limit: largest number of pixels.

    Raises:
        Refused: it is of a kind that has no meaning as a photo here; the message names the kind.
        Unusable: it is truncated or too large.
        Exception: whatever tifffile raises on damage.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it tells of oddities in files that it reads
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        width, height = page.imagewidth, page.imagelength
        photometric, samples = int(page.photometric), int(page.samplesperpixel)
        if width * height > limit or page.nbytes > _BYTES_PER_PIXEL * limit:
            raise Unusable(f"decompression bomb: {width}x{height}")
        if photometric == 6 and int(page.compression) in (6, 7):  # the decoder of JPEG makes it RGB
            photometric = _RGB
        model, channels = _MODELS.get(photometric, ("", 0))
        depth, kind = int(page.bitspersample), int(page.sampleformat)
        if not model or samples < channels or (kind == _SIGNED and model != "GRAY") or kind > _FLOAT:
            raise Refused(_described(photometric, depth, kind, samples), _EXPORT)
        if page.imagedepth > 1:
            raise Refused("a TIFF of a volume", _EXPORT)
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if not ends or max(ends) > len(data) or 0 in page.databytecounts:
            raise Unusable(TRUNCATED)
        values = page.asarray(maxworkers=1)
        icc = page.tags.get(34675)
        orientation = page.tags.get(274)
        extra = [int(value) for value in page.extrasamples]
    if samples > 1 and int(page.planarconfig) == 2:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(height, width, samples)
    colors = values[..., :channels]
    black, white = _range(colors, model, depth, kind)
    alpha = values[..., channels] if samples > channels and extra[:1] in ([_PREMULTIPLIED], [_ALPHA]) else None
    if photometric == _WHITE_IS_ZERO:
        black, white = white, black
    return DeepImage(
        colors,
        black,
        white,
        alpha,
        max(abs(black), abs(white)),
        extra[:1] == [_PREMULTIPLIED],
        int(orientation.value) if orientation else 1,
        bytes(icc.value) if icc else None,
    )


def _range(colors: NDArray[Any], model: str, depth: int, kind: int) -> tuple[float, float]:
    """Return the values of black and white."""
    if kind == _UNSIGNED and depth <= 16:
        return 0.0, float(2**depth - 1)
    if kind == _UNSIGNED:
        return 0.0, float(next((white for white in (255, 65535) if colors.max() <= white), 2**depth - 1))
    if model == "GRAY":
        return gray_range(colors, (255, 65535) if kind == _SIGNED else (1, 255, 65535))
    finite = colors[np.isfinite(colors)]
    top = float(np.quantile(finite, _INSIDE)) if finite.size else 0.0
    for least, white in _FLOAT_WHITES:
        if least < top <= white:
            return 0.0, white
    raise Refused(f"a floating-point TIFF of values up to {finite.max():.3g}", _EXPORT)


def _described(photometric: int, depth: int, kind: int, samples: int) -> str:
    name = _NAMES.get(photometric, {1: "a gray TIFF", 2: "an RGB TIFF", 5: "a TIFF of inks"}.get(photometric, "a TIFF"))
    sort = {_UNSIGNED: "", _SIGNED: " signed", _FLOAT: " floating-point", 5: " complex", 6: " complex"}.get(kind, "")
    return f"{name} of {samples}{sort} samples of {depth} bits"

"""Decode any image file to upright 8-bit sRGB. Does not depend on where files are or what they are for.

The only decoder of photos and style images. Runs in worker processes that start often, so it imports nothing heavy. The
size in the header is checked before pixels are decoded.
"""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tinystyle.data import deep
from tinystyle.data.color import convert
from tinystyle.data.color_signals import Note, profile_to_convert, usable_profile
from tinystyle.data.decode_errors import BOMB, decode_errors
from tinystyle.data.file_kinds import EXTRA_FORMATS, FORMATS, check_kind, installed_formats, is_tiff
from tinystyle.data.jpeg import damage_in_jpeg, strict_pixels
from tinystyle.data.placeholders import placeholder
from tinystyle.data.reasons import EMPTY, NO_IMAGE, Refused, Unusable
from tinystyle.data.resize import resize_rgb
from tinystyle.errors import UserError

__all__ = [
    "EMPTY",
    "NO_IMAGE",
    "Unusable",
    "decode",
    "decoder",
    "open_header",
    "open_rgb",
    "to_rgb",
    "upright_transpose",
]

_LOG = logging.getLogger(__name__)
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KINDS = "JPEG, PNG, WebP or TIFF"
_REVISION = 3
"""Raised by hand when the pixels of any file change, so that what was ingested into the cache is ingested again."""
_HEADER = 4096
"""Bytes by which the kind of a file is known."""

Target = Callable[[tuple[int, int]], tuple[int, int]]


def open_rgb(data: bytes, what: str) -> Image.Image:
    """Decode an image file at its full size, as `decode` does; what is odd about its colors is logged as a warning.

    Args:
        data: content of the file, in one of `FORMATS`, or in one that the extra `formats` adds.
        what: name of the image in error messages, such as "style paintings/a.jpg".

    Raises:
        UserError: the file is empty, not an image, damaged, too large to decode, or of a kind that is not read, which
            it names; the message begins with `what`.
    """
    try:
        return decode(data, note=lambda text: _LOG.warning("%s: %s", what, text))
    except Unusable as error:
        reason = str(error)
        if isinstance(error, Refused):
            raise UserError(f"{what} is {error.kind}, which is not read; {error.advice}") from error
        if reason == EMPTY:
            raise UserError(f"{what} is an empty file; give a {_KINDS} image") from error
        if found := placeholder(data):
            raise UserError(f"{what} is {found}") from error
        if reason.startswith(NO_IMAGE):
            kind = reason.removeprefix(NO_IMAGE).replace(": ", " but ")
            raise UserError(f"{what} is not an image that can be read{kind}; give a {_KINDS} file") from error
        if isinstance(error.__cause__, Image.DecompressionBombError | MemoryError) or reason.startswith(BOMB):
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise UserError(f"{what} has more than {limit} million pixels; scale it down first") from error
        reason = reason.removeprefix("corrupt: ")
        raise UserError(f"{what} is truncated or damaged ({reason}); give a whole file") from error


def decode(data: bytes, target: Target | None = None, note: Note = lambda _: None) -> Image.Image:
    """Decode an image file to sRGB, 8 bits per channel, upright by its EXIF orientation.

    Colors are converted to sRGB by the embedded ICC profile, or by what the file says in its place
    (`color_signals.profile_to_convert`). An image that says nothing is taken as sRGB. Transparent images are composited
    over white, only the first frame of an animation is decoded, and images with more than 8 bits per channel are scaled
    to 8 bits (see `to_rgb`), after the conversion of their colors.

    Args:
        data: content of the file, in one of `FORMATS`, or in one that the extra `formats` adds.
        target: called with the (width, height) in the header, before the image is turned upright; returns the size to
            scale to, or raises `Unusable`. Without it the image keeps its size.
        note: called with what is odd about a picture that is decoded nevertheless, as a part of a sentence.

    Raises:
        Refused: the file is of a kind that is not read; the message names the kind.
        Unusable: the file is empty, damaged or not an image; the message is the reason.
    """
    if not data:
        raise Unusable(EMPTY)
    # Pillow warns of odd metadata in files that it reads well, and of large images before the size that it refuses.
    with warnings.catch_warnings(), decode_errors(data):
        warnings.simplefilter("ignore")
        try:
            image = _opened(io.BytesIO(data), data)
        except UnidentifiedImageError:
            if not is_tiff(data):
                raise
            return _decode_tiff(data, target, note)
        size = target(image.size) if target else None
        profile = profile_to_convert(image, data, note)
        if image.format == "TIFF" and not deep.pillow_reads(image, converting=profile is not None):
            return _decode_tiff(data, target, note, profile)
        if size and image.format in ("JPEG", "MPO"):
            turn = upright_transpose(image)
            rgb = _decode_jpeg(data, image, size, profile)
            size = None
        else:
            image.load()
            if image.format == "PNG":  # decoding alone lets some bit rot pass
                Image.open(io.BytesIO(data), formats=("PNG",)).verify()
            elif image.format in ("JPEG", "MPO") and (damage := damage_in_jpeg(data, image.mode)):
                note(f"its data is damaged ({damage}), so a part of it may look wrong")
            turn = upright_transpose(image)  # some formats turn themselves as they load
            size = target(image.size) if target else None
            rgb = _rgb(image, data, profile)
        if size:
            rgb = rgb.resize(size, Image.Resampling.BICUBIC)
        return rgb if turn is None else rgb.transpose(turn)


def decoder() -> str:
    """Return what the pixels of a file depend on, beside the file: this decoder's revision, and the packages it has."""
    return " ".join([str(_REVISION), *installed_formats()])


def open_header(file: Path | io.BytesIO) -> Image.Image:
    """Open an image without decoding its pixels; formats of the extra `formats` included.

    Raises:
        Refused: the file is of a kind that is not read; the message names the kind.
        Unusable: it is not an image.
        UnidentifiedImageError: it cannot be opened.
        OSError: it is a TIFF that only `decode` reads, or the file cannot be read.
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            start = opened.read(_HEADER)
    else:
        start = file.getvalue()[:_HEADER]
    try:
        return _opened(file, start)
    except UnidentifiedImageError as error:
        if is_tiff(start):
            raise OSError("a TIFF that is not known to Pillow") from error
        raise


def _opened(file: Path | io.BytesIO, data: bytes) -> Image.Image:
    extra = check_kind(data)
    if extra:
        _register(extra)
    return Image.open(file, formats=(extra,) if extra else FORMATS)


def _register(format_: str) -> None:
    """Let Pillow know a format of the extra `formats`."""
    module = importlib.import_module(EXTRA_FORMATS[format_])
    if format_ == "HEIF":
        module.register_heif_opener(thumbnails=False)


def to_rgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Convert a loaded image of any mode to 8-bit RGB, composited over white if it is transparent.

    16-bit grayscale is divided by 257. 32-bit and floating-point grayscale have no fixed range: white is the lowest of
    1 (floating point only), 255 and 65535 that is not below the maximum. If the maximum is above 65535 or the minimum
    below 0, the range from minimum to maximum is scaled to 0..255.

    Args:
        image: the image; with a profile, it may be changed.
        profile: ICC profile by which the colors are converted to sRGB (see `color_signals.usable_profile`).

    Raises:
        Unusable: the mode cannot be converted.
    """
    whites = {"I": (255, 65535), "F": (1, 255, 65535)}.get(image.mode, (65535,) if image.mode[:4] == "I;16" else ())
    if whites:
        samples = np.asarray(image)
        black, white = deep.gray_range(samples, whites)
        if profile:
            return deep.render(deep.DeepImage(samples[..., None], black, white), profile)
        # Pillow's own conversion would clip at 255.
        gray = np.nan_to_num(samples.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        image = Image.fromarray(np.rint((gray - black) * (255 / (white - black))).astype(np.uint8))
    try:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            if profile:
                alpha = rgba.getchannel("A")
                rgba = convert(image.convert("L" if image.mode in ("LA", "La", "L", "1") else "RGB"), profile)
                rgba.putalpha(alpha)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
        elif profile:
            return convert(image.convert("L") if image.mode == "1" else _plain(image), profile)
        return image.convert("RGB")
    except ValueError as error:
        raise Unusable(f"unsupported colors: {image.mode}") from error


def _plain(image: Image.Image) -> Image.Image:
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")


def _rgb(image: Image.Image, data: bytes, profile: bytes | None) -> Image.Image:
    if profile and (picture := deep.deep_image(image, data)):
        return deep.render(picture, profile)
    return to_rgb(image, profile)


def _decode_tiff(data: bytes, target: Target | None, note: Note, profile: bytes | None = None) -> Image.Image:
    """Decode a TIFF that Pillow does not read as it is meant; `profile` is what the image has to be converted by."""
    picture = deep.tiff_image(data, 2 * (Image.MAX_IMAGE_PIXELS or 0))
    height, width, channels = picture.samples.shape
    size = target((width, height)) if target else None
    if profile is None and picture.profile:
        profile = usable_profile(picture.profile, {1: "L", 3: "RGB", 4: "CMYK"}[channels], note) or None
    rgb = deep.render(picture, profile)
    if size:
        rgb = rgb.resize(size, Image.Resampling.BICUBIC)
    turn = _UPRIGHT.get(picture.orientation)
    return rgb if turn is None else rgb.transpose(turn)


def _decode_jpeg(data: bytes, image: Image.Image, target: tuple[int, int], profile: bytes | None) -> Image.Image:
    """Decode at a reduced size where libjpeg is quicker at it, convert to sRGB, and scale to `target`."""
    pixels = strict_pixels(data, image.mode, _quick_reduction(image.size, target))
    if pixels is None or image.mode == "CMYK":  # whose inks Pillow tells from what they leave of the light
        image.draft(None, target)
        return to_rgb(image, profile).resize(target, Image.Resampling.BICUBIC)
    if profile is not None:
        pixels = np.asarray(to_rgb(Image.fromarray(pixels).convert(image.mode), profile))
    return Image.fromarray(resize_rgb(pixels, target))


def _quick_reduction(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (width, height) of 1/8, 1/4 and 1/2 of `size` that is not below `target`; (0, 0) if none is.

    libjpeg-turbo has vector code for these alone: 3/8 takes longer than 1/2, and 5/8 to 7/8 longer than the full size.
    """
    for factor in (8, 4, 2):
        reduced = -(-size[0] // factor), -(-size[1] // factor)  # rounded up, as libjpeg does
        if reduced[0] >= target[0] and reduced[1] >= target[1]:
            return reduced
    return 0, 0


def upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns an image upright by its EXIF orientation; None if it is upright."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken metadata, in any of many ways, is no reason to refuse a good picture
        return None

"""Decodes a photo of any size into a temporary file: sRGB, upright, with its transparency.

Baseline JPEG and PNG are decoded piece by piece; of other files, the decoded picture is in memory once.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from tinystyle.data.color_signals import Note, profile_to_convert
from tinystyle.data.file_kinds import check_kind
from tinystyle.data.images import to_rgb, upright_transpose
from tinystyle.stylize.metadata import Metadata, read_metadata
from tinystyle.stylize.picture import Picture, read_picture, scaled_size
from tinystyle.stylize.tiles.bands import resized
from tinystyle.stylize.tiles.scratch import Mapping, Region, Scratch, tiles

__all__ = ["LargePicture", "image_in", "read_large_picture", "spilled"]

_LOG = logging.getLogger(__name__)
_STREAMED = {b"\xff\xd8\xff": "JPEG", b"\x89PN": "PNG"}
_EIGHT_BITS = {"L": 1, "P": 1, "1": 1, "LA": 4, "PA": 4, "RGB": 4, "RGBA": 4, "CMYK": 4}
"""Bytes per pixel in Pillow's memory, by mode."""
_HEAD = 1 << 22
"""Bytes in which what a file says of its colors is looked for."""
_BLOCK = 1024
_MOST_READ = 8192
"""Bytes of a file between which memory is given back; of a PNG they may become a thousand times as many."""

# Whether each transposition exchanges the axes, and whether it mirrors the resulting columns and rows.
_TURNS = {
    None: (False, False, False),
    Image.Transpose.FLIP_LEFT_RIGHT: (False, True, False),
    Image.Transpose.ROTATE_180: (False, True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, False, True),
    Image.Transpose.TRANSPOSE: (True, False, False),
    Image.Transpose.ROTATE_270: (True, True, False),
    Image.Transpose.TRANSVERSE: (True, True, True),
    Image.Transpose.ROTATE_90: (True, False, True),
}


class LargePicture(NamedTuple):
    """A `Picture` in temporary files."""

    pixels: Scratch
    """RGB, upright, sRGB; what is transparent is composited over white."""
    alpha: Scratch | None
    metadata: Metadata


def read_large_picture(data: Path | bytes, what: str, max_side: int | None = None) -> LargePicture:
    """Decode an image file as `read_picture` does, in bounded memory if it is a baseline JPEG or a PNG of 8 bits.

    Args:
        data: path of the file, or its content.
        what, max_side: see `read_picture`.

    Raises:
        UserError: the image cannot be decoded.
        OSError: the file cannot be read, or there is no space for temporary files.
    """
    with data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as file:
        head = file.read(_HEAD)
        file.seek(0)
        kind = _STREAMED.get(head[:3])
        notes: list[str] = []
        picture = _streamed(file, kind, head, notes.append) if kind else None
    if picture is None:  # of another kind, or damaged, which this says
        return spilled(read_picture(data.read_bytes() if isinstance(data, Path) else data, what, max_side))
    for text in notes:
        _LOG.warning("%s: %s", what, text)
    height, width, _ = picture.pixels.shape
    size = scaled_size((width, height), max_side)
    return LargePicture(
        resized(picture.pixels, size), picture.alpha and resized(picture.alpha, size), picture.metadata(size)
    )


def image_in(mapping: Mapping, mode: str, size: tuple[int, int]) -> Image.Image:
    """Return an image of Pillow's, of a mode with four bytes or one per pixel, whose pixels are in the mapping."""
    memory = pa.py_buffer(mapping.pixels)
    count = size[0] * size[1] * _EIGHT_BITS[mode]
    pixels = pa.Array.from_buffers(pa.uint8(), count, [None, memory])
    return Image.fromarrow(
        pixels if _EIGHT_BITS[mode] == 1 else pa.FixedSizeListArray.from_arrays(pixels, 4), mode, size
    )


class _Streamed(NamedTuple):
    pixels: Scratch
    alpha: Scratch | None
    file: Image.Image

    def metadata(self, size: tuple[int, int]) -> Metadata:
        return read_metadata(self.file, size)


def _streamed(file: IO[bytes], kind: str, head: bytes, note: Note) -> _Streamed | None:
    """Decode into a mapped file, then block by block to upright sRGB; None if this way does not do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_kind(head)
            Image.preinit()
            source = _Forgetful(file)
            # Not by Image.open, which refuses what would not fit into memory.
            image = Image.OPEN[kind][0](source, "")  # type: ignore[arg-type]
            bytes_per_pixel = _EIGHT_BITS.get(image.mode)
            if bytes_per_pixel is None:
                return None
            mapping = source.mapping = Mapping(image.height, -(-image.width * bytes_per_pixel // 4))
            # Of another object, as looking for EXIF changes what an image is later said to have.
            profile = profile_to_convert(Image.OPEN[kind][0](io.BytesIO(head), ""), head, note)
            if profile and kind == "PNG" and head[24] == 16:  # whose colors are converted before they become 8 bits
                return None
            image.im = image_in(mapping, image.mode, image.size).im
            image.decodermaxblock = _MOST_READ
            image.load()
            mapping.forget()
            if kind == "PNG":  # decoding alone lets some bit rot pass
                file.seek(0)
                Image.OPEN[kind][0](file, "").verify()
            return _upright(image, mapping, profile)
        except OSError as error:
            if error.filename:  # no space for temporary files
                raise
            return None
        except MemoryError:
            raise
        except Exception:  # damaged, in any of many ways
            return None


def _upright(image: Image.Image, mapping: Mapping, profile: bytes | None) -> _Streamed:
    turn = upright_transpose(image)
    exchanged, mirrored, upended = _TURNS[turn]
    width, height = image.size[::-1] if exchanged else image.size
    pixels = Scratch(height, width, 3)
    alpha = Scratch(height, width, 1) if image.has_transparency_data else None
    for region in tiles(image.height, image.width, _BLOCK):
        block = image.crop((region.left, region.top, region.right, region.bottom))
        mapping.forget()
        rows, columns = (region[2:], region[:2]) if exchanged else (region[:2], region[2:])
        rows = (height - rows[1], height - rows[0]) if upended else rows
        columns = (width - columns[1], width - columns[0]) if mirrored else columns
        place = Region(*rows, *columns)
        rgb = to_rgb(block.copy() if profile else block, profile)  # which may change what it is given
        pixels.write(place, np.asarray(rgb if turn is None else rgb.transpose(turn)))
        if alpha:
            opacity = block.convert("RGBA").getchannel("A")
            alpha.write(place, np.asarray(opacity if turn is None else opacity.transpose(turn))[..., None])
    return _Streamed(pixels, alpha, image)


def spilled(picture: Picture) -> LargePicture:
    """Write a picture into temporary files."""
    width, height = picture.image.size
    whole = Region(0, height, 0, width)
    pixels = Scratch(height, width, 3)
    pixels.write(whole, np.asarray(picture.image))
    alpha = None
    if picture.alpha:
        alpha = Scratch(height, width, 1)
        alpha.write(whole, np.asarray(picture.alpha)[..., None])
    return LargePicture(pixels, alpha, picture.metadata)


class _Forgetful:
    """A file; whenever it is read, what the decoder has written into the mapping leaves memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.mapping: Mapping | None = None
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if self.mapping:
            self.mapping.forget()
        return self._file.read(size)

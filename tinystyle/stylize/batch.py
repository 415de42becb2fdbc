"""Stylizes many photos. Decoding and encoding overlap with the network; an error affects one photo only."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import torch

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets.blocks import MARGIN
from tinystyle.stylize.memory import available_memory, peak_bytes
from tinystyle.stylize.photos import STANDARD_STREAM, Photo, find_photos, name_results
from tinystyle.stylize.picture import Picture, read_picture, scaled_size, to_png
from tinystyle.stylize.render import Model, run, size_for, stylize_image, training_crop
from tinystyle.stylize.stroke_size import check_stroke_size, reduced_size

__all__ = ["stylize_photos"]

_LOG = logging.getLogger(__name__)

# The file written (None: standard output), or the reason why there is none.
_Outcome: TypeAlias = Path | ValueError | None
# Below this number of pixels any network of nets/ needs less than a gigabyte, which is not worth checking.
_SURELY_FITS = 1_000_000
# Bytes per pixel of the pictures around the network: three at a time with 3 bytes, and two more copies while decoding.
_PICTURES_BYTES = 15
# The C library keeps some freed memory, in pieces of up to 32 MB, whatever the photo; this much was observed.
_KEPT_BYTES = 150_000_000
# The reference evaluator keeps tensors contiguous; convolutions copy them into blocks of 16 channels.
_REFERENCE_FACTOR = 1.6
_PROBE_SIDE = 256
# Short sides of photos, in training crops. Beyond the first, strokes look fine; at the second, as in training.
_FAR_LARGER, _WELL_SEEN = 6, 3


def stylize_photos(
    model: Model,
    photos: Sequence[str | Path],
    out: Path | str,
    *,
    max_side: int | None = None,
    keep_colors: bool = False,
    strength: float = 1.0,
    stroke_size: float = 1.0,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    written: Callable[[Path], None] = lambda _: None,
) -> list[Path]:
    """Stylize photos into the folder `out`: PNG files with the photos' names, EXIF and (upright) sizes.

    If a photo cannot be read, the others are stylized nevertheless. At most three photos are in memory.

    Args:
        photos: files, URIs, folders, patterns, or "-" for standard input (named stdin.png), as in `find_photos`.
        out: folder, or "-" for one PNG to standard output.
        max_side: longer side, in pixels, to which larger photos are scaled down; their results keep that size.
        keep_colors, strength, stroke_size: see `stylize_image`.
        progress: called after each photo with (done, total, failed).
        written: called with each file that has been written.

    Returns:
        The files written, in the order of the photos.

    Raises:
        UserError: before the first photo, if a photo is missing, two would get the same name, one would be overwritten,
            an option is out of range, `out` is not a folder, or a photo would not fit into memory; after the last
            photo, if any could not be stylized, with the name of each.
        OSError: a result cannot be written.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"strength {strength:g}: give a number from 0 (the photo) to 1 (the stylized image)")
    if max_side is not None and max_side < 1:
        raise UserError(f"max_side {max_side}: give a longer side of at least 1 pixel")
    check_stroke_size(stroke_size)
    found = find_photos(photos)
    targets = _targets(found, out)
    memory, hint = _Memory(model), _Hint(model, stroke_size)
    for photo in found:
        if photo.size:
            memory.check(photo.source, scaled_size(photo.size, max_side), stroke_size)

    def render(photo: Photo, picture: Picture) -> Picture:
        if not photo.size:
            memory.check(photo.source, picture.image.size, stroke_size)
        hint.of(photo.source, picture.image.size)
        return _render(model, photo, picture, keep_colors=keep_colors, strength=strength, stroke_size=stroke_size)

    results, failures = [], []
    for outcome in _overlapped(found, targets, partial(_decode, max_side=max_side), render):
        if isinstance(outcome, ValueError):
            failures.append(str(outcome))
        elif outcome is not None:
            results.append(outcome)
            written(outcome)
        progress(len(results) + len(failures), len(found), len(failures))
    if failures:
        raise UserError(f"{len(failures)} of {len(found)} photos could not be stylized: {'; '.join(failures)}")
    return results


def _targets(photos: list[Photo], out: Path | str) -> list[Path | None]:
    """Return the file to write for each photo, None for standard output."""
    if str(out) != STANDARD_STREAM:
        if Path(out).exists() and not Path(out).is_dir():
            raise UserError(f"{out}: is a file; give a folder for the stylized photos")
        return [*name_results(photos, Path(out))]
    if len(photos) != 1:
        raise UserError(f"standard output takes one photo, not {len(photos)}; give a folder for them")
    if sys.stdout.isatty():
        raise UserError("standard output is a terminal; redirect it to a file, or give a folder")
    return [None]


def _overlapped(
    photos: list[Photo],
    targets: list[Path | None],
    decode: Callable[[Photo], Picture],
    render: Callable[[Photo, Picture], Picture],
) -> Iterator[_Outcome]:
    """Yield for each photo in turn what was written, or why nothing was.

    One photo at a time is decoded, one rendered and one encoded.
    """
    with ThreadPoolExecutor(1) as decoder, ThreadPoolExecutor(1) as encoder:
        decoding = decoder.submit(decode, photos[0])
        encoding: Future[_Outcome] | None = None
        for photo, target, following in zip(photos, targets, [*photos[1:], None], strict=True):
            current = decoding
            if following:
                decoding = decoder.submit(decode, following)
            try:
                picture = render(photo, current.result())
            except UserError as error:
                finished: Future[_Outcome] = Future()
                finished.set_result(error)
            else:
                finished = encoder.submit(_write, picture, target)
            if encoding:
                yield encoding.result()
            encoding = finished
        if encoding:
            yield encoding.result()


def _decode(photo: Photo, max_side: int | None) -> Picture:
    try:
        return read_picture(photo.read(), photo.source, max_side)
    except OSError as error:
        raise UserError(f"{photo.source}: cannot be read ({error.strerror or error})") from error


def _render(model: Model, photo: Photo, picture: Picture, **options: Any) -> Picture:
    try:
        return Picture(stylize_image(model, picture.image, **options), picture.exif)
    except (MemoryError, RuntimeError) as error:
        # torch has no exception of its own for this.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            width, height = picture.image.size
            problem = f"{photo.source}: not enough memory for {width}x{height} pixels; give a smaller `max_side`"
            raise UserError(problem) from error
        raise


def _write(picture: Picture, target: Path | None) -> _Outcome:
    if target is None:
        sys.stdout.buffer.write(to_png(picture))
        sys.stdout.buffer.flush()
    else:
        storage.write_bytes(target, to_png(picture))
    return target


class _Hint:
    """Warns once how strokes will look, for the first photo that is far larger than the network's training crops."""

    def __init__(self, model: Model, stroke_size: float) -> None:
        crop = training_crop(model)
        self._largest = _FAR_LARGER * crop * stroke_size if crop else math.inf
        self._crop = crop or 0

    def of(self, source: str, size: tuple[int, int]) -> None:
        """Warn if a photo of `size` (width, height), which is about to be stylized, is the first that is far larger."""
        if min(size) > self._largest:
            factor = max(2, round(min(size) / (_WELL_SEEN * self._crop)))
            _LOG.warning(
                "%s: %dx%d pixels is large for a network trained on crops of %d; its strokes will be fine. For larger ones "
                "give `stroke_size` %g, or `max_side`",
                source,
                *size,
                self._crop,
                factor,
            )
            self._largest = math.inf


class _Memory:
    """Memory that a model needs, measured by a run on a small image, and only once a photo is large."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._bytes_per_pixel: float | None = None

    def check(self, what: str, size: tuple[int, int], stroke_size: float) -> None:
        """Raise UserError if stylizing a photo of `size` (width, height) takes more memory than is available."""
        pixels = _with_margin(size_for(self._model, reduced_size(size, stroke_size)))
        if pixels <= _SURELY_FITS:
            return
        if self._bytes_per_pixel is None:
            self._bytes_per_pixel = self._measure()
        growing, available = self._bytes_per_pixel * pixels + _PICTURES_BYTES * prod(size), available_memory()
        needed = growing + _KEPT_BYTES
        if needed > available:
            fitting = max(size) * (max(0, available - _KEPT_BYTES) / growing) ** 0.5
            side = max(100, int(fitting * 0.95) // 100 * 100)
            raise UserError(
                f"{what}: {size[0]}x{size[1]} pixels need {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB "
                f"are free; scale it down with `max_side` {side}"
            )

    def _measure(self) -> float:
        width, height = size_for(self._model, (_PROBE_SIDE, _PROBE_SIDE))
        if width * height > _SURELY_FITS:  # a Core ML file of a large fixed size: measuring would be all of the work
            return 0.0
        probe = partial(run, self._model, torch.zeros(height, width, 3, dtype=torch.uint8))
        probe()  # what only the first run needs does not grow with the photo
        factor = 1.0 if isinstance(self._model, LoadedModel) else _REFERENCE_FACTOR
        return factor * peak_bytes(probe) / _with_margin((width, height))


def _with_margin(size: tuple[int, int]) -> int:
    """Return the number of pixels that the network's layers see of an image of `size`."""
    return prod(side + 2 * MARGIN for side in size)

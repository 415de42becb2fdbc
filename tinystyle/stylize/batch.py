"""Stylizes many photos. Decoding and encoding overlap with the network; an error affects one photo only."""

from __future__ import annotations

import io
import logging
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.stylize import formats
from tinystyle.stylize.fitting import AUTO, Fitting
from tinystyle.stylize.masks import Masks
from tinystyle.stylize.photos import Photo, find_photos, header_size
from tinystyle.stylize.picture import Picture, flattened, read_picture, scaled_size
from tinystyle.stylize.render import Model, stylize_image, training_crop
from tinystyle.stylize.stroke_size import check_stroke_size
from tinystyle.stylize.targets import Target, find_targets
from tinystyle.stylize.tiles.decode import read_large_picture
from tinystyle.stylize.tiles.large import LargeResult, stylize_large

__all__ = ["stylize_photos"]

_LOG = logging.getLogger(__name__)

# The file written (None: standard output), or the reason why there is none.
_Outcome: TypeAlias = Path | ValueError | None
# Short sides of photos, in training crops. Beyond the first, strokes look fine; at the second, as in training.
_FAR_LARGER, _WELL_SEEN = 6, 3


@dataclass(frozen=True)
class _Large:
    """A photo that is decoded when it is stylized, in tiles."""

    data: Path | bytes
    size: tuple[int, int]
    """(width, height) at which it is stylized."""
    side: int
    """Of a tile, in pixels."""


@dataclass(frozen=True)
class _Options:
    max_side: int | None
    keep_colors: bool
    strength: float
    stroke_size: float
    flatten: bool
    quality: int | None


def stylize_photos(
    model: Model,
    photos: Sequence[str | Path],
    out: Path | str,
    *,
    max_side: int | None = None,
    keep_colors: bool = False,
    strength: float = 1.0,
    stroke_size: float = 1.0,
    format: str | None = None,
    quality: int | None = None,
    flatten: bool = False,
    tile: str | int = AUTO,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    progress: Callable[[int, int, int], None] = lambda *_: None,
    written: Callable[[Path], None] = lambda _: None,
) -> list[Path]:
    """Stylize photos into files with the photos' (upright) sizes, transparency and metadata.

    Metadata are EXIF, XMP, resolution, comment and texts, and a profile of sRGB if the photo had one of any kind. If a
    photo cannot be read, the others are stylized nevertheless. At most three photos are in memory.

    Args:
        photos: files, URIs, folders, patterns, or "-" for standard input (named stdin), as in `find_photos`.
        out: folder, in which files have the photos' names; the file for one photo, which ends in .png, .jpg, .jpeg,
            .webp, .tif or .tiff; or "-" for one photo to standard output.
        max_side: longer side, in pixels, to which larger photos are scaled down; their results keep that size.
        keep_colors, strength, stroke_size: see `stylize_image`.
        format: "png", "jpeg", "webp" or "tiff"; by default that of the suffix of `out`, or PNG.
        quality: of JPEG and WebP, from 1 to 100; by default 92 and 90.
        flatten: put results on white instead of keeping the photos' transparency; a JPEG always is.
        tile: "auto" to compute photos in tiles that would otherwise take over 4 GB of memory, or more than there is;
            "off"; or the side of a tile in pixels. Tiles change no result by more than rounding, and use temporary files.
            A Core ML file computes no tiles.
        mask: an image for all photos, or a folder of images with the photos' names: white is stylized, black keeps the
            photo, gray is their linear blend. It is turned upright and resized to the photo, whose proportions it has.
        invert_mask: stylize where the mask is black.
        progress: called after each photo with (done, total, failed).
        written: called with each file that has been written.

    Returns:
        The files written, in the order of the photos.

    Raises:
        UserError: before the first photo, if a photo or its mask is missing, two would get the same name, one would be
            overwritten, an option is out of range, `out` cannot be written to, or a photo would not fit into memory;
            after the last photo, if any could not be stylized, with the name of each.
        OSError: a result or a temporary file cannot be written.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"`strength` {strength:g}: give a number from 0 (the photo) to 1 (the stylized image)")
    if max_side is not None and max_side < 1:
        raise UserError(f"`max_side` {max_side}: give a longer side of at least 1 pixel")
    check_stroke_size(stroke_size)
    fitting, hint = Fitting(model, tile, stroke_size), _Hint(model, stroke_size)
    found = find_photos(photos)
    targets = find_targets(found, out, format)
    if invert_mask and mask is None:
        raise UserError("`invert_mask` is for a mask; give one with `mask`")
    masks = None if mask is None else Masks(mask, found, invert=invert_mask)
    output = targets[0].format
    formats.check_quality(quality, output)
    for photo in found:
        if photo.size:
            size = scaled_size(photo.size, max_side)
            formats.check_size(photo.source, size, output)
            fitting.tile_side(photo.source, size)
    if folder := targets[0].path and targets[0].path.parent:
        storage.check_writable(folder)
    options = _Options(max_side, keep_colors, strength, stroke_size, flatten or not formats.has_alpha(output), quality)
    work = _Work(model, options, fitting, hint, output, masks)
    results, failures = [], []
    for outcome in _overlapped(found, targets, work):
        if isinstance(outcome, ValueError):
            failures.append(str(outcome))
        elif outcome is not None:
            results.append(outcome)
            written(outcome)
        progress(len(results) + len(failures), len(found), len(failures))
    if failures:
        raise UserError(f"{len(failures)} of {len(found)} photos could not be stylized: {'; '.join(failures)}")
    return results


class _Work:
    """The steps from a photo to its file."""

    def __init__(
        self, model: Model, options: _Options, fitting: Fitting, hint: _Hint, output: str, masks: Masks | None
    ) -> None:
        self._model, self._options, self._fitting, self._hint, self._output = model, options, fitting, hint, output
        self._masks = masks

    def decode(self, photo: Photo) -> Picture | _Large:
        """Read a photo, unless it will be computed in tiles, from its file.

        Raises:
            UserError: it cannot be read or decoded, or does not fit into memory or into the format.
        """
        try:
            data = None if photo.size and photo.path else photo.read()
            size = photo.size or (header_size(io.BytesIO(data)) if data else None)
            if size:
                size = scaled_size(size, self._options.max_side)
                formats.check_size(photo.source, size, self._output)
                if side := self._fitting.tile_side(photo.source, size):
                    return _Large(photo.path or data or b"", size, side)
            return read_picture(photo.read() if data is None else data, photo.source, self._options.max_side)
        except OSError as error:
            raise UserError(f"{photo.source}: cannot be read ({error.strerror or error})") from error

    def render(self, photo: Photo, picture: Picture | _Large) -> Picture | LargeResult:
        """Stylize a photo.

        Raises:
            UserError: memory does not suffice, a large photo cannot be decoded, or a mask cannot or does not fit.
            OSError: a temporary file cannot be written.
        """
        options = self._options
        size = picture.size if isinstance(picture, _Large) else picture.image.size
        self._hint.of(photo.source, size)
        try:
            if isinstance(picture, _Large):
                assert isinstance(self._model, LoadedModel)
                return self._in_tiles(photo, picture, self._model)
            stylized = stylize_image(
                self._model,
                picture.image,
                keep_colors=options.keep_colors,
                strength=options.strength,
                stroke_size=options.stroke_size,
                mask=self._masks.of(photo, size) if self._masks else None,
            )
        except (MemoryError, RuntimeError) as error:
            # torch has no exception of its own for this.
            if isinstance(error, MemoryError) or "allocate memory" in str(error):
                problem = f"{photo.source}: not enough memory for {size[0]}x{size[1]} pixels; give a smaller `max_side`"
                raise UserError(problem) from error
            raise
        result = Picture(stylized, picture.alpha, picture.metadata)
        return flattened(result) if options.flatten else result

    def _in_tiles(self, photo: Photo, large: _Large, model: LoadedModel) -> LargeResult:
        _LOG.info("%s: %dx%d pixels, computed in tiles of %d", photo.source, *large.size, large.side)
        options = self._options
        picture = read_large_picture(large.data, photo.source, options.max_side)
        height, width, _ = picture.pixels.shape
        return stylize_large(
            model.network,
            picture,
            large.side,
            keep_colors=options.keep_colors,
            strength=options.strength,
            stroke_size=options.stroke_size,
            flatten=options.flatten,
            mask=self._masks.of(photo, (width, height)) if self._masks else None,
        )

    def write(self, result: Picture | LargeResult, target: Target) -> _Outcome:
        """Encode a result, and write it atomically."""
        if target.path is None:
            # Nothing half-made goes to the pipe, and a TIFF is not written in order.
            with tempfile.TemporaryFile() as file:
                self._save(result, file, target.format)
                file.seek(0)
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with storage.atomic_path(target.path) as temporary, temporary.open("w+b") as file:
                self._save(result, file, target.format)
        return target.path

    def _save(self, result: Picture | LargeResult, file: IO[bytes], format_: str) -> None:
        if isinstance(result, LargeResult):
            result.save(file, format_, self._options.quality)
        else:
            formats.save(result.whole(), file, format_, result.metadata, self._options.quality)


def _overlapped(photos: list[Photo], targets: list[Target], work: _Work) -> Iterator[_Outcome]:
    """Yield for each photo in turn what was written, or why nothing was.

    One photo at a time is decoded, one rendered and one encoded.
    """
    with ThreadPoolExecutor(1) as decoder, ThreadPoolExecutor(1) as encoder:
        decoding = decoder.submit(work.decode, photos[0])
        encoding: Future[_Outcome] | None = None
        for photo, target, following in zip(photos, targets, [*photos[1:], None], strict=True):
            current = decoding
            if following:
                decoding = decoder.submit(work.decode, following)
            try:
                result = work.render(photo, current.result())
            except UserError as error:
                finished: Future[_Outcome] = Future()
                finished.set_result(error)
            else:
                finished = encoder.submit(work.write, result, target)
            if encoding:
                yield encoding.result()
            encoding = finished
        if encoding:
            yield encoding.result()


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

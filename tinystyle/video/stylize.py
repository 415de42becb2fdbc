"""Stylizes a video, from its file to the result, in constant memory; a killed run is resumed by the same call."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tinystyle.data import storage
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.stylize.fitting import OFF, Fitting
from tinystyle.stylize.masks import fitted_mask, read_mask
from tinystyle.stylize.picture import scaled_size
from tinystyle.stylize.render import Model
from tinystyle.video.assemble import assemble
from tinystyle.video.containers import CONTAINERS, Container, container_of_suffix, naming_errors
from tinystyle.video.frames import FrameStylizer
from tinystyle.video.parts import Encoding, Parts
from tinystyle.video.source import Source

__all__ = ["stylize_video"]

_LOG = logging.getLogger(__name__)


def stylize_video(
    model: Model,
    video: str | Path,
    out: str | Path,
    *,
    max_side: int | None = None,
    keep_colors: bool = False,
    strength: float = 1.0,
    stroke_size: float = 1.0,
    smoothing: float = 0.0,
    mask: str | Path | None = None,
    invert_mask: bool = False,
    crf: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int | None], None] = lambda *_: None,
) -> Path:
    """Stylize a video. The result keeps its size, the time of every frame, its sound and its color space.

    Parts of sixty frames are kept beside the result until it is complete; after an interruption, the same call continues
    after the last of them, and the result has the bytes of a call that was not interrupted. Frames are written upright.

    Args:
        model: the network or Core ML file.
        video: path of a video.
        out: the file, which ends in .mp4, .m4v, .mov, .mkv (H.264) or .webm (VP9), or a folder for a file with the
            video's name. H.264 has even sides: a last column or row is repeated where a side is odd.
        max_side: longer side, in pixels, to which larger frames are scaled down.
        smoothing, device, keep_colors, strength, stroke_size: see `FrameStylizer`.
        mask: an image that says where every frame is stylized; see `stylize_photos`.
        invert_mask: stylize where the mask is black.
        crf: constant rate factor of the encoder, from 0 (best) to 51, or 63 for .webm; by default 20 and 28.
        progress: called with the frames that are done and those there are, or None if the file does not say.

    Returns:
        The path of the file.

    Raises:
        UserError: PyAV is not installed; the video cannot be read; an option is out of range; `out` is no name of a
            video or would overwrite it, or another call is writing it; frames do not fit into memory.
        OSError: the result cannot be written.
    """
    if max_side is not None and max_side < 2:
        raise UserError(f"`max_side` {max_side}: give a longer side of at least 2 pixels")
    path = local_only(video, "VIDEO")
    source = Source.open(path)
    target = _target(path, out)
    container = container_of_suffix(target)
    assert container
    crf = _checked_crf(crf, container)
    size = _size(source, max_side, container)
    if invert_mask and mask is None:
        raise UserError("`invert_mask` is for a mask; give one with `mask`")
    data = None if mask is None else _mask_bytes(mask)
    still = (
        None
        if data is None
        else fitted_mask(read_mask(data, str(mask), invert=invert_mask), str(mask), str(path), size)
    )
    stylizer = FrameStylizer(
        model,
        smoothing=smoothing,
        device=device,
        keep_colors=keep_colors,
        strength=strength,
        stroke_size=stroke_size,
        mask=still,
    )
    Fitting(model, OFF, stroke_size).tile_side(str(path), size)
    storage.check_writable(target.parent)
    if source.colors.hdr:
        _LOG.warning("%s: is HDR; it stays so, but with 8 bits per color, in which smooth areas may show bands", path)
    status = path.stat()
    made_from = {
        "video": f"{path.name}, {status.st_size} bytes, {status.st_mtime_ns}",
        "model": _fingerprint(model),
        **{name: str(value) for name, value in stylizer.options.items() if name != "mask"},
        "smoothing": str(stylizer.smoothing),
        "mask": "none" if data is None else hashlib.sha256(data).hexdigest()[:16],
        "invert_mask": str(invert_mask),
        "max_side": str(max_side),
        "crf": str(crf),
    }
    parts = Parts(target, made_from)
    with parts.held(), naming_errors(parts.folder):
        _make_parts(parts, Encoding(source, container, size, crf), stylizer, size, progress)
        result = parts.folder / f"result{target.suffix}"
        assemble(parts.finished(), source, container, result)
        with result.open("rb") as file:
            os.fsync(file.fileno())
        result.replace(target)
        parts.remove()
    return target


def _make_parts(
    parts: Parts,
    encoding: Encoding,
    stylizer: FrameStylizer,
    size: tuple[int, int],
    progress: Callable[[int, int | None], None],
) -> None:
    finished = len(parts.finished())
    stylizer.restore(parts.state(finished))
    done = finished * parts.length
    if done:
        _LOG.info("Resuming after frame %d", done)
    progress(done, encoding.source.count)
    frames = encoding.source.frames(skip=done)
    for index in itertools.count(finished):
        first = next(frames, None)
        if first is None:
            return
        with parts.writing(index, encoding) as writer:
            for frame in itertools.chain([first], itertools.islice(frames, parts.length - 1)):
                picture = Image.fromarray(frame.pixels_hw3)
                if picture.size != size:
                    picture = picture.resize(size, Image.Resampling.LANCZOS)
                writer.add(frame._replace(pixels_hw3=np.asarray(stylizer(picture))))
                done += 1
                progress(done, encoding.source.count)
            writer.state = stylizer.state()


def _target(video: Path, out: str | Path) -> Path:
    """Return the path of the result."""
    path = local_only(out, "`out`")
    suffixes = ", ".join(CONTAINERS)
    if path.is_dir() or str(out).endswith("/") or not path.suffix:
        if path.is_file():
            raise UserError(f"{out}: is a file; give a folder, or a file that ends in one of {suffixes}")
        path = path / f"{video.stem}{video.suffix if container_of_suffix(video) else '.mp4'}"
    elif not container_of_suffix(path):
        raise UserError(f"{out}: {path.suffix} files are not written; give a name that ends in one of {suffixes}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    if path.exists() and path.samefile(video):
        raise UserError(f"{video}: would be overwritten by the result; give another folder or name")
    return path


def _size(source: Source, max_side: int | None, container: Container) -> tuple[int, int]:
    """Return the (width, height) at which frames are stylized."""
    size = scaled_size(source.size, max_side)
    if size == source.size or not container.even:
        if container.even and (size[0] % 2 or size[1] % 2):
            _LOG.warning(
                "%s: %dx%d pixels; H.264 has even sides, so the last column or row is repeated. A .webm keeps the size",
                source.path,
                *size,
            )
        return size
    width, height = (max(2, side // 2 * 2) for side in size)
    return width, height


def _checked_crf(crf: int | None, container: Container) -> int:
    if crf is None:
        return container.crf
    if not 0 <= crf <= container.worst:
        raise UserError(f"`crf` {crf}: give a number from 0 (best) to {container.worst} (smallest file)")
    return crf


def _mask_bytes(mask: str | Path) -> bytes:
    try:
        return storage.read_bytes(mask)
    except IsADirectoryError as error:
        raise UserError(f"`mask` {mask}: is a folder; a video takes one image") from error
    except OSError as error:
        raise UserError(f"`mask` {mask}: cannot be read ({error.strerror or error})") from error


def _fingerprint(model: Model) -> str:
    """Return 16 hexadecimal digits that differ between models that stylize differently."""
    digest = hashlib.sha256()
    if isinstance(model, LoadedModel):
        for name, tensor in model.network.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    else:
        files = sorted(model.path.rglob("*")) if model.path.is_dir() else [model.path]
        for file in files:
            if file.is_file():
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]

"""Verifies a file of any format: every weight, then what its runtime makes of photos, against the trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from PIL import Image

from tinystyle.coreml.verification.styles import refuse_other_styles
from tinystyle.coreml.verification.verify import Verification, judge
from tinystyle.coreml.verification.verify import verify as verify_core_ml
from tinystyle.errors import UserError
from tinystyle.exports import FORMATS
from tinystyle.model_file import LoadedModel, LoadedStyles

__all__ = ["verify"]


def verify(
    path: Path,
    model: LoadedModel | LoadedStyles,
    photos: Iterable[tuple[str, Image.Image]],
    *,
    against: str = "the trained network",
    min_psnr: float | None = None,
    device: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Verification:
    """Compare a saved file with the network that it was made from; stop at the first difference.

    A Core ML file is run by our own evaluator (`coreml.verification.verify`), a file of another format by its vendor's
    runtime. What is compared is the same: every weight; then, on a drawn picture, what the file does with its weights;
    then the output for every photo.

    Args:
        path: file of a format in `FORMATS`, by its suffix.
        model: the trained network; one of many styles beside a file of many.
        photos: (name, RGB image) pairs, at least one.
        against: name of the trained network in the result.
        min_psnr: PSNR in dB that every photo must reach, instead of `MIN_PSNR`.
        device: also predict each photo with Core ML, which needs macOS.
        progress: called after each photo with the number of photos so far.

    Raises:
        UserError: `path` cannot be read, a package is not installed, there are no photos, or `device` is requested where
            there is no Core ML.
    """
    format = FORMATS.get(path.suffix[1:].lower())
    if format is None or not format.reader:
        return verify_core_ml(
            path, model, photos, against=against, min_psnr=min_psnr, device=device, progress=progress
        )  # fmt: skip
    if device:
        raise UserError("`device` runs a Core ML file in Core ML; leave it out for other formats")
    file = import_module(format.reader).read(path)
    refuse_other_styles(file, model, against)
    return judge(
        file,
        model,
        photos,
        fault=file.fault,
        runtime=file.runtime,
        tolerance=file.tolerance,
        against=against,
        min_psnr=min_psnr,
        progress=progress,
    )

"""Verifies that a Core ML file is the trained network: every stored weight, then the output for photos.

The file is read by `tinystyle.coreml.evaluator`, which does not depend on the exporter; the trained network is the
reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from tinystyle.coreml.evaluator.model import NotFiniteError, read_model
from tinystyle.coreml.verification.device import device_prediction
from tinystyle.coreml.verification.lineage import lineage_fault
from tinystyle.coreml.verification.saved_file import SavedFile
from tinystyle.coreml.verification.structure import MAX_DIFFERENCE, Stylize, structural_fault, with_weights
from tinystyle.coreml.verification.styles import in_each_style, refuse_other_styles
from tinystyle.coreml.verification.usable import first_fault
from tinystyle.coreml.verification.weights import compare_weights
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, LoadedStyles

__all__ = ["MIN_PSNR", "PhotoResult", "Verification", "judge", "verify"]

MIN_PSNR: dict[int, float | None] = {32: 50.0, 16: 50.0, 8: 40.0, 6: 35.0, 4: None}
"""Bits per weight -> PSNR in dB that every photo must reach. None for 4 bits until training is quantization-aware."""
MIN_PSNR_DEVICE = 35.0
"""PSNR in dB that Core ML's own prediction must reach.

Images of 8 bits alone limit it to about 59 dB, and float16 on the Neural Engine limits it by an unknown amount.
"""
PEAK = 255.0
_SAME = 200.0
"""PSNR in dB that is reported for equal images; the true value is infinite, which JSON cannot represent."""


@dataclass(frozen=True)
class PhotoResult:
    """Results for one photo: the output of the file compared with that of the trained network in float32."""

    name: str
    psnr: float
    """PSNR of the file in dB, at the precision that it declares."""
    psnr_float16: float
    """PSNR in dB if every result is rounded to float16 where the file leaves the precision to the device."""
    max_error: float
    """Largest difference of a pixel, in gray levels."""
    psnr_device: float | None = None
    """PSNR of Core ML's own prediction in dB, with 8 bits per channel; None if it was not requested."""


@dataclass(frozen=True)
class Verification:
    """Result of `verify`: what was compared, and the first difference, if any."""

    file: str
    model: str
    format: str
    bits: int
    sizes: str
    weights: int
    """Number of weight values compared."""
    fold: str
    """Which operation the converter has merged into which weight, in words; `nothing` if none."""
    photos: tuple[PhotoResult, ...]
    gate: float | None
    """PSNR in dB that every photo must reach; None if there is no minimum."""
    failure: str | None
    """What is wrong, in one sentence; None if the file is verified."""
    runtime: str | None = None
    """What ran the file, of the vendor of those that will; None if it was our own evaluator."""

    @property
    def passed(self) -> bool:
        """Whether the file is the trained network: all weights match, and every photo reaches the minimum PSNR."""
        return self.failure is None

    @property
    def worst(self) -> float | None:
        """Lowest PSNR of a photo, in dB; None if no photo was compared."""
        return min((photo.psnr for photo in self.photos), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, `passed`, and `worst` as `worst_psnr`, as JSON types."""
        return {**asdict(self), "passed": self.passed, "worst_psnr": self.worst}

    def sentence(self) -> str:
        """Return the result in one sentence."""
        if self.failure is not None:
            return f"NOT verified: {self.failure}"
        if self.gate is None:
            gate = f"no PSNR is required of {self.bits} bits until there is quantization-aware training"
        else:
            gate = f"minimum {self.gate:g} dB"
        return (
            f"verified: {self.weights:,} values match the trained ones at {self.bits} bits; over {len(self.photos)} "
            f"photos the PSNR is at least {self.worst:.1f} dB ({gate}), and all values are finite"
        )

    def paragraph(self) -> str:
        """Return the text for the model card."""
        device = [photo.psnr_device for photo in self.photos if photo.psnr_device is not None]
        apple = f"Run by Core ML on a Mac: at least {min(device):.1f} dB." if device else "Not run on Apple hardware."
        if self.runtime:
            apple = f"Run by {self.runtime}. Not run on a phone."
        sentence = self.sentence()
        return f"{sentence[0].upper()}{sentence[1:]}.\n\n{apple}"


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
    """Compare a saved Core ML file with the network that it was made from; stop at the first difference.

    First, the weights of every convolution and norm are compared value by value (`weight_check`). Then what the file
    declares is judged as the tools do that open it (`usable`), and what is done with the weights, on a drawn picture at
    sizes of every kind that the file takes (`structure`). Then each photo is scaled and cropped to a size that the file
    accepts, and the outputs of file and network are compared: PSNR = 10 log10(255^2 / mean squared error), for images clamped to
    0..255 but not rounded. NaN or infinity in a result fails, even if it occurs only where the device may choose to
    compute in float16.

    Args:
        path: `.mlmodel` or `.mlpackage`.
        model: the trained network. Of one of many styles, each photo is compared in one style, in turn, and every style and
            their mean on the drawn picture.
        photos: (name, RGB image) pairs, at least one.
        against: name of the trained network in the result.
        min_psnr: PSNR in dB that every photo must reach, instead of `MIN_PSNR`.
        device: also predict each photo with Core ML, which needs macOS; its PSNR must reach MIN_PSNR_DEVICE.
        progress: called after each photo with the number of photos so far.

    Raises:
        UserError: `path` cannot be read, there are no photos, or `device` is requested where there is no Core ML.
    """
    file = read_model(path)
    refuse_other_styles(file, model, against)
    if device and file.styles:
        raise UserError(f"{path}: a file of many styles is not predicted with Core ML; leave out `device`")
    predict = device_prediction(path, file.input, file.output) if device else None
    return judge(
        file,
        model,
        photos,
        fault=lambda: first_fault(path),
        predict=predict,
        against=against,
        min_psnr=min_psnr,
        progress=progress,
    )


def judge(
    file: SavedFile,
    model: LoadedModel | LoadedStyles,
    photos: Iterable[tuple[str, Image.Image]],
    *,
    fault: Callable[[], str | None],
    predict: Callable[[Image.Image], Tensor] | None = None,
    runtime: str | None = None,
    tolerance: float = MAX_DIFFERENCE,
    against: str,
    min_psnr: float | None,
    progress: Callable[[int], None],
) -> Verification:
    """Compare a file that was read, of whatever format, with the network, as `verify` does.

    Args:
        file: the file.
        model: the trained network.
        photos: (name, RGB image) pairs, at least one.
        fault: returns what the tools that open the file would refuse, in words, or None.
        predict: the vendor's own prediction of a photo, beside that of the file.
        runtime: what runs the file, if it is not our own evaluator.
        tolerance: largest difference, in gray levels, from the network with the file's own weights.
        against: name of the trained network in the result.
        min_psnr: PSNR in dB that every photo must reach, instead of `MIN_PSNR`.
        progress: called after each photo with the number of photos so far.

    Raises:
        UserError: there are no photos.
    """
    gate = MIN_PSNR.get(file.bits) if min_psnr is None else min_psnr
    network = model.in_file
    failure, fold, weights = compare_weights(file.weights, network)
    foreign = lineage_fault(file.metadata, model.lineage)
    failure = f"{foreign}: {failure}" if foreign and failure else failure or fault() or foreign
    if failure is None:
        for one, same in in_each_style(file, with_weights(network, weights)):
            failure = failure or structural_fault(one, same, model.network.stride, tolerance)
    results: list[PhotoResult] = []
    if failure is None:
        try:
            each = cycle(in_each_style(file, network, mean=False))
            for (name, image), (one, same) in zip(photos, each, strict=False):
                result = _compare_photo(one, same, name, image, predict)
                results.append(result)
                progress(len(results))
                if gate is not None and result.psnr < gate:
                    failure = f"{name} has {result.psnr:.1f} dB, the minimum is {gate:g}"
                elif result.psnr_device is not None and result.psnr_device < min(
                    gate or MIN_PSNR_DEVICE, MIN_PSNR_DEVICE
                ):
                    failure = f"{name} as predicted by Core ML has {result.psnr_device:.1f} dB"
                if failure:
                    break
        except NotFiniteError as error:
            failure = str(error)
        else:
            if not results:
                raise UserError("there is no photo to verify with; give a folder of photographs")
    return Verification(
        file=str(file.path),
        model=against,
        format=file.format,
        bits=file.bits,
        sizes=str(file.sizes),
        weights=sum(weight.values.size for weight in file.weights),
        fold=fold,
        photos=tuple(results),
        gate=gate,
        failure=failure,
        runtime=runtime,
    )


def _compare_photo(
    file: SavedFile,
    network: Stylize,
    name: str,
    image: Image.Image,
    predict: Callable[[Image.Image], Tensor] | None,
) -> PhotoResult:
    fitted = ImageOps.fit(image.convert("RGB"), file.sizes.nearest(*image.size), Image.Resampling.LANCZOS)
    photo_13hw = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = network(photo_13hw)
    declared = file.run(photo_13hw)
    # An ML Program is computed as declared; for a neural network, the device chooses the precision.
    half = file.run(photo_13hw, float16=True) if file.format == "mlmodel" else declared
    error = float((declared.clamp(0, PEAK) - expected.clamp(0, PEAK)).abs().max())
    on_device = _psnr(predict(fitted), expected) if predict else None
    return PhotoResult(name, _psnr(declared, expected), _psnr(half, expected), error, on_device)


def _psnr(output_13hw: Tensor, expected_13hw: Tensor) -> float:
    square = float((output_13hw.clamp(0, PEAK) - expected_13hw.clamp(0, PEAK)).double().square().mean())
    return min(_SAME, 10 * math.log10(PEAK**2 / square)) if square else _SAME

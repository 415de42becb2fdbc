"""Verifies that a Core ML file is the trained network: every stored weight, then the output for photos.

The file is read by `tinystyle.coreml.evaluator`, which does not depend on the exporter; the trained network is the
reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from tinystyle.coreml.evaluator.model import CoreMLModel, NotFiniteError, StoredWeight, read_model
from tinystyle.coreml.verification.device import device_prediction
from tinystyle.coreml.verification.lineage import lineage_fault
from tinystyle.coreml.verification.structure import Stylize, structural_fault, with_weights
from tinystyle.coreml.verification.usable import first_fault
from tinystyle.coreml.verification.weight_check import check_weight
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, LoadedStyles
from tinystyle.nets.styled import BlendingNetwork

__all__ = ["MIN_PSNR", "PhotoResult", "Verification", "verify"]

MIN_PSNR: dict[int, float | None] = {32: 50.0, 16: 50.0, 8: 40.0, 6: 35.0, 4: None}
"""Bits per weight -> PSNR in dB that every photo must reach. None for 4 bits until training is quantization-aware."""
MIN_PSNR_DEVICE = 35.0
"""PSNR in dB that Core ML's own prediction must reach.

Images of 8 bits alone limit it to about 59 dB, and float16 on the Neural Engine limits it by an unknown amount.
"""
PEAK = 255.0
_PRUNED = 0.1
"""Fraction of zeros in a weight from which on it is called pruned."""
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
    many = isinstance(model, LoadedStyles)
    if many != bool(file.shares) or (isinstance(model, LoadedStyles) and model.names != file.styles):
        raise UserError(
            f"{path} has the styles {_listed(file.styles)}, {against} {_listed(_names(model))}; choose `style`"
        )
    if device and many:
        raise UserError(f"{path}: a file of many styles is not predicted with Core ML; leave out `device`")
    predict = device_prediction(path, file.input, file.output) if device else None
    network = BlendingNetwork(model.network).eval() if isinstance(model, LoadedStyles) else model.network
    trained = list(_trained_weights(network))
    gate = MIN_PSNR.get(file.bits) if min_psnr is None else min_psnr
    failure, fold, weights = _compare(file.weights, trained)
    foreign = lineage_fault(file.metadata, model.lineage)
    failure = f"{foreign}: {failure}" if foreign and failure else failure or first_fault(path) or foreign
    if failure is None:
        stored = with_weights(network, weights)
        for one, same in _styles_of(file, stored):
            failure = failure or structural_fault(one, same, model.network.stride)
    results: list[PhotoResult] = []
    if failure is None:
        try:
            each = cycle([*_styles_of(file, network)][: len(file.styles) or 1])
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
        file=str(path),
        model=against,
        format=file.format,
        bits=file.bits,
        sizes=str(file.sizes),
        weights=sum(weight.values.size for weight in file.weights),
        fold=fold,
        photos=tuple(results),
        gate=gate,
        failure=failure,
    )


@dataclass(frozen=True)
class _Trained:
    """A parameter of the network, and its role."""

    name: str
    kind: str
    parameter: str
    values: np.ndarray[Any, np.dtype[np.float32]]


# Kind of operation, as either format names it -> its role.
_KINDS = {"conv": "convolution", "convolution": "convolution", "instance_norm": "norm", "batchnorm": "norm"}


def _trained_weights(network: nn.Module) -> Iterable[_Trained]:
    """Yield the parameters of convolutions and instance norms in the order in which the network runs them."""
    order: list[tuple[str, nn.Module]] = []
    hooks = [
        module.register_forward_hook(lambda module, _input, _output, name=name: order.append((name, module)))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.InstanceNorm2d)
    ]
    photo = torch.zeros(1, 3, 16, 16)
    with torch.inference_mode():
        if isinstance(network, BlendingNetwork):
            network(photo, torch.zeros(1, network.table.in_channels, 1, 1))
        else:
            network(photo)
    for hook in hooks:
        hook.remove()
    for name, module in order:
        kind, roles = ("convolution", {"weight": "weight", "bias": "bias"})
        if isinstance(module, nn.InstanceNorm2d):
            kind, roles = ("norm", {"weight": "gamma", "bias": "beta"})
        for attribute, role in roles.items():
            tensor = getattr(module, attribute)
            if tensor is not None:
                yield _Trained(f"{name}.{attribute}", kind, role, tensor.detach().numpy())


# Factors that a converter may multiply into the convolution beside it.
_FOLDS = ((np.float32(1 / 255), "the division by 255"),)


_Weights = list[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]


def _compare(stored: Iterable[StoredWeight], trained: Iterable[_Trained]) -> tuple[str | None, str, _Weights]:
    """Return (what is wrong or None, what was folded, the file's values by the names of the trained ones)."""
    fold = "nothing"
    values: _Weights = []
    for weight, expected in zip_longest(stored, trained):
        if weight is None:
            return f"{expected.name} has no counterpart in the file", fold, values
        if expected is None:
            return f"{weight.label} has no counterpart in the trained network", fold, values
        if (_KINDS.get(weight.kind), weight.parameter) != (expected.kind, expected.parameter):
            return f"{weight.label} stands where {expected.name} is expected", fold, values
        problem, factor = check_weight(weight, expected.values), np.float32(1)
        if problem is not None and expected.kind == "convolution":
            for constant, name in _FOLDS:
                if check_weight(weight, expected.values * constant) is None:
                    problem, factor, fold = None, constant, f"{name}, into {expected.name}"
        if problem is not None:
            if np.mean(weight.values == 0) > _PRUNED > np.mean(expected.values == 0):
                problem = replace(
                    problem, problem=f"{problem.problem}; {np.mean(weight.values == 0):.0%} are 0: pruned"
                )
            index = f"[{', '.join(map(str, problem.index))}]" if problem.index else ""
            return f"{weight.label}, trained as {expected.name}{index}: {problem.problem}", fold, values
        values.append((expected.name, weight.values.astype(np.float32) / factor))
    return None, fold, values


def _styles_of(file: CoreMLModel, network: nn.Module) -> Iterator[tuple[CoreMLModel, Stylize]]:
    """Yield the file and the network, in each of their styles and then in the mean of all, or as they are."""
    if not isinstance(network, BlendingNetwork):
        yield file, network
        return
    for text in (*file.styles, ",".join(file.styles)):
        one = file.choose(text)
        shares = torch.tensor(one.chosen).reshape(1, -1, 1, 1)
        yield one, partial(_in_style, network, shares)


def _in_style(network: BlendingNetwork, shares_1s11: Tensor, photo_13hw: Tensor) -> Tensor:
    stylized: Tensor = network(photo_13hw, shares_1s11)
    return stylized


def _names(model: LoadedModel | LoadedStyles) -> tuple[str, ...]:
    return model.names if isinstance(model, LoadedStyles) else ()


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "of one"


def _compare_photo(
    file: CoreMLModel,
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

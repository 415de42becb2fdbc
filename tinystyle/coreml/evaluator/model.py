"""Reads a saved Core ML file and computes what Core ML would, in torch, on any machine.

It implements the format independently: it sees only bytes, and does not depend on how tinystyle builds, trains or
exports its networks. Anything that it does not support is rejected by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tinystyle.coreml.evaluator.mlprogram import check_functions, read_program
from tinystyle.coreml.evaluator.neural_network import read_neural_network
from tinystyle.coreml.evaluator.operations import Operation, Rounding, UnknownOperationError, to_float16, unrounded
from tinystyle.coreml.evaluator.saved_file import read_specification
from tinystyle.coreml.evaluator.stored_weights import StoredWeight
from tinystyle.coreml.evaluator.styles import ChoosesStyles
from tinystyle.coreml.quiet import quiet
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError

__all__ = ["CoreMLModel", "NotFiniteError", "StoredWeight", "UnknownOperationError", "read_model"]

# Specification version -> oldest iOS that reads it (Model.proto).
_MINIMUM_IOS = {1: 11, 2: 12, 3: 12, 4: 13, 5: 14, 6: 15, 7: 16, 8: 17, 9: 18, 10: 26}
_NO_LIMIT = 1 << 20
_RGB, _BGR = 20, 30


class NotFiniteError(UserError):
    """An operation produced NaN or infinity."""


@dataclass(frozen=True)
class CoreMLModel(ChoosesStyles):
    """A Core ML file that takes an image and returns one."""

    path: Path
    format: Literal["mlmodel", "mlpackage"]
    """mlmodel for a neural network, even one in a package; mlpackage for an ML Program."""
    input: str
    """Name of the input image."""
    output: str
    """Name of the output image."""
    sizes: ImageSizes
    specification: int
    """Version of the Core ML specification that the file is written for."""
    metadata: dict[str, str]
    """shortDescription, author, license, versionString, and the entries of userDefined."""
    operations: tuple[Operation, ...]
    weights: tuple[StoredWeight, ...]
    """Weights in order of execution."""
    channels: tuple[bool, bool]
    """Whether the input and the output are BGR."""
    shares: tuple[str, int] | None = None
    """Name of the second input of a file of many styles, (1, styles, 1, 1), and the number of styles."""
    chosen: tuple[float, ...] | None = None
    """The share of each style; see `choose`."""

    @property
    def bits(self) -> int:
        """Largest number of bits per convolution weight."""
        bits = [weight.bits for weight in self.weights if weight.kind in ("conv", "convolution")]
        return max(bits, default=32)

    @property
    def minimum_ios(self) -> int:
        """Oldest iOS version that can read the file."""
        return _MINIMUM_IOS[self.specification]

    def run(self, image_13hw: Tensor, *, float16: bool = False, exact: bool = False) -> Tensor:
        """Compute the output for one image.

        Results that the file declares as float16 are rounded to it after every operation. Core ML would then clamp to
        0..255 and round to 8 bits; this is left to the caller.

        Args:
            image_13hw: RGB in 0..255, float32, (1, 3, height, width).
            float16: round every result to float16, even if the file leaves the precision to the device.
            exact: round no result to float16, even if the file declares it as that.

        Returns:
            RGB, float32, (1, 3, height, width).

        Raises:
            UserError: the file does not accept images of this size.
            NotFiniteError: an operation produced NaN or infinity; the message names the first one.
        """
        height, width = image_13hw.shape[-2:]
        if tuple(image_13hw.shape[:2]) != (1, 3) or not self.sizes.allows(width, height):
            raise UserError(f"{self.path} takes one RGB image of {self.sizes}, not {width}x{height}")
        values = {self.input: _turned(image_13hw.float(), self.channels[0]), **self.given_shares()}
        last_use = {name: index for index, step in enumerate(self.operations) for name in step.inputs}
        with torch.inference_mode():
            for index, step in enumerate(self.operations):
                halved = not exact and (step.float16 or (float16 and not step.integer))
                rounded = self._checked(step, to_float16 if halved else unrounded)
                result = rounded(step.compute(rounded, *(values[name] for name in step.inputs)))
                if step.shape and not _fits(tuple(result.shape), step.shape):
                    raise UserError(f"{self.path}: {step.label} gives {tuple(result.shape)}, declared {step.shape}")
                values[step.output] = result
                for name in {name for name in step.inputs if last_use[name] == index and name != step.output}:
                    del values[name]
        return _turned(values[self.output], self.channels[1])

    def _checked(self, step: Operation, rounding: Rounding) -> Rounding:
        """Make `rounding` reject non-finite values: an infinite variance makes a norm's result 0, and would pass."""

        def rounded(x: Tensor) -> Tensor:
            result = rounding(x)
            if not bool(result.isfinite().all()):
                precision = "float16" if rounding is to_float16 else "float32"
                raise NotFiniteError(f"{self.path}: {step.label} gives NaN or infinity in {precision}")
            return result

        return rounded


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(side in (None, real) for real, side in zip(shape, declared, strict=True))


def _turned(image_13hw: Tensor, bgr: bool) -> Tensor:
    return image_13hw.flip(1) if bgr else image_13hw


def read_model(path: str | Path) -> CoreMLModel:
    """Read a `.mlmodel` file or an `.mlpackage` folder.

    Raises:
        UserError: it is missing or damaged.
        UnknownOperationError: it is not a model from one image to one image, or contains an operation or encoding that
            is not supported.
    """
    path = Path(path)
    try:
        with quiet():
            return _read(path)
    except UserError as error:
        raise type(error)(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such Core ML file; give a .mlmodel or an .mlpackage") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    # Damage may show in any part that reads the file: protobuf, the blob reader in C++, numpy, torch.
    except Exception as error:
        if path.suffix == ".safetensors" or path.suffix == ".ckpt":
            raise UserError(f"{path}: is a trained network, not a Core ML file; export it first") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path}: not a Core ML file of an image network, or damaged ({reason})") from error


def _read(path: Path) -> CoreMLModel:
    spec, folder = read_specification(path)
    kind = spec.WhichOneof("Type")
    if kind is None:
        raise UserError("not a Core ML file of an image network, or damaged (it holds no model)")
    if kind not in ("neuralNetwork", "mlProgram") or spec.specificationVersion not in _MINIMUM_IOS:
        raise UnknownOperationError(f"a model of type {kind}, version {spec.specificationVersion}, is not supported")
    if kind == "mlProgram":
        check_functions(spec.mlProgram)
    shares = _shares(spec.description.input[1:]) if kind == "neuralNetwork" else None
    inputs = spec.description.input[:1] if shares else spec.description.input
    image, stylized = (_only_image(features) for features in (inputs, spec.description.output))
    if kind == "neuralNetwork":
        operations, weights = read_neural_network(spec.neuralNetwork, image.name)
    else:
        operations, weights = read_program(spec.mlProgram, folder)
    _check_flow(operations, {image.name, *([shares[0]] if shares else [])}, stylized.name)
    metadata = spec.description.metadata
    named = ("shortDescription", "author", "license", "versionString")
    return CoreMLModel(
        path=path,
        format="mlmodel" if kind == "neuralNetwork" else "mlpackage",
        input=image.name,
        output=stylized.name,
        sizes=_sizes(image.type.imageType),
        specification=spec.specificationVersion,
        metadata={name: getattr(metadata, name) for name in named} | dict(metadata.userDefined),
        operations=tuple(operations),
        weights=tuple(weights),
        channels=(image.type.imageType.colorSpace == _BGR, stylized.type.imageType.colorSpace == _BGR),
        shares=shares,
    )


def _shares(features: Any) -> tuple[str, int] | None:
    """Return name and length of the second input of a file of many styles; None if it has no second input."""
    if not len(features):
        return None
    kind = features[0].type.multiArrayType
    shape = tuple(kind.shape)
    if len(features) > 1 or len(shape) != 4 or shape[0] != 1 or shape[2:] != (1, 1) or kind.dataType != kind.FLOAT32:
        raise UnknownOperationError(
            "a model that does not take one image, or one and the share of each style, is not supported"
        )
    return features[0].name, int(shape[1])


def _only_image(features: Any) -> Any:
    if len(features) != 1 or features[0].type.WhichOneof("Type") != "imageType":
        raise UnknownOperationError("a model that does not take one image and return one is not supported")
    if features[0].type.imageType.colorSpace not in (_RGB, _BGR):
        raise UnknownOperationError("an image other than RGB or BGR is not supported")
    return features[0]


def _sizes(image: Any) -> ImageSizes:
    default = (int(image.width), int(image.height))
    flexibility = image.WhichOneof("SizeFlexibility")
    if flexibility == "enumeratedSizes":
        choices = tuple((int(size.width), int(size.height)) for size in image.enumeratedSizes.sizes)
        return ImageSizes("enumerated", choices, default)
    if flexibility == "imageSizeRange":
        sides = (image.imageSizeRange.widthRange, image.imageSizeRange.heightRange)
        least = (int(sides[0].lowerBound), int(sides[1].lowerBound))
        # A negative upper bound means that there is none.
        most = tuple(int(side.upperBound) if side.upperBound >= 0 else _NO_LIMIT for side in sides)
        return ImageSizes("ranged", (least, (most[0], most[1])), default)
    return ImageSizes("fixed", (default,), default)


def _check_flow(operations: Iterable[Operation], inputs: set[str], stylized: str) -> None:
    known = set(inputs)
    for step in operations:
        if missing := [name for name in step.inputs if name not in known]:
            raise UserError(f"{step.label} takes '{missing[0]}', which nothing computes")
        known.add(step.output)
    if stylized not in known:
        raise UserError(f"nothing computes '{stylized}'")

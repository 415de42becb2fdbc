"""What a file that its vendor's runtime runs has in common, whatever its format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tinystyle.coreml.evaluator.model import NotFiniteError
from tinystyle.coreml.evaluator.stored_weights import Array, StoredWeight
from tinystyle.coreml.evaluator.styles import ChoosesStyles
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError

__all__ = ["RuntimeFile", "check_named"]


class RuntimeFile(ChoosesStyles):
    """Base of the frozen dataclasses of files that take an image, and perhaps the share of each style, as float32."""

    if TYPE_CHECKING:
        input: str
        sizes: ImageSizes
        weights: tuple[StoredWeight, ...]

    @property
    def bits(self) -> int:
        """Largest number of bits per convolution weight."""
        return max((weight.bits for weight in self.weights if weight.kind == "conv"), default=32)

    def _inputs(self, image_13hw: Tensor) -> dict[str, Array]:
        """Return what the runtime is given for an image, by name.

        Raises:
            UserError: the file does not accept images of this size, or no style is chosen.
        """
        height, width = image_13hw.shape[-2:]
        if tuple(image_13hw.shape[:2]) != (1, 3) or not self.sizes.allows(width, height):
            raise UserError(f"{self.path} takes one RGB image of {self.sizes}, not {width}x{height}")
        inputs = {self.input: image_13hw.float(), **self.given_shares()}
        return {name: np.ascontiguousarray(values.numpy()) for name, values in inputs.items()}

    def _finite(self, result: Array) -> Tensor:
        """Return what the runtime gave as a tensor.

        Raises:
            NotFiniteError: it has NaN or infinity.
        """
        if not np.isfinite(result).all():
            raise NotFiniteError(f"{self.path}: its output has NaN or infinity")
        return torch.from_numpy(result)


def check_named(metadata: dict[str, str], shares: tuple[str, int] | None) -> None:
    """Raise UserError unless the metadata of a file name as many styles as its second input has shares."""
    if shares and shares[1] != len(metadata.get("styles", "").split(",")):
        raise UserError("its metadata do not name the styles whose shares it takes")

"""Prediction by Core ML itself, which is part of macOS. Written from its documentation; it has never been run."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tinystyle.errors import UserError

__all__ = ["device_prediction"]


def device_prediction(path: Path, input: str, output: str) -> Callable[[Image.Image], Tensor]:
    """Return a function from an RGB image, of a size that the file accepts, to Core ML's output (1, 3, H, W), 0..255.

    Core ML chooses the processor. Its images have 8 bits per channel.

    Args:
        path: `.mlmodel` or `.mlpackage`.
        input: name of the input image.
        output: name of the output image.

    Raises:
        UserError: this machine is not a Mac.
    """
    if platform.system() != "Darwin":
        raise UserError("`device` runs the file in Core ML, which needs macOS; leave it out here")
    import coremltools as ct

    model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit.ALL)

    def predict(image: Image.Image) -> Tensor:
        result: Image.Image = model.predict({input: image})[output]
        return torch.from_numpy(np.array(result.convert("RGB"))).permute(2, 0, 1)[None].float()

    return predict

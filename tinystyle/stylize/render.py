"""Applies a model to one image, at a size that the model accepts, and blends the result with the photo.

Does not access any files except the model's.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tinystyle.data import storage
from tinystyle.data.downloads import fetch
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.styles import selection
from tinystyle.stylize.stroke_size import LUMA, check_stroke_size, reduced_size, with_edges

if TYPE_CHECKING:
    from tinystyle.coreml.evaluator.model import CoreMLModel

__all__ = ["Model", "blend", "open_model", "run", "size_for", "stylize_image", "training_crop"]

Model: TypeAlias = "LoadedModel | CoreMLModel"


def open_model(uri: str | Path) -> Model:
    """Open a model: .safetensors or checkpoint (path or URI), .mlmodel (path or URI) or .mlpackage (path).

    Core ML files are computed by the reference evaluator.

    Raises:
        UserError: it is missing or damaged.
    """
    place, style = selection.split(uri)
    kind = PurePosixPath(place).suffix.lower()
    if kind not in (".mlmodel", ".mlpackage"):
        return load_model(uri)
    model = _open_core_ml(place, kind)
    if style is None and model.shares:
        raise UserError(f"{place}: holds the styles {', '.join(model.styles)}; choose one with `style`")
    return model if style is None else model.choose(style)


def _open_core_ml(uri: str, kind: str) -> CoreMLModel:
    if storage.is_remote(uri) and kind == ".mlpackage":
        raise UserError(f"{uri}: is a remote folder; download it first")
    from tinystyle.coreml.evaluator.model import read_model

    if not storage.exists(uri):
        raise UserError(f"{uri}: no such file; give a model")
    return read_model(fetch(uri, "models") if storage.is_remote(uri) else storage.local_path(uri))


def training_crop(model: Model) -> int | None:
    """Return the side, in pixels, of the crops that the model was trained on; None if its file does not say."""
    if isinstance(model, LoadedModel):
        lineage: Any = model.lineage
    else:
        try:
            lineage = json.loads(model.metadata.get("lineage", "{}"))
        except ValueError:  # the lineage was too long for the file, which has only its hash
            return None
    crop = str(lineage.get("crop", ""))
    return int(crop) if crop.isdecimal() else None


def size_for(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) to resize a photo of `size` to: `size`, or the nearest size that the model accepts."""
    return size if isinstance(model, LoadedModel) or model.sizes.allows(*size) else model.sizes.nearest(*size)


def run(model: Model, photo_hw3: Tensor) -> Tensor:
    """Return the model's output for an RGB photo; both are (height, width, 3) uint8, of a size that the model accepts.

    A Core ML file with a range of sizes of an earlier version may return a larger image: each side rounded up to a
    multiple of its stride, with the image at the top left. The excess is cut off, and values are rounded.
    """
    height, width = photo_hw3.shape[:2]
    photo_13hw = photo_hw3.permute(2, 0, 1)[None].to(torch.float32, memory_format=torch.channels_last)
    with torch.inference_mode():
        if isinstance(model, LoadedModel):
            network = model.network.eval().to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
            stylized_13hw: Tensor = network(photo_13hw.to(next(network.parameters()).device)).cpu()
        else:
            stylized_13hw = model.run(photo_13hw)
        return stylized_13hw[0, :, :height, :width].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def stylize_image(
    model: Model,
    photo: Image.Image,
    *,
    keep_colors: bool = False,
    strength: float = 1.0,
    stroke_size: float = 1.0,
    mask: Image.Image | None = None,
) -> Image.Image:
    """Stylize an RGB image; the result has the same size.

    For a Core ML file that does not accept this size, the photo is resized to the nearest size that it accepts. The
    photo fills both sides, even if its proportions change, as in Apple's Vision with `scaleFill`; the output is resized
    back.

    Args:
        model: the network or Core ML file.
        photo: the photo, RGB.
        keep_colors: take the luminance from the stylized image and the colors (Cb and Cr of BT.601) from the photo.
        strength: 0 gives the photo, 1 the stylized image, values in between their linear blend.
        stroke_size: size of the strokes relative to training, from 0.25 to 16: the photo is scaled down by this factor
            for the model. Above 1, the output gets the photo's edges back (see `stroke_size.with_edges`).
        mask: where to stylize: mode L, of the photo's size; 255 is stylized, 0 is the photo, values in between are their
            linear blend.

    Raises:
        UserError: stroke_size is out of range.
        NotFiniteError: an operation of a Core ML file produced NaN or infinity.
    """
    check_stroke_size(stroke_size)
    copy = _scaled(photo, reduced_size(photo.size, stroke_size))
    seen = _scaled(copy, size_for(model, copy.size))
    stylized_hw3 = run(model, torch.from_numpy(np.array(seen)))
    stylized = _scaled(Image.fromarray(stylized_hw3.contiguous().numpy()), copy.size)
    stylized = with_edges(stylized, copy, photo) if stroke_size > 1 else _scaled(stylized, photo.size)
    if not keep_colors and strength == 1 and mask is None:
        return stylized
    mask_hw1 = None if mask is None else np.array(mask)[..., None]
    blended = blend(np.array(stylized), np.array(photo), keep_colors=keep_colors, strength=strength, mask_hw1=mask_hw1)
    return Image.fromarray(blended)


def blend(
    stylized_hw3: NDArray[np.uint8],
    photo_hw3: NDArray[np.uint8],
    *,
    keep_colors: bool,
    strength: float,
    mask_hw1: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return the stylized image with the photo's colors, or with the photo mixed in; see `stylize_image`."""
    if not keep_colors and strength == 1 and mask_hw1 is None:
        return stylized_hw3
    blend_hw3 = torch.from_numpy(photo_hw3).float()
    change_hw3 = torch.from_numpy(stylized_hw3) - blend_hw3
    if keep_colors:
        # With Cb and Cr unchanged, R, G and B all change by as much as Y.
        change_hw3 = (change_hw3 @ torch.tensor(LUMA))[..., None].expand_as(change_hw3)
    if mask_hw1 is not None:
        change_hw3 = change_hw3 * (torch.from_numpy(mask_hw1) / 255)
    blend_hw3.add_(change_hw3, alpha=strength).round_().clamp_(0, 255)
    blended: NDArray[np.uint8] = blend_hw3.to(torch.uint8).numpy()
    return blended


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

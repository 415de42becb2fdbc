"""One image through a model, at the size the model takes, and blended with the photo. Knows nothing of files but the model's."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.stylize.stroke_size import LUMA, check_stroke_size, reduced_size, with_edges

if TYPE_CHECKING:
    from tinystyle.coreml.evaluator.model import CoreMLModel

__all__ = ["Model", "open_model", "run", "size_for", "stylize_image", "training_crop"]

Model: TypeAlias = "LoadedModel | CoreMLModel"


def open_model(uri: str | Path) -> Model:
    """Read a model to stylise with: .safetensors or checkpoint (path or URI), .mlmodel (path or URI) or .mlpackage (path).

    Core ML files are computed by the reference evaluator.

    Raises:
        ValueError: it is missing or damaged.
    """
    kind = PurePosixPath(str(uri)).suffix.lower()
    if kind not in (".mlmodel", ".mlpackage"):
        return load_model(uri)
    if storage.is_remote(uri) and kind == ".mlpackage":
        raise UserError(f"{uri}: is a folder elsewhere; copy it here first")
    from tinystyle.coreml.evaluator.model import read_model

    if not storage.exists(uri):
        raise UserError(f"{uri}: no such file; give a model")
    return read_model(storage.fetch(uri, "models") if storage.is_remote(uri) else storage._local(uri))


def training_crop(model: Model) -> int | None:
    """Side, in pixels, of the crops that the model was trained on; None if its file does not say."""
    if isinstance(model, LoadedModel):
        lineage: Any = model.lineage
    else:
        try:
            lineage = json.loads(model.metadata.get("lineage", "{}"))
        except ValueError:  # it was too long for the file
            return None
    crop = str(lineage.get("crop", ""))
    return int(crop) if crop.isdecimal() else None


def size_for(model: Model, size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) at which the model sees a photo of `size`: its own, or the nearest that a Core ML file allows."""
    return size if isinstance(model, LoadedModel) or model.sizes.allows(*size) else model.sizes.nearest(*size)


def run(model: Model, photo_hw3: Tensor) -> Tensor:
    """The model's output for an RGB photo, (height, width, 3) uint8, of a size that it takes: the same, rounded.

    A Core ML file of ranged sizes may return more than it was given, each side rounded up to a multiple of its stride,
    with the image at the top left.
    """
    height, width = photo_hw3.shape[:2]
    photo_13hw = photo_hw3.permute(2, 0, 1)[None].to(torch.float32, memory_format=torch.channels_last)
    with torch.inference_mode():
        if isinstance(model, LoadedModel):
            network = model.network.eval().to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]
            stylised_13hw: Tensor = network(photo_13hw)
        else:
            stylised_13hw = model.run(photo_13hw)
        return stylised_13hw[0, :, :height, :width].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)


def stylize_image(
    model: Model, photo: Image.Image, *, keep_colors: bool = False, strength: float = 1.0, stroke_size: float = 1.0
) -> Image.Image:
    """Stylise an RGB image; the result has its size.

    A Core ML file that does not take this size sees the photo scaled to the nearest that it takes, both sides filled
    whatever that does to the proportions, as Apple's Vision does with `scaleFill`; its output is scaled back.

    Args:
        keep_colors: take the luminance from the stylised image and the colours (Cb and Cr of BT.601) from the photo.
        strength: 0 is the photo, 1 the stylised image, between them their linear blend.
        stroke_size: strokes so many times as large as trained, from 0.25 to 16: the model sees the photo smaller by that,
            and its picture gets the photo's edges back (see `stroke_size.with_edges`).

    Raises:
        ValueError: stroke_size is out of range, or a Core ML file's operation gave NaN or infinity.
    """
    check_stroke_size(stroke_size)
    copy = _scaled(photo, reduced_size(photo.size, stroke_size))
    seen = _scaled(copy, size_for(model, copy.size))
    stylised_hw3 = run(model, torch.from_numpy(np.array(seen)))
    stylised = _scaled(Image.fromarray(stylised_hw3.contiguous().numpy()), copy.size)
    stylised = with_edges(stylised, copy, photo) if stroke_size > 1 else _scaled(stylised, photo.size)
    if not keep_colors and strength == 1:
        return stylised
    photo_hw3 = torch.from_numpy(np.array(photo)).float()
    change_hw3 = torch.from_numpy(np.array(stylised)) - photo_hw3
    if keep_colors:
        # With Cb and Cr as they are, R, G and B all differ by what Y does.
        change_hw3 = (change_hw3 @ torch.tensor(LUMA))[..., None].expand_as(change_hw3)
    blend_hw3 = photo_hw3.add_(change_hw3, alpha=strength).round_().clamp_(0, 255)
    return Image.fromarray(blend_hw3.to(torch.uint8).numpy())


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)

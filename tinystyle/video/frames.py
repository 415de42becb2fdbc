"""Stylizes pictures that follow each other, as `stylize_image` does a single one. Does not depend on files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.stylize.render import Model, stylize_image
from tinystyle.stylize.stroke_size import check_stroke_size
from tinystyle.video.smoothing import Smoothing, check_smoothing

__all__ = ["FrameStylizer"]


class FrameStylizer:
    """Stylizes pictures that follow each other.

    Args:
        model: the network or Core ML file.
        smoothing: weight of the past at each frame, from 0 to 0.99; see `Smoothing`. A Core ML file's norms cannot be
            smoothed.
        device: where to compute: "auto" (a GPU if there is one), "cpu", or "cuda".
        keep_colors, strength, stroke_size, mask: see `stylize_image`.

    Raises:
        UserError: an option is out of range or not for this model, or there is no such device.
    """

    def __init__(
        self,
        model: Model,
        *,
        smoothing: float = 0.0,
        device: str = "auto",
        keep_colors: bool = False,
        strength: float = 1.0,
        stroke_size: float = 1.0,
        mask: Image.Image | None = None,
    ) -> None:
        if not 0 <= strength <= 1:
            raise UserError(f"`strength` {strength:g}: give a number from 0 (the video) to 1 (the stylized image)")
        check_stroke_size(stroke_size)
        self.smoothing = smoothing
        check_smoothing(self.smoothing)
        if self.smoothing and not isinstance(model, LoadedModel):
            raise UserError("`smoothing`: a Core ML file computes each frame by itself; give the network, or 0")
        self._smoothing: Smoothing | None = None
        if isinstance(model, LoadedModel):
            if self.smoothing:
                self._smoothing = Smoothing(model.network, self.smoothing)
                model = replace(model, network=self._smoothing.network)  # type: ignore[arg-type]
            model.network.to(_device(device))
        elif device not in ("auto", "cpu"):
            raise UserError(f"`device` {device}: a Core ML file is computed on the CPU; leave it out")
        self._model = model
        self.options: dict[str, Any] = {
            "keep_colors": keep_colors,
            "strength": strength,
            "stroke_size": stroke_size,
            "mask": mask,
        }

    def __call__(self, picture: Image.Image) -> Image.Image:
        """Return the next picture, stylized; RGB, of the same size."""
        if self._smoothing:
            self._smoothing.see(picture)
        return stylize_image(self._model, picture, **self.options)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what the next picture depends on, by name; empty without smoothing."""
        return self._smoothing.state() if self._smoothing else {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from what `state` returned."""
        if self._smoothing and state:
            self._smoothing.restore(state)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise UserError(f"`device` {name}: choose one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("`device` cuda: there is no GPU that torch can use; give cpu, or leave it out")
    return torch.device(name)

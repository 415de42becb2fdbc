"""Judges a network on held-out photos while it trains: has it collapsed, and what are its losses; draws its previews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

from tinystyle.data.contact_sheet import preview_strip, style_sheet
from tinystyle.evaluation import NOT_FINITE, Criterion, PhotoFeatures, collapse, color_match, loss_row
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.styled import StyledNetwork

__all__ = ["Judge", "JudgeOfEach", "JudgeOfOne", "draw_each", "draw_one", "evaluating", "to_image"]

Verdict = tuple[str | None, dict[str, float]]
"""Why the network has collapsed, or None; and its losses and metrics on held-out photos, as held_out_NAME."""
_CELL = (200, 174)
"""Width and height, in pixels, of a picture in a preview of many styles."""
_Network = TypeVar("_Network", bound=nn.Module)


class Judge(Protocol):
    """Evaluates a network in evaluation mode; with `only_collapse`, the losses are left out, which take longer."""

    def __call__(self, network: nn.Module, device: torch.device, *, only_collapse: bool) -> Verdict: ...


class JudgeOfOne:
    """Judges a network of one style.

    Args:
        photos: held-out photos, each (1, 3, H, W) with values in 0..255.
        criterion: scores the stylized photos.
        style_13hw: style image. Blocks that color matching with it flattens do not count as collapse.
    """

    def __init__(self, photos: Sequence[Tensor], criterion: Criterion, style_13hw: Tensor) -> None:
        self.photos = photos
        self.criterion = criterion
        self.matched = [color_match(style_13hw)(photo) for photo in photos]

    @cached_property
    def _features(self) -> list[PhotoFeatures]:
        device = next(self.criterion.network.parameters()).device
        return [self.criterion.photo_features(photo.to(device)) for photo in self.photos]

    @torch.no_grad()
    def __call__(self, network: nn.Module, device: torch.device, *, only_collapse: bool) -> Verdict:
        photos = [photo.to(device) for photo in self.photos]
        matched = [photo.to(device) for photo in self.matched]
        outputs = [network(photo) for photo in photos]
        reason = collapse(outputs, photos, matched)
        if only_collapse:
            return reason, {}
        row = loss_row("run", network, photos, self.criterion, self._features, outputs)
        return reason, {f"held_out_{name}": value for name, value in row.as_dict().items() if isinstance(value, float)}


class JudgeOfEach:
    """Judges every style of a network of many: the mean of their figures, and each as held_out_FIGURE/STYLE.

    Args:
        judges: a judge for each style, by its name, in the order of the table.
    """

    def __init__(self, judges: Mapping[str, JudgeOfOne]) -> None:
        self.judges = judges

    @torch.no_grad()
    def __call__(self, network: nn.Module, device: torch.device, *, only_collapse: bool) -> Verdict:
        assert isinstance(network, StyledNetwork)
        reasons: list[str] = []
        of_each: dict[str, dict[str, float]] = {}
        for (name, judge), style_k in zip(self.judges.items(), network.styles, strict=True):
            reason, of_each[name] = judge(network.plain(style_k), device, only_collapse=only_collapse)
            if reason:
                reasons.append(reason if reason == NOT_FINITE else f"the style {name}: {reason}")
        results: dict[str, float] = {}
        for figure in next(iter(of_each.values())):
            values = {name: figures[figure] for name, figures in of_each.items()}
            results[figure] = sum(values.values()) / len(values)
            results |= {f"{figure}/{name}": value for name, value in values.items()}
        return (NOT_FINITE if NOT_FINITE in reasons else reasons[0] if reasons else None), results


def to_image(output_13hw: Tensor) -> Image.Image:
    """Convert a (1, 3, H, W) tensor with values in 0..255 to an RGB image."""
    return Image.fromarray(output_13hw[0].round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())


def draw_one(network: StyleNetwork, photos: Sequence[Tensor], device: torch.device) -> Image.Image:
    """Draw photos, each (1, 3, H, W), beside their stylized versions."""
    outputs = [to_image(network(photo.to(device))) for photo in photos]
    return preview_strip([to_image(photo) for photo in photos], outputs)


def draw_each(
    network: StyledNetwork, names: Sequence[str], photos: Sequence[Tensor], device: torch.device
) -> Image.Image:
    """Draw a table of photos, each (1, 3, H, W), in every style."""
    columns: dict[str, list[Image.Image]] = {}
    for name, style_k in zip(names, network.styles, strict=True):
        plain = network.plain(style_k)
        columns[name] = [to_image(plain(photo.to(device))) for photo in photos]
    return style_sheet([to_image(photo) for photo in photos], columns, _CELL)


@contextmanager
def evaluating(network: _Network) -> Iterator[_Network]:
    """Switch the network to evaluation mode, in which it is exported; in training mode it pads differently."""
    network.eval()
    try:
        yield network
    finally:
        network.train()

"""What differs between a run of one style and a run of many: network, module, judge, previews and model file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tinystyle.config import RunConfig
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import Criterion
from tinystyle.evaluation.collapsed import EVALUATION_PHOTOS
from tinystyle.model_file import LoadedStyles, NamedStyle, save_model, save_styles
from tinystyle.nets.styled import StyledNetwork, style_vector
from tinystyle.styles import Style
from tinystyle.training.initial import initial_network, initial_styles, styles_before
from tinystyle.training.judge import Judge, JudgeOfEach, JudgeOfOne, draw_each, draw_one
from tinystyle.training.many_styles import ManyStylesModule
from tinystyle.training.module import StyleTransferModule
from tinystyle.training.style_list import StyleList
from tinystyle.training.teacher import TaughtModule

__all__ = ["ManyStyles", "OneStyle"]

PREVIEW_PHOTOS, PREVIEW_PHOTOS_OF_EACH = 4, 2
FEWEST = 4
"""Number of held-out photos on which each of many styles is judged while it trains, at least."""
Draw = Callable[[Any, torch.device], Image.Image]


class OneStyle:
    """A run of one style; with a frozen trunk, it ends as one more of those that the network has.

    Args:
        config: the run.
        styles: its style.
        criteria: the criterion of the style.
    """

    judged_photos = EVALUATION_PHOTOS

    def __init__(self, config: RunConfig, styles: StyleList, criteria: dict[str, Criterion]) -> None:
        ((self._name, self._style),) = styles.items()
        self._config, self._criterion = config, criteria[self._name]
        self._network = initial_network(config, self._style)

    def module(self, rate_scale: float) -> StyleTransferModule:
        """Return the module that trains the network."""
        kind = TaughtModule if self._config.teacher else StyleTransferModule
        bf16 = self._config.precision == "bf16"
        return kind(self._config, self._network, self._criterion.losses, bf16=bf16, rate_scale=rate_scale)

    def judge(self, photos: Sequence[Tensor]) -> Judge:
        """Return what judges the network on held-out photos."""
        return _judge(self._config, self._style, self._criterion, photos)

    def drawing(self, photos: Sequence[Tensor]) -> Draw:
        """Return what draws a preview of the network."""
        return lambda network, device: draw_one(network, photos[:PREVIEW_PHOTOS], device)

    def save(self, path: Path, lineage: dict[str, str]) -> None:
        """Write the model file of the trained network."""
        if before := styles_before(self._config):
            rows = style_vector(self._network.eval())[None]
            _save_with(before, path, lineage, {self._name: self._style}, rows)
        else:
            save_model(self._network, path, self._config.network, lineage)


class ManyStyles:
    """A run of many styles; see `OneStyle`."""

    def __init__(self, config: RunConfig, styles: StyleList, criteria: dict[str, Criterion]) -> None:
        self._config, self._styles, self._criteria = config, styles, criteria
        self.judged_photos = max(FEWEST, EVALUATION_PHOTOS // len(styles))
        self._network = initial_styles(config, styles)

    def module(self, rate_scale: float) -> StyleTransferModule:
        losses = {name: criterion.losses for name, criterion in self._criteria.items()}
        bf16 = self._config.precision == "bf16"
        return ManyStylesModule(self._config, self._network, losses, self._named(), bf16=bf16, rate_scale=rate_scale)

    def judge(self, photos: Sequence[Tensor]) -> Judge:
        return JudgeOfEach(
            {name: _judge(self._config, style, self._criteria[name], photos) for name, style in self._styles.items()}
        )

    def drawing(self, photos: Sequence[Tensor]) -> Draw:
        return lambda network, device: draw_each(network, list(self._styles), photos[:PREVIEW_PHOTOS_OF_EACH], device)

    def save(self, path: Path, lineage: dict[str, str]) -> None:
        if before := styles_before(self._config):
            _save_with(before, path, lineage, self._styles, self._network.styles.detach())
        else:
            save_styles(self._network, path, self._config.network, lineage, self._named())

    def _named(self) -> list[NamedStyle]:
        return [NamedStyle(name, style.sha256) for name, style in self._styles.items()]


def _judge(config: RunConfig, style: Style, criterion: Criterion, photos: Sequence[Tensor]) -> JudgeOfOne:
    return JudgeOfOne(photos, criterion, photo_tensor(style.at(config.style_side)))


def _save_with(
    before: LoadedStyles, path: Path, lineage: dict[str, str], styles: StyleList, vectors_sk: Tensor
) -> None:
    """Write the network of before, with the vectors of new styles after those that it had, which stay as they are."""
    table = torch.cat([before.network.styles.detach(), vectors_sk.cpu().float()])
    new = [NamedStyle(name, style.sha256) for name, style in styles.items()]
    named = [*before.styles, *new]
    title = f"{named[0].name} and {len(named) - 1} more"
    save_styles(
        StyledNetwork(before.network.trunk, table), path, before.config, {**lineage, "style_name": title}, named
    )

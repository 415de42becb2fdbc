"""Training of one network on many styles: which photo gets which style, a style weight for each, and the step."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinystyle.config import RunConfig
from tinystyle.model_file import NamedStyle
from tinystyle.nets.perceptual.each_style import LossesOfEach
from tinystyle.nets.perceptual.losses import Losses
from tinystyle.nets.styled import StyledNetwork
from tinystyle.training.module import StyleTransferModule

__all__ = ["ManyStylesModule", "styles_of"]

ORDER = 2
"""Key that separates this random generator from those of the data (`data.datamodule`)."""


def styles_of(seed: int, samples: Sequence[int], count: int) -> list[int]:
    """Return the style of each sample, in 0..count - 1, a function of (seed, global sample index).

    Each block of `count` samples in a row has every style once, in a random order.
    """
    blocks = {sample // count for sample in samples}
    orders = {block: np.random.default_rng((seed, ORDER, block)).permutation(count) for block in blocks}
    return [int(orders[sample // count][sample % count]) for sample in samples]


class ManyStylesModule(StyleTransferModule):
    """The LightningModule of a run of many styles.

    Every photo of a batch is in a style of its own. The losses are per photo, then averaged; each style has a weight of
    its own, which `auto` adjusts after the steps in which the style had photos.

    Args:
        config: the run.
        network: the network, in channels-last memory format.
        losses: content and style losses of each style, by its name, in the order of the table.
        styles: names and hashes of the styles, for checkpoints.
        bf16: whether the style network computes in bfloat16.
        rate_scale: factor on the learning rate; below 1 after a rollback.
    """

    def __init__(
        self,
        config: RunConfig,
        network: StyledNetwork,
        losses: dict[str, Losses],
        styles: Sequence[NamedStyle],
        *,
        bf16: bool,
        rate_scale: float = 1.0,
    ) -> None:
        first = next(iter(losses.values()))
        super().__init__(config, network, first, bf16=bf16, rate_scale=rate_scale)

        self.names = list(losses)
        self._styles = json.dumps([asdict(style) for style in styles])
        targets = [each.target for each in losses.values()]
        self.of_each = LossesOfEach(first.network, targets)
        self.style_weights = [self._style_weight(target) for target in targets]
        self.step_styles = self._nothing_yet()
        self._chosen: list[int] = []

    @property
    def styled(self) -> StyledNetwork:
        """The network."""
        assert isinstance(self.network, StyledNetwork)
        return self.network

    def _nothing_yet(self) -> Tensor:
        """Sums over photos of content and style loss, and the number of photos, (3 * styles,)."""
        return torch.zeros(3 * len(self.names), device=self.device)

    def _stylized(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        batch = len(photo_b3hw)
        # The samples of this process; see `GlobalBatches`.
        first = self.global_step * self.config.data.batch_size + self.trainer.global_rank * batch
        self._chosen = styles_of(self.config.seed, range(first, first + batch), len(self.names))
        return self.styled.forward_with_preactivation(photo_b3hw, self.styled.styles[self._chosen])

    def _compared(self, output_b3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        content_b, style_b = self.of_each(output_b3hw, photo_b3hw, self._chosen)
        seen = torch.stack([content_b.detach(), style_b.detach(), torch.ones_like(content_b)])
        rows = torch.tensor(self._chosen, device=seen.device)
        sums = self.step_styles.to(seen.device).view(3, -1).index_add(1, rows, seen)
        self.step_styles = sums.flatten()
        return content_b, style_b

    def _total(self, terms: Tensor, style_b: Tensor) -> Tensor:
        weight_b = style_b.new_tensor([self.style_weights[style].value for style in self._chosen])
        return (terms * terms.new_tensor(self._factors(0.0))).sum() + (weight_b * style_b).mean()

    def control(self, step: int, losses: dict[str, float], step_styles: list[float]) -> dict[str, float]:  # noqa: ARG002
        """Adjust the weights of the styles that photos had; return their losses, and all weights."""
        self.step_styles = self._nothing_yet()
        values = [weight.value for weight in self.style_weights]
        metrics = {"style_weight": math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0}
        metrics |= {f"style_weight/{name}": value for name, value in zip(self.names, values, strict=True)}
        count = len(self.names)
        for index, (name, weight) in enumerate(zip(self.names, self.style_weights, strict=True)):
            of_content, of_style, photos = step_styles[index::count]
            if photos:
                metrics |= {f"content/{name}": of_content / photos, f"style/{name}": of_style / photos}
                weight.update(step, of_content / photos, max(1, round(min(photos, self.sync_every))))
        return metrics

    @property
    def final_weights(self) -> dict[str, float]:
        """Weights of the styles now, as results of a run."""
        values = {f"style_weight/{name}": w.value for name, w in zip(self.names, self.style_weights, strict=True)}
        return {"style_weight": sum(values.values()) / len(values), **values}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["styles"] = self._styles
        checkpoint["style_weights"] = [weight.state_dict() for weight in self.style_weights]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        for weight, state in zip(self.style_weights, checkpoint["style_weights"], strict=True):
            weight.load_state_dict(state)

"""The weight of the style loss: a fixed number, or one that a controller adjusts during training.

No fixed number suits every painting: a weight that leaves a photo recognizable in one style makes it unrecognizable in
another. Good stylized photos in different styles have similar content losses (benchmarks/losses.md), so `auto` controls
the content loss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinystyle.config import LossConfig

if TYPE_CHECKING:
    from tinystyle.nets.perceptual.losses import StyleTarget

__all__ = ["StyleWeight"]

MEMORY = 0.95
"""Decay per step of the running mean of the content loss; a single batch is too noisy."""
GAIN_UP, GAIN_DOWN = 0.03, 0.06
"""Change of the weight's logarithm per step and per unit of content loss, below and above the target. The weight starts
low and falls faster than it rises, because a photo that is lost early is hard to recover."""
RANGE = (1.0, 100.0)
FIXED_FROM = 0.75
"""Fraction of all steps after which the weight is fixed, so that the objective is stable as the learning rate falls."""


class StyleWeight:
    """Controls the content loss by integrating its error into the log of the style weight, or keeps a fixed weight.

    Depends only on the losses passed to it, so it is the same on all processes that receive the same losses.

    Args:
        config: provides `style_weight` and, for `auto`, `content_target`.
        style: provides `content_target` if the configuration has none. For a style image with less contrast than photos
            (`contrast` r < 1), `auto` starts at a weight 1 / r^2 times as high, at most 100: merely reducing a photo's
            contrast to r already lowers the style loss to about r^2, and with the usual weight training would stop
            there.
        warmup: number of warm-up steps of the learning rate; the weight stays fixed for the first half of them.
        steps: number of steps of the run.
    """

    def __init__(self, config: LossConfig, style: StyleTarget, warmup: int, steps: int) -> None:
        self.automatic = config.style_weight == "auto"
        self.value = config.style_weight_at_first
        if self.automatic:
            self.value = min(self.value / max(min(1.0, style.contrast), 1e-3) ** 2, RANGE[1])
        self.target = style.content_target if config.content_target is None else config.content_target
        self._active = range(warmup // 2, math.ceil(FIXED_FROM * steps))
        self._mean: float | None = None

    def update(self, step: int, content: float, steps: int = 1) -> None:
        """Update the weight with the content loss of a step, averaged over the batch and all processes.

        Args:
            step: number of steps completed.
            content: content loss at that step.
            steps: number of steps since the last call.
        """
        if not self.automatic or not math.isfinite(content):
            return
        memory = MEMORY**steps
        self._mean = content if self._mean is None else memory * self._mean + (1 - memory) * content
        if step in self._active:
            error = max(-1.0, min(1.0, self.target - self._mean))
            change = (GAIN_UP if error > 0 else GAIN_DOWN) * steps * error
            self.value = min(max(self.value * math.exp(change), RANGE[0]), RANGE[1])

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value, self._mean = state["value"], state["mean"]

"""The weight of the style loss: a number, or one that a controller finds while the network trains.

No number serves every painting: what leaves a photo recognizable under one style drowns it under another. How much of the photo a
picture that people like has kept is about the same in every style (benchmarks/losses.md), so `auto` holds that.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tinystyle.config import LossConfig

if TYPE_CHECKING:
    from tinystyle.nets.perceptual.losses import StyleTarget

__all__ = ["StyleWeight"]

MEMORY = 0.95
"""Of the running mean of the content loss, per step: one batch says little."""
GAIN_UP, GAIN_DOWN = 0.03, 0.06
"""Change of the weight's logarithm per step and unit of content loss too little or too much: a photo that is lost early is
hard to find again, so the weight begins low and falls faster than it rises."""
RANGE = (1.0, 100.0)
FIXED_FROM = 0.75
"""Of all steps: from here the weight stays, so that what is minimized no longer moves while the learning rate falls."""


class StyleWeight:
    """Integral control of the content loss by the style weight, on the logarithm; nothing where the weight is a number.

    A function of the losses it is told, so the same on every process that is told the same.

    Args:
        config: its `style_weight` and, for `auto`, its `content_target`.
        style: its `content_target` holds where the configuration names none. For a painting of less contrast than photos,
            `contrast` r under 1, `auto` begins at a weight 1 / r^2 times as high: that is about what a photo that has merely
            been made as pale has left of the style loss, and at an ordinary weight training stops there.
        warmup: steps during which the learning rate rises; in the first half of them the weight stays.
        steps: of the run.
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
        """Take in the content loss of a step, the mean over the batch and all processes.

        Args:
            step: steps done.
            content: at that step.
            steps: since the last call.
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

"""One training step: the style network, its losses, its optimiser. Knows nothing of files, processes or tracking."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from tinystyle.config import RunConfig
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual.losses import Losses, grid_loss, saturation_loss, total_variation_loss
from tinystyle.training.style_weight import StyleWeight

__all__ = ["LOSS_NAMES", "NotFiniteError", "StyleTransferModule"]

LOSS_NAMES = ("content", "style", "total_variation", "saturation", "checkerboard", "total")


class NotFiniteError(ArithmeticError):
    """The gradient holds NaN or infinity; the weights are as they were before the step."""


class StyleTransferModule(L.LightningModule):
    """Lightning's view of a run.

    The perceptual network is no submodule: it is not trained, not saved, not synchronised.

    Args:
        config: the run.
        network: the style network, channels-last.
        losses: content and style losses, on the device that trains.
        bf16: whether the style network computes in bfloat16.
        rate_scale: factor on the learning rate, under 1 after a rollback.
    """

    def __init__(
        self, config: RunConfig, network: StyleNetwork, losses: Losses, *, bf16: bool, rate_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.unregistered = (losses,)
        self.bf16 = bf16
        self.rate_scale = rate_scale
        plan = config.optimizer
        self.style_weight = StyleWeight(config.loss, losses.target, plan.warmup, plan.steps)
        self.step_losses = torch.zeros(len(LOSS_NAMES))
        """The last step's `LOSS_NAMES`, means over this process's photos."""

    @property
    def losses(self) -> Losses:
        return self.unregistered[0]

    def training_step(self, photo_b3hw: Tensor, _: int) -> Tensor:
        """The weighted loss of a batch of RGB crops, uint8."""
        weights = self.config.loss
        photo = photo_b3hw.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output, preactivation = self.network.forward_with_preactivation(photo)
        output = output.float()
        content_b, style_b = self.losses(output, photo)
        # Losses that weigh nothing are computed all the same, but for the grid's: it wants a spectrum.
        grid_b = grid_loss(output, photo) if weights.checkerboard_weight else torch.zeros_like(content_b)
        terms = torch.stack(
            [content_b, style_b, total_variation_loss(output), saturation_loss(preactivation), grid_b]
        ).mean(1)
        factors = (
            weights.content_weight,
            self.style_weight.value,
            weights.tv_weight,
            weights.saturation_weight,
            weights.checkerboard_weight,
        )
        total = (terms * terms.new_tensor(factors)).sum()
        self.step_losses = torch.cat([terms, total[None]]).detach()
        return total

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.optimizer.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        # A checkpoint brings the rate of its own schedule; after a rollback this run's is lower.
        self.trainer.optimizers[0].param_groups[0]["lr"] = self.config.optimizer.learning_rate * self._rate(
            self.global_step
        )

    def _rate(self, step: int) -> float:
        """Learning rate of a step (from 0), as a fraction: quadratic warm-up times cosine decay (arXiv:1608.03983, eq. 5)."""
        plan = self.config.optimizer
        # Quadratic: while rates are high, rounding errors grow to differences one can see within ten steps (ARCHITECTURE.md).
        warmup = min(1.0, ((step + 1) / (plan.warmup + 1)) ** 2)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / plan.steps)))
        return self.rate_scale * warmup * (plan.final_rate + (1 - plan.final_rate) * cosine)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip by norm, and stop here, before the weights change, on a gradient that is not finite."""
        # By hand: Lightning's own clipping refuses fused Adam.
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm, foreach=True)
        if (self.global_step + 1) % self.sync_every == 0 and not torch.isfinite(norm):
            raise NotFiniteError(f"the gradient at step {self.global_step + 1} holds NaN or infinity")

    @property
    def sync_every(self) -> int:
        """Steps between looks at the losses: on a GPU every look waits for it to finish."""
        return 1 if self.device.type == "cpu" else 10

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["network_config"] = self.config.network.model_dump_json()
        checkpoint["style_weight"] = self.style_weight.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.style_weight.load_state_dict(checkpoint["style_weight"])

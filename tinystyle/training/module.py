"""One training step: the style network, its losses and its optimizer. Independent of files, processes and tracking."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tinystyle.config import OptimizerConfig, RunConfig
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.penalties import grid_loss, saturation_loss, total_variation_loss
from tinystyle.training.style_weight import StyleWeight

__all__ = ["LOSS_NAMES", "GradientNotFiniteError", "StyleTransferModule", "rate_fraction"]

LOSS_NAMES = ("content", "style", "total_variation", "saturation", "checkerboard", "total")


def rate_fraction(plan: OptimizerConfig, step: int) -> float:
    """Return the learning rate of a step (from 0) as a fraction of the peak.

    The schedule is a quadratic warm-up times a cosine decay (arXiv:1608.03983, eq. 5).
    """
    # Quadratic: at high rates, rounding errors grow into visible differences within ten steps (ARCHITECTURE.md).
    warmup = min(1.0, ((step + 1) / (plan.warmup + 1)) ** 2)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / plan.steps)))
    return warmup * (plan.final_rate + (1 - plan.final_rate) * cosine)


class GradientNotFiniteError(ArithmeticError):
    """The gradient contains NaN or infinity; the weights are unchanged by this step."""


class StyleTransferModule(L.LightningModule):
    """The LightningModule of a run: one training step, with its losses and its optimizer.

    The loss network is not registered as a submodule: it is not trained, saved or synchronized.

    Args:
        config: the run.
        network: the style network, in channels-last memory format.
        losses: content and style losses, on the training device.
        bf16: whether the style network computes in bfloat16.
        rate_scale: factor on the learning rate; below 1 after a rollback.
    """

    def __init__(
        self, config: RunConfig, network: nn.Module, losses: Losses, *, bf16: bool, rate_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.unregistered: tuple[Any, ...] = (losses,)
        self.bf16 = bf16
        self._restoring = False
        self.rate_scale = rate_scale
        self.style_weight = self._style_weight(losses.target)
        self.loss_names: tuple[str, ...] = LOSS_NAMES
        self.step_losses = torch.zeros(len(LOSS_NAMES))
        """Losses of the last step in the order of `loss_names`, averaged over the photos of this process."""
        self.step_styles = torch.zeros(0)
        """What `control` needs beyond these, to be averaged over all processes; nothing for a network of one style."""

    @property
    def losses(self) -> Losses:
        """Content and style losses."""
        losses: Losses = self.unregistered[0]
        return losses

    @property
    def plan(self) -> OptimizerConfig:
        """Steps and learning rate of the part of the run that minimizes these losses."""
        return self.config.optimizer

    def training_step(self, photo_b3hw: Tensor, _: int) -> Tensor:
        """Return the weighted loss of a batch of RGB crops, uint8, (batch, 3, height, width)."""
        weights = self.config.loss
        photo = photo_b3hw.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output, preactivation = self._stylized(photo)
        output = output.float()
        content_b, style_b = self._compared(output, photo)
        # Losses with weight 0 are still computed for the metrics, except the checkerboard loss, which needs a spectrum.
        grid_b = grid_loss(output, photo) if weights.checkerboard_weight else torch.zeros_like(content_b)
        terms = torch.stack(
            [content_b, style_b, total_variation_loss(output), saturation_loss(preactivation), grid_b]
        ).mean(1)
        total = self._total(terms, style_b)
        self.loss_names, self.step_losses = LOSS_NAMES, torch.cat([terms, total[None]]).detach()
        return total

    def _stylized(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's output for a batch, and the input of its tanh."""
        assert isinstance(self.network, StyleNetwork)
        return self.network.forward_with_preactivation(photo_b3hw)

    def _compared(self, output_b3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return content and style losses, each (batch,)."""
        losses: tuple[Tensor, Tensor] = self.losses(output_b3hw, photo_b3hw)
        return losses

    def _total(self, terms: Tensor, style_b: Tensor) -> Tensor:  # noqa: ARG002
        """Return what is minimized, from the mean losses in the order of `LOSS_NAMES` and the style loss per photo."""
        return (terms * terms.new_tensor(self._factors(self.style_weight.value))).sum()

    def _factors(self, style_weight: float) -> tuple[float, ...]:
        weights = self.config.loss
        return (
            weights.content_weight,
            style_weight,
            weights.tv_weight,
            weights.saturation_weight,
            weights.checkerboard_weight,
        )

    def _style_weight(self, target: StyleTarget) -> StyleWeight:
        return StyleWeight(self.config.loss, target, self.plan.warmup, self.plan.steps)

    def control(self, step: int, losses: dict[str, float], step_styles: list[float]) -> dict[str, float]:  # noqa: ARG002
        """Adjust the style weight after a step; return the metrics of the step that are not in `step_losses`.

        Args:
            step: number of steps completed.
            losses: losses of the step by their names, averaged over all processes.
            step_styles: `step_styles`, averaged over all processes.
        """
        metrics = {"style_weight": self.style_weight.value}
        self.style_weight.update(step, losses["content"], self.sync_every)
        return metrics

    @property
    def final_weights(self) -> dict[str, float]:
        """Style weight now, as a result of a run."""
        return {"style_weight": self.style_weight.value}

    def configure_optimizers(self) -> Any:
        learns = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(learns, lr=self.config.optimizer.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        self._restoring = False
        # The checkpoint restores the learning rate it was saved with; after a rollback the rate must be lower.
        self.trainer.optimizers[0].param_groups[0]["lr"] = self.config.optimizer.learning_rate * self._rate(
            self.global_step
        )

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0) as a fraction of the peak."""
        return self.rate_scale * rate_fraction(self.plan, step)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the gradient by its norm, and stop before the weights change if it is not finite.

        Raises:
            GradientNotFiniteError: the gradient contains NaN or infinity; checked every `sync_every` steps.
        """
        # Done by hand because Lightning's own clipping rejects fused Adam.
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm, foreach=True)
        if (self.global_step + 1) % self.sync_every == 0 and not torch.isfinite(norm):
            raise GradientNotFiniteError(f"the gradient at step {self.global_step + 1} holds NaN or infinity")

    @property
    def sync_every(self) -> int:
        """Number of steps between reads of the losses; on a GPU every read waits for the device."""
        return 1 if self.device.type == "cpu" else 10

    @property
    def restoring(self) -> bool:
        """Whether the state of a checkpoint is being restored: its network is, its optimizer may not be yet."""
        return self._restoring

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["network_config"] = self.config.network.model_dump_json()
        checkpoint["style_weight"] = self.style_weight.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._restoring = True
        self.style_weight.load_state_dict(checkpoint["style_weight"])

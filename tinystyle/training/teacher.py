"""Learning from a network that knows the style already: imitation of its pictures, then the usual losses.

A teacher shows where every pixel belongs, which the losses leave open; without them its strokes blur. So the first part of a
run only imitates it, which needs no loss network but `narrow`, and the rest is as without a teacher (benchmarks/teacher.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinystyle.config import OptimizerConfig, RunConfig
from tinystyle.model_file import load_model
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, content_loss
from tinystyle.training.module import StyleTransferModule, rate_fraction

__all__ = ["IMITATION_NAMES", "TaughtModule", "feature_distance", "imitation"]

IMITATION_NAMES = ("imitation", "total")
FEATURES = "narrow"
"""Loss network whose features of the pictures are compared: it comes with tinystyle, and takes little time."""
FEATURE_WEIGHT = 0.1
"""Weight of the distance of features beside that of pixels."""


def feature_distance(network: PerceptualNetwork, output_b3hw: Tensor, wanted_b3hw: Tensor) -> Tensor:
    """Return per image (batch,) the content loss of an output against a wanted picture, averaged over the style layers."""
    layers = sorted(set(network.style_layers))
    with torch.no_grad():
        wanted = network(wanted_b3hw, set(layers))
    found = network(output_b3hw, set(layers))
    return torch.stack([content_loss(found[layer], wanted[layer]) for layer in layers]).mean(0)


def imitation(network: PerceptualNetwork, output_b3hw: Tensor, wanted_b3hw: Tensor) -> Tensor:
    """Return how far an output, RGB in 0..255, is from a wanted picture: pixels in -1..1, squared, and features."""
    pixels = ((output_b3hw - wanted_b3hw) / 127.5).square().mean()
    return pixels + FEATURE_WEIGHT * feature_distance(network, output_b3hw, wanted_b3hw).mean()


class TaughtModule(StyleTransferModule):
    """The LightningModule of a run with a teacher, for `RunConfig.taught_steps` steps; then that of any other run.

    Either part has the learning rate, and the second one the style weight, of a run of its own length.

    Args:
        config: the run; it has a teacher.
        network: the style network, in channels-last memory format.
        losses: content and style losses, on the training device.
        bf16: whether both networks compute in bfloat16.
        rate_scale: factor on the learning rate; below 1 after a rollback.

    Raises:
        UserError: the teacher cannot be read.
    """

    def __init__(
        self, config: RunConfig, network: StyleNetwork, losses: Losses, *, bf16: bool, rate_scale: float = 1.0
    ) -> None:
        super().__init__(config, network, losses, bf16=bf16, rate_scale=rate_scale)
        device = next(iter(losses.target.grams.values())).device
        teacher = load_model(str(config.teacher)).network.to(device)
        features = load_perceptual_network(FEATURES).prepare(device, torch.bfloat16 if bf16 else torch.float32)
        self.unregistered = (losses, teacher.requires_grad_(False), features)

    @property
    def plan(self) -> OptimizerConfig:
        steps = self.config.optimizer.steps - self.config.taught_steps
        return self.config.optimizer.model_copy(update={"steps": steps})

    def training_step(self, photo_b3hw: Tensor, batch: int) -> Tensor:
        if self.global_step >= self.config.taught_steps:
            if self.global_step == self.config.taught_steps:
                # Moments of gradients that are far smaller than those of the losses, which would make its steps too large.
                self.trainer.optimizers[0].state.clear()
            return super().training_step(photo_b3hw, batch)
        _, teacher, features = self.unregistered
        photo = photo_b3hw.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                wanted = teacher(photo)
            output, _ = self._stylized(photo)
        loss = imitation(features, output.float(), wanted.float())
        self.loss_names, self.step_losses = IMITATION_NAMES, loss.detach().repeat(len(IMITATION_NAMES))
        return loss

    def control(self, step: int, losses: dict[str, float], step_styles: list[float]) -> dict[str, float]:
        if step <= self.config.taught_steps:
            return {}
        return super().control(step - self.config.taught_steps, losses, step_styles)

    def _rate(self, step: int) -> float:
        taught = self.config.taught_steps
        if step >= taught:
            return super()._rate(step - taught)
        return self.rate_scale * rate_fraction(self.plan.model_copy(update={"steps": taught}), step)

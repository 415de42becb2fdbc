"""The losses that a run minimizes, and the criterion that scores its stylized photos."""

from __future__ import annotations

import torch

from tinystyle.config import RunConfig
from tinystyle.data.datamodule import PhotoDataModule
from tinystyle.data.photos import photo_tensor
from tinystyle.evaluation import Criterion, paint_measure, reference_statistics
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.styles import Style
from tinystyle.training.style_list import StyleList

__all__ = ["build_criteria", "build_criterion"]


def build_criterion(
    config: RunConfig, photos: PhotoDataModule, device: torch.device, style: Style | None = None
) -> Criterion:
    """Build the losses that a run minimizes, and the criterion that scores its stylized photos and contains them.

    Computes the feature statistics of the style image, their distances to those of 64 training photos, and the features
    of the style image that paint3 and paint4 are measured with.

    Args:
        config: the run.
        photos: dataset with the training photos.
        device: device of the loss network.
        style: style image, if already loaded; otherwise `config.style` is loaded.
    """
    style = style or Style.load(config.style)
    return build_criteria(config, photos, device, {style.name: style})[style.name]


def build_criteria(
    config: RunConfig, photos: PhotoDataModule, device: torch.device, styles: StyleList
) -> dict[str, Criterion]:
    """Build the losses and the criterion of each style, by its name; see `build_criterion`."""
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    network = load_perceptual_network(config.loss.perceptual, config.loss.perceptual_weights).prepare(device, dtype)
    references = reference_statistics(network, photos.shards, config.data.size)
    targets = {
        name: StyleTarget.measure(
            network,
            photo_tensor(style.at(config.style_side)).to(device),
            references,
            config.loss.style_layer_weights,
            config.loss.sliced_share,
        )
        for name, style in styles.items()
    }
    return {
        name: Criterion(
            Losses(network, targets[name]),
            paint_measure(network, style, device),
            config.loss.content_weight,
            config.loss.style_weight_at_first,
        )
        for name, style in styles.items()
    }

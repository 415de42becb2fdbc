"""What a run minimises, and what its result is worth by the same measure."""

from __future__ import annotations

from pathlib import Path

import torch

from tinystyle import styles
from tinystyle.config import RunConfig
from tinystyle.data.datamodule import PhotoDataModule, photo_tensor
from tinystyle.evaluation import REFERENCE_PHOTOS, LossRow, beside_trivial, loss_row
from tinystyle.model_file import load_model
from tinystyle.perceptual import load_perceptual_network
from tinystyle.perceptual.losses import Losses, StyleTarget
from tinystyle.training.record import RunRecord

__all__ = ["build_losses", "held_out_rows"]


def build_losses(config: RunConfig, photos: PhotoDataModule, device: torch.device) -> Losses:
    """The losses of a run: the style's Gram matrices, and their distance from those of untouched training photos."""
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    network = load_perceptual_network(config.loss.perceptual, config.loss.perceptual_weights).prepare(device, dtype)
    style = photo_tensor(styles.load_style(config.style, config.loss.style_size)).to(device)
    references = [photo.to(device) for photo in photos.references(REFERENCE_PHOTOS)]
    return Losses(network, StyleTarget.measure(network, style, references))


def held_out_rows(folder: Path, model_file: Path) -> list[LossRow]:
    """The table of a run on all its held-out photos: identity, colour match, and the network in `model_file`."""
    record = RunRecord.read(folder)
    config = record.config
    device = torch.device("cpu")
    photos = PhotoDataModule(Path(record.dataset), config.data.size, config.data.batch_size, config.seed)
    losses = build_losses(config, photos, device)
    held_out = photos.held_out(len(photos.shards))
    model = load_model(model_file)
    name = f"{model.config.architecture} {model.config.alpha:g}"
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    style = photo_tensor(styles.load_style(config.style, config.loss.style_size))
    weights = config.loss
    return [
        loss_row(row, stylise, held_out, losses, weights.content_weight, weights.style_weight)
        for row, stylise in beside_trivial(name, network, style).items()
    ]

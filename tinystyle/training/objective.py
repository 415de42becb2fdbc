"""What a run minimises, and what its result is worth by the same measure."""

from __future__ import annotations

from pathlib import Path

import torch

from tinystyle import styles
from tinystyle.config import RunConfig
from tinystyle.data.datamodule import PhotoDataModule, photo_tensor
from tinystyle.evaluation import REFERENCE_PHOTOS, Criterion, LossRow, beside_trivial, loss_row, paint_measure
from tinystyle.model_file import load_model
from tinystyle.perceptual import load_perceptual_network
from tinystyle.perceptual.losses import Losses, StyleTarget
from tinystyle.training.record import RunRecord

__all__ = ["build_criterion", "held_out_rows"]


def build_criterion(config: RunConfig, photos: PhotoDataModule, device: torch.device) -> Criterion:
    """What a run minimizes, and what its pictures are judged by: the style's Gram matrices, their distance from those of
    untouched training photos, and the painting's features."""
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    network = load_perceptual_network(config.loss.perceptual, config.loss.perceptual_weights).prepare(device, dtype)
    style = photo_tensor(styles.load_style(config.style, config.style_side)).to(device)
    references = [photo.to(device) for photo in photos.references(REFERENCE_PHOTOS, config.data.size)]
    target = StyleTarget.measure(network, style, references, config.loss.style_layer_weights, config.loss.sliced_share)
    losses = Losses(network, target)
    paint = paint_measure(network, config.style, device)
    return Criterion(losses, paint, config.loss.content_weight, config.loss.style_weight_at_first)


def held_out_rows(folder: Path, model_file: Path) -> list[LossRow]:
    """The table of a run on all its held-out photos: identity, color match, and the network in `model_file`."""
    record = RunRecord.read(folder)
    config = record.config
    device = torch.device("cpu")
    photos = PhotoDataModule(Path(record.dataset), config.data.size, config.data.batch_size, config.seed)
    criterion = build_criterion(config, photos, device)
    held_out = photos.held_out(len(photos.shards))
    model = load_model(model_file)
    name = f"{model.config.architecture} {model.config.alpha:g}"
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    style = photo_tensor(styles.load_style(config.style, config.style_side))
    return [
        loss_row(row, stylise, held_out, criterion) for row, stylise in beside_trivial(name, network, style).items()
    ]

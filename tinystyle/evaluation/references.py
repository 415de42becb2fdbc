"""Statistics of a dataset's reference photos on a loss network, kept in the cache: the next style finds them there.

They take about three seconds of two cores with VGG16, which is more than anything else before the first step.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinystyle.data import storage
from tinystyle.data.photos import reference_photos
from tinystyle.data.shards import ShardDataset
from tinystyle.errors import UserError
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.references import ReferenceStatistics

__all__ = ["REFERENCE_PHOTOS", "reference_statistics"]

REFERENCE_PHOTOS = 64
"""Number of training photos whose average normalizes the style loss (`perceptual.losses.StyleTarget`)."""
REVISION = 1
"""Raised whenever other numbers are kept, or in another form."""
KEPT = 8
"""Number of datasets and loss networks whose statistics are kept, about 30 MB each; the least recently used go first."""


def reference_statistics(network: PerceptualNetwork, shards: ShardDataset, side: int) -> ReferenceStatistics:
    """Return the statistics of up to 64 reference photos, from the cache if they have been computed before.

    Computed again, they would be the same to the bit: they are kept by everything that they depend on, the number of
    threads included.

    Args:
        network: the loss network; computes on its device.
        shards: the dataset.
        side: short side, in pixels, to which the photos are scaled down.
    """
    file = _file(network, shards, side)
    device = next(network.parameters()).device
    if file and (found := _read(file, network, device)):
        return found
    photos = [photo.to(device) for photo in reference_photos(shards, REFERENCE_PHOTOS, side)]
    statistics = ReferenceStatistics.measure(network, photos)
    if file:
        _write(file, statistics)
    return statistics


def _file(network: PerceptualNetwork, shards: ShardDataset, side: int) -> Path | None:
    """Return where the statistics are kept; None if this user has no cache, or the weights have no name."""
    if not network.weights_sha256:
        return None
    device = next(network.parameters()).device
    processor = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    facts = [REVISION, torch.__version__, processor, torch.get_num_threads(), network.name, network.weights_sha256]
    facts += [str(network.dtype), shards.manifest.sha256(), REFERENCE_PHOTOS, side]
    try:
        folder = storage.cache_dir("references")
    except UserError:
        return None
    return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.safetensors"


def _read(file: Path, network: PerceptualNetwork, device: torch.device) -> ReferenceStatistics | None:
    """Return what a file holds; None if it does not exist or is damaged."""
    try:
        tensors = load_file(file, str(device))
        os.utime(file)
        energy, *energies = tensors["energies"].tolist()
        return ReferenceStatistics(
            energy,
            {name: tensors[f"gram.{name}"] for name in network.style_layers},
            dict(zip(network.style_layers, energies, strict=True)),
            {
                name: list(torch.split(tensors[f"cloud.{name}"], tensors[f"sizes.{name}"].tolist()))
                for name in network.paint_layers
            },
        )
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError):
        return None


def _write(file: Path, statistics: ReferenceStatistics) -> None:
    """Keep statistics for later; a cache that cannot be written to keeps nothing, and is no reason to stop."""
    tensors: dict[str, Tensor] = {
        "energies": torch.tensor([statistics.energy, *statistics.gram_energies.values()], dtype=torch.float64)
    }
    tensors |= {f"gram.{name}": gram_cc for name, gram_cc in statistics.grams.items()}
    for name, clouds in statistics.clouds.items():
        tensors[f"cloud.{name}"] = torch.cat(clouds)
        tensors[f"sizes.{name}"] = torch.tensor([len(cloud_nd) for cloud_nd in clouds])
    with suppress(OSError, SafetensorError):
        with storage.atomic_path(file) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        files = sorted(file.parent.glob("*.safetensors"), key=lambda each: each.stat().st_mtime_ns)
        for old in files[:-KEPT]:
            old.unlink(missing_ok=True)

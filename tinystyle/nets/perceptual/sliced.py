"""Compares clouds of features along fixed directions: the parts of the sliced Wasserstein distance.

Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", 2011; as a loss on features, Heitz et al.,
arXiv:2006.07229. Does not depend on what is compared, or on whether the distance is a loss or a metric.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["at_quantiles", "directions", "sorted_projections"]


def directions(channels: int, count: int, seed: int) -> Tensor:
    """Return `count` random unit vectors (channels, count), the same on every machine for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, count, generator=generator), dim=0)


def sorted_projections(features_bchw: Tensor, directions_cd: Tensor) -> Tensor:
    """Return the features of every position along every direction, ascending: (batch, H*W, D), float32."""
    x_bnc = features_bchw.permute(0, 2, 3, 1).flatten(1, 2)
    projected_bnd = (x_bnc @ directions_cd.to(x_bnc.dtype)).float()
    if projected_bnd.requires_grad or projected_bnd.device.type != "cpu":
        return projected_bnd.sort(1).values
    # Four times as fast, where the order is not needed for a gradient.
    return torch.from_numpy(np.sort(projected_bnd.mT.numpy(), -1)).mT


def at_quantiles(sorted_bnd: Tensor, count: int) -> Tensor:
    """Interpolate sorted samples at `count` evenly spaced probabilities: (batch, count, D)."""
    samples = sorted_bnd.shape[1]
    position_q = (torch.arange(count, device=sorted_bnd.device) + 0.5) * (samples / count) - 0.5
    position_q = position_q.clamp(0, samples - 1)
    below_q = position_q.long()
    above_q = (below_q + 1).clamp_max(samples - 1)
    return torch.lerp(sorted_bnd[:, below_q], sorted_bnd[:, above_q], (position_q - below_q)[:, None])

"""Gram matrices of features: which channels respond together, wherever in the image."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

__all__ = ["gram_matrix"]


def gram_matrix(features_bchw: Tensor) -> Tensor:
    """Return Gram matrices (batch, C, C) of features, divided by C*H*W.

    See Gatys et al., arXiv:1508.06576, eq. 3, and Johnson et al., eq. 3. Computed in float32 whatever the features'
    dtype; the gradient has the features' dtype.
    """
    return cast(Tensor, _Gram.apply(features_bchw))  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """Computes F F^T / CHW with its own gradient.

    Autograd would differentiate the left and the right F separately, in float32, which takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, features_bchw: Tensor) -> Tensor:
        # A view if the features are channels-last.
        x_bnc = features_bchw.permute(0, 2, 3, 1).flatten(1, 2)
        ctx.save_for_backward(x_bnc)
        ctx.shape = features_bchw.shape
        wide_bnc = x_bnc.float()
        gram_bcc: Tensor = wide_bnc.mT @ wide_bnc / features_bchw[0].numel()
        return gram_bcc

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x_bnc,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        symmetric_bcc = (grads[0] + grads[0].mT) / (channels * height * width)
        grad_bnc: Tensor = x_bnc @ symmetric_bcc.to(x_bnc.dtype)
        return grad_bnc.view(batch, height, width, channels).permute(0, 3, 1, 2)

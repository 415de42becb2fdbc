"""Rounds the weights of convolutions to few levels, so that the pictures change little. Does not depend on how they are stored.

Neighbors in a picture are much alike, so an error of one weight can be made up for by its neighbors. The weights of an
output are rounded one after the other, and what each of them loses is passed on to those that come after, as far as their inputs
correlate: GPTQ (Frantar et al., arXiv:2210.17323), which is Optimal Brain Surgeon (Hassibi & Stork, 1993) for rounding. The
correlations are those that the network has on noise with the spectrum of photographs (amplitude inverse to the frequency; Field,
1987), so that no photographs are needed. For the five that ship, on one page, it is worth 6 dB (docs/web.md).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tinystyle.nets.blocks import Conv2d, StyleNetwork
from tinystyle.web.plan import layers_of

__all__ = ["correlations", "rounded"]

_SIDE = 112
"""Side of the noise in pixels."""
_DAMPING = 0.003
"""Share of the mean variance that is added to each input's, without which an inverse may not exist."""
_MIXING = np.array([[1, 0.3, 0.1], [1, 0, -0.2], [1, -0.3, 0.1]])
"""RGB of three independent noises: most of what varies in photographs is brightness."""


def rounded(weight: Tensor, levels: int, correlation: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the step of each output, float16, and the weights in steps: integers in -levels..levels, float32.

    Args:
        weight: (out, in, kernel, kernel).
        levels: largest integer.
        correlation: correlation of the inputs, (in * kernel ** 2,) * 2; without it each weight is rounded by itself.
    """
    flat = weight.detach().flatten(1).double()
    steps = (flat.abs().amax(1) / levels).half()
    scale = steps.double().clamp(min=1e-12)
    if correlation is None:
        codes = (flat / scale[:, None]).round().clamp(-levels, levels)
        return steps, codes.float().view_as(weight)
    damped = correlation + torch.eye(len(correlation)) * (_DAMPING * correlation.diagonal().mean() + 1e-12)
    passed_on = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    codes = torch.zeros_like(flat)
    for index in range(flat.shape[1]):
        codes[:, index] = (flat[:, index] / scale).round().clamp(-levels, levels)
        error = (flat[:, index] - codes[:, index] * scale) / passed_on[index, index]
        flat[:, index:] -= error[:, None] * passed_on[index, index:]
    return steps, codes.float().view_as(weight)


def correlations(network: StyleNetwork) -> list[Tensor]:
    """Return the correlation of the inputs of each layer's convolution on noise, float64; see `rounded`."""
    convolutions = [layer.block.conv for layer in layers_of(network)]
    found: dict[int, Tensor] = {}

    def note(module: Conv2d, inputs: tuple[Tensor], _output: Tensor) -> None:
        x_nk = F.unfold(inputs[0], module.kernel_size, padding=module.kernel_size[0] // 2, stride=module.stride)[0]
        x_nk = x_nk - x_nk.mean(1, keepdim=True)  # the norm removes what is the same everywhere
        found[id(module)] = (x_nk @ x_nk.T).double() / x_nk.shape[1]

    hooks = [convolution.register_forward_hook(note) for convolution in convolutions]
    try:
        with torch.inference_mode():
            network(_noise())
    finally:
        for hook in hooks:
            hook.remove()
    return [found[id(convolution)].clone() for convolution in convolutions]


def _noise() -> Tensor:
    """Return noise with the spectrum of photographs, RGB in 0..255, (1, 3, side, side); always the same."""
    white = np.random.default_rng(0).standard_normal((3, _SIDE, _SIDE))
    squares = np.fft.fftfreq(_SIDE)[:, None] ** 2 + np.fft.rfftfreq(_SIDE) ** 2
    pink = np.fft.irfft2(np.fft.rfft2(white) / np.sqrt(squares + 1e-4), s=(_SIDE, _SIDE))
    mixed = np.einsum("ij,jhw->ihw", _MIXING, pink)
    return torch.from_numpy((128 + 55 * mixed / mixed.std()).clip(0, 255)).float()[None]

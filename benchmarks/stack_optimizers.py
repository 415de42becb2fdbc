"""The optimizers of stacks of networks (stack.py): each changes weights, (T, ...), by gradients of the same names."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Adam:
    """Adam; being elementwise, it is the same for a stack as for each of its networks."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.optimizer = torch.optim.Adam(list(weights.values()), lr=0.0)

    def __call__(self, gradients: dict[str, Tensor], rate: float) -> None:
        for name, weight in self.weights.items():
            weight.grad = gradients[name].contiguous()
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()


class Muon:
    """Muon (Jordan et al., 2024) for kernels, as matrices (out, in k k); Adam at a fifth of the rate for the rest."""

    COEFFICIENTS = (3.4445, -4.7750, 2.0315)

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.kernels = {name: weight for name, weight in weights.items() if weight.dim() == 5}
        self.momenta = {name: torch.zeros_like(weight) for name, weight in self.kernels.items()}
        self.adam = Adam({name: weight for name, weight in weights.items() if weight.dim() < 5})

    def __call__(self, gradients: dict[str, Tensor], rate: float) -> None:
        self.adam(gradients, rate / 5)
        for name, weight in self.kernels.items():
            momentum = self.momenta[name].mul_(0.95).add_(gradients[name])
            x_tom = (gradients[name] + 0.95 * momentum).flatten(2)
            x_tom = x_tom / (x_tom.norm(dim=(1, 2), keepdim=True) + 1e-12)
            for _ in range(5):
                a, b, c = self.COEFFICIENTS
                square = x_tom @ x_tom.mT
                x_tom = a * x_tom + (b * square + c * square @ square) @ x_tom
            # Of the scale of Adam's steps: a root mean square of 0.2 (Liu et al., arXiv:2502.16982).
            size = 0.2 * math.sqrt(max(x_tom.shape[1:]))
            weight -= rate * size * x_tom.view_as(weight)

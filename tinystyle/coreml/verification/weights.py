"""Compares the weights of a file, one after the other, with those of the trained network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import nn

from tinystyle.coreml.evaluator.stored_weights import StoredWeight
from tinystyle.coreml.verification.weight_check import check_weight
from tinystyle.nets.styled import second_input

__all__ = ["Weights", "compare_weights"]

Weights = list[tuple[str, np.ndarray[Any, np.dtype[np.float32]]]]
"""Values by the names of the network's parameters."""
_PRUNED = 0.1
"""Fraction of zeros in a weight from which on it is called pruned."""


@dataclass(frozen=True)
class _Trained:
    """A parameter of the network, and its role."""

    name: str
    kind: str
    parameter: str
    values: np.ndarray[Any, np.dtype[np.float32]]


# Kind of operation, as either format names it -> its role.
_KINDS = {"conv": "convolution", "convolution": "convolution", "instance_norm": "norm", "batchnorm": "norm"}


def _trained_weights(network: nn.Module) -> Iterable[_Trained]:
    """Yield the parameters of convolutions and instance norms in the order in which the network runs them."""
    order: list[tuple[str, nn.Module]] = []
    hooks = [
        module.register_forward_hook(lambda module, _input, _output, name=name: order.append((name, module)))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.InstanceNorm2d)
    ]
    photo = torch.zeros(1, 3, 16, 16)
    with torch.inference_mode():
        network(photo, *second_input(network))
    for hook in hooks:
        hook.remove()
    for name, module in order:
        kind, roles = ("convolution", {"weight": "weight", "bias": "bias"})
        if isinstance(module, nn.InstanceNorm2d):
            kind, roles = ("norm", {"weight": "gamma", "bias": "beta"})
        for attribute, role in roles.items():
            tensor = getattr(module, attribute)
            if tensor is not None:
                yield _Trained(f"{name}.{attribute}", kind, role, tensor.detach().numpy())


# Factors that a converter may multiply into the convolution beside it.
_FOLDS = ((np.float32(1 / 255), "the division by 255"),)


def compare_weights(stored: Iterable[StoredWeight], network: nn.Module) -> tuple[str | None, str, Weights]:
    """Compare the weights of a file, in order of execution, with those of the network that it was made from.

    Returns:
        What is wrong, in words, or None; what was folded into a weight, in words; and the file's values with the names
            of the trained ones.
    """
    trained = list(_trained_weights(network))
    fold = "nothing"
    values: Weights = []
    for weight, expected in zip_longest(stored, trained):
        if weight is None:
            return f"{expected.name} has no counterpart in the file", fold, values
        if expected is None:
            return f"{weight.label} has no counterpart in the trained network", fold, values
        if (_KINDS.get(weight.kind), weight.parameter) != (expected.kind, expected.parameter):
            return f"{weight.label} stands where {expected.name} is expected", fold, values
        problem, factor = check_weight(weight, expected.values), np.float32(1)
        if problem is not None and expected.kind == "convolution":
            for constant, name in _FOLDS:
                if check_weight(weight, expected.values * constant) is None:
                    problem, factor, fold = None, constant, f"{name}, into {expected.name}"
        if problem is not None:
            if np.mean(weight.values == 0) > _PRUNED > np.mean(expected.values == 0):
                problem = replace(
                    problem, problem=f"{problem.problem}; {np.mean(weight.values == 0):.0%} are 0: pruned"
                )
            index = f"[{', '.join(map(str, problem.index))}]" if problem.index else ""
            return f"{weight.label}, trained as {expected.name}{index}: {problem.problem}", fold, values
        values.append((expected.name, weight.values.astype(np.float32) / factor))
    return None, fold, values

"""Compares a stored weight with the trained one, with exact rules for every encoding.

Works on arrays; does not depend on file formats or networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinystyle.coreml.evaluator.stored_weights import StoredWeight

__all__ = ["Disagreement", "check_weight"]

Array = NDArray[Any]
Floats = NDArray[np.floating[Any]]

_SLACK = 1e-3
"""Tolerance, as a fraction of a quantization step, for rounding in the decoding itself."""


@dataclass(frozen=True)
class Disagreement:
    """A stored value that is not the best encoding of the trained one, by its index in the weight."""

    index: tuple[int, ...]
    problem: str


def check_weight(stored: StoredWeight, trained: NDArray[np.float32]) -> Disagreement | None:
    """Return the first value of `stored` that is not the best encoding of that in `trained`; None if there is none.

    float32: bit-identical. float16: bit-identical to the rounded value. Linear: no value is further than half a step
    from the trained one, and a step is the channel's range (for an encoding with a zero point, extended to include 0)
    divided by 2**bits - 1. Palette: each value is the entry nearest to the trained one, and every entry is the mean of
    the trained values that are assigned to it. If the program computes in float16, the trained weight is first rounded
    to float16, as the converter rounds it.

    Args:
        stored: the weight in the file.
        trained: the trained weight, of the same shape; its first axis is the output channels.
    """
    if stored.values.shape != trained.shape:
        return Disagreement((), f"it has shape {stored.values.shape}, trained is {trained.shape}")
    if stored.encoding in ("float32", "float16"):
        return _plain(stored.values, trained.astype(stored.values.dtype))
    weight = trained.astype(stored.values.dtype).astype(np.float64)
    return _linear(stored, weight) if stored.encoding == "linear" else _palette(stored, weight)


def _first(bad: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """Return the first index at which `bad` is true."""
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape)) if bad.any() else None


def _plain(values: Array, expected: Array) -> Disagreement | None:
    # Compare bits: == would accept -0 for 0, and reject equal NaNs.
    bits = np.uint32 if values.dtype == np.float32 else np.uint16
    index = _first(np.ascontiguousarray(values).view(bits) != np.ascontiguousarray(expected).view(bits))
    return None if index is None else Disagreement(index, f"it holds {values[index]!s}, trained is {expected[index]!s}")


def _linear(stored: StoredWeight, weight: Floats) -> Disagreement | None:
    assert stored.indices is not None
    assert stored.scale is not None
    assert stored.offset is not None
    scale, offset = (np.broadcast_to(x.astype(np.float64), weight.shape) for x in (stored.scale, stored.offset))
    error = np.abs(scale * stored.indices + offset - weight)
    index = _first(~(error <= (0.5 + _SLACK) * scale))
    if index is not None:
        steps = error[index] / scale[index] if scale[index] else np.inf
        return Disagreement(
            index, f"it holds {stored.values[index]!s}, {steps:.3g} quantization steps from the trained weight"
        )
    return _range(stored, weight)


def _range(stored: StoredWeight, weight: Floats) -> Disagreement | None:
    """Check that scale and offset follow from the range of each channel."""
    assert stored.scale is not None
    assert stored.offset is not None
    rows = weight.reshape(len(weight), -1)
    low, high = rows.min(axis=1), rows.max(axis=1)
    if stored.zero_point is not None:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    step = (high - low) / (2**stored.bits - 1)
    nearest = step.astype(stored.scale.dtype)
    above = np.where(nearest < step, np.nextafter(nearest, np.array(np.inf, nearest.dtype)), nearest)
    scale = np.broadcast_to(stored.scale.ravel(), nearest.shape)
    wrong = (scale != nearest) & (scale != above) & (step > 0)
    if stored.zero_point is None:
        wrong |= np.broadcast_to(stored.offset.ravel(), low.shape) != low.astype(np.float32)
    channel = _first(wrong)
    if channel is None:
        return None
    return Disagreement(
        channel, f"scale {scale[channel]!s} and offset {stored.offset.ravel()[channel]:.7g} are not those of its range"
    )


def _palette(stored: StoredWeight, weight: Floats) -> Disagreement | None:
    assert stored.indices is not None
    assert stored.palette is not None
    palette = stored.palette.astype(np.float64)
    error = np.abs(palette[stored.indices] - weight)
    nearest = np.abs(palette.reshape(-1, *[1] * weight.ndim) - weight).min(axis=0)
    index = _first(~(error <= nearest))
    if index is not None:
        return Disagreement(
            index, f"it holds {stored.values[index]!s}, which is not the palette's nearest to the trained weight"
        )
    for entry, value in enumerate(stored.palette):
        members = weight[stored.indices == entry]
        if members.size and np.sort(members).mean().astype(stored.palette.dtype) != value:
            index = _first(stored.indices == entry)
            assert index is not None
            return Disagreement(
                index, f"palette entry {entry} is {value!s}, the mean of its weights is {members.mean():.6g}"
            )
    return None

"""Is a stored weight the trained one? Exact rules for every encoding, on arrays; knows no file format and no network."""

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
"""Of a quantization step: rounding of the decoding itself."""


@dataclass(frozen=True)
class Disagreement:
    """The first value that is not what the trained weight makes it."""

    index: tuple[int, ...]
    problem: str


def check_weight(stored: StoredWeight, trained: NDArray[np.float32]) -> Disagreement | None:
    """None if `stored` holds `trained` as well as its encoding can; else the first place where it does not.

    float32: the same bits. float16: the bits of the rounded value. Linear: no value is further than half a step from the
    trained one, and a step is the channel's range (for an encoding with a zero point, widened to hold 0) divided by the
    number of steps. Palette: no entry is nearer, and every entry is the mean of the values that take it. In a program
    that computes in float16 the trained weight is rounded to it first, as its converter sees it.

    Args:
        trained: of the same shape, its first axis the output channels.
    """
    if stored.values.shape != trained.shape:
        return Disagreement((), f"it has shape {stored.values.shape}, trained is {trained.shape}")
    if stored.encoding in ("float32", "float16"):
        return _plain(stored.values, trained.astype(stored.values.dtype))
    weight = trained.astype(stored.values.dtype).astype(np.float64)
    return _linear(stored, weight) if stored.encoding == "linear" else _palette(stored, weight)


def _first(bad: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """The first index at which `bad` is true."""
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape)) if bad.any() else None


def _plain(values: Array, expected: Array) -> Disagreement | None:
    # As bits: == would take -0 for 0, and no NaN for itself.
    bits = np.uint32 if values.dtype == np.float32 else np.uint16
    index = _first(np.ascontiguousarray(values).view(bits) != np.ascontiguousarray(expected).view(bits))
    return None if index is None else Disagreement(index, f"it holds {values[index]!r}, trained is {expected[index]!r}")


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
            index, f"it holds {stored.values[index]!r}, {steps:.3g} quantization steps from the trained weight"
        )
    return _range(stored, weight)


def _range(stored: StoredWeight, weight: Floats) -> Disagreement | None:
    """Whether scale and offset are those of the range of each channel."""
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
        channel, f"scale {scale[channel]!r} and offset {stored.offset.ravel()[channel]:.7g} are not those of its range"
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
            index, f"it holds {stored.values[index]!r}, which is not the palette's nearest to the trained weight"
        )
    for entry, value in enumerate(stored.palette):
        members = weight[stored.indices == entry]
        if members.size and np.sort(members).mean().astype(stored.palette.dtype) != value:
            index = _first(stored.indices == entry)
            assert index is not None
            return Disagreement(
                index, f"palette entry {entry} is {value!r}, the mean of its weights is {members.mean():.6g}"
            )
    return None

"""What a training cost: seconds of its GPUs, or of its CPU cores, and money if the operator says what an hour costs."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinystyle.training.run_folder import RunFolder, metric_lines

if TYPE_CHECKING:
    from tinystyle.training.record import RunRecord

__all__ = ["PRICE", "Cost", "cost_of"]

PRICE = "TINYSTYLE_PRICE_PER_HOUR"
"""Environment variable of a worker: price of one hour of a GPU, or of a CPU core where there is no GPU; a number, with a
currency if wanted, as in `2.50 EUR`."""


@dataclass(frozen=True)
class Cost:
    """Device time of the steps of a training; evaluation and export are not part of it."""

    seconds: float
    """Duration of all steps."""
    device: str
    count: int
    """Number of devices in use at once."""

    @property
    def device_seconds(self) -> float:
        return self.seconds * self.count

    def sentence(self) -> str:
        """Return the cost in words, with its price if PRICE is set."""
        text = f"{self.device_seconds:,.0f} {self.device} seconds ({self.seconds:,.0f} s on {self.count})"
        given = os.environ.get(PRICE, "").strip()
        if not given:
            return text
        price = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(\S{0,8})", given)
        if price is None:
            return f"{text}; {PRICE} is {given!r}, which is no price; give a number, as in 2.50 EUR"
        return (
            f"{text}, {self.device_seconds / 3600 * float(price[1]):,.4f} {price[2]}".rstrip() + f" at {given} an hour"
        )


def cost_of(record: RunRecord, run: Path, gpu: bool) -> Cost | None:
    """Return the cost of a completed training, or None if its speed was not measured.

    The speed is that of the steps that this machine made; a run that was resumed here is assumed to have been as fast
    before.

    Args:
        record: record of the run.
        run: folder of the run.
        gpu: whether it trained on GPUs.
    """
    execution, batch = record.config.execution, record.config.data.batch_size
    seconds = _seconds_per_image(RunFolder(run).metrics)
    if seconds is None:
        return None
    processes = execution.processes * execution.nodes
    device, count = ("GPU", processes) if gpu else ("CPU core", processes * (execution.threads or 1))
    return Cost(record.step * batch * seconds, device, count)


def _seconds_per_image(metrics: Path) -> float | None:
    """Return the mean over the lines of metrics.jsonl, each of which has the speed since the one before."""
    speeds = [values.get("images_per_second") for _, values in metric_lines(metrics)]
    inverse = [1 / speed for speed in speeds if speed and math.isfinite(speed)]
    return sum(inverse) / len(inverse) if inverse else None

"""Times networks in turn, so that other load on the machine affects all of them equally. Judges no quality."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch
from torch import nn

from tinystyle.evaluation.model_report import HEIGHT, WIDTH

__all__ = ["ROUNDS", "cpu_name", "interleaved_latencies"]

ROUNDS = 9
Name = TypeVar("Name")


@torch.inference_mode()
def interleaved_latencies(networks: Mapping[Name, nn.Module], rounds: int = ROUNDS) -> dict[Name, float]:
    """Measure how many milliseconds each network takes for one 640x480 image on the CPU, in float32.

    Every network runs once per round; the first round is a warm-up and does not count.

    Returns:
        The median over the rounds, by name.
    """
    image = torch.rand(1, 3, HEIGHT, WIDTH).mul(255).contiguous(memory_format=torch.channels_last)
    seconds: dict[Name, list[float]] = {name: [] for name in networks}
    for _ in range(1 + rounds):
        for name, network in networks.items():
            began = time.perf_counter()
            network(image)
            seconds[name].append(time.perf_counter() - began)
    return {name: 1000 * median(taken[1:]) for name, taken in seconds.items()}


def cpu_name() -> str:
    """Return the name of the processor as the system reports it, such as `Intel(R) Xeon(R) Processor @ 2.60GHz`."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text(errors="replace").splitlines() if info.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine() or "an unknown processor"

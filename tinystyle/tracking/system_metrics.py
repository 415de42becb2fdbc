"""Resource usage of a training run, under MLflow's own names, so that MLflow's UI shows it under "System metrics".

MLflow's own monitor is a thread that sends its own requests, ends at the first server error and delays the end of a
run. These metrics are read between steps and sent with the losses, so they share their steps and their pauses.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from time import monotonic
from typing import Any

import psutil

__all__ = ["SystemMetrics"]

EVERY_SECONDS = 10.0
MEGABYTE = 1e6


class SystemMetrics:
    """Reads the usage of CPU, memory, disk and GPUs; GPU metrics are omitted if NVML is not installed.

    CPU utilization is a percentage of all cores, GPU utilization of one GPU, both since the previous reading.
    """

    def __init__(self) -> None:
        self._nvml, self._gpus = _nvidia()
        self._next = monotonic() + EVERY_SECONDS
        with suppress(Exception):
            psutil.cpu_percent()  # starts the first interval

    def due(self) -> dict[str, float]:
        """Return a reading, metric -> value, if the last one is at least ten seconds old, otherwise an empty one."""
        return self.read() if monotonic() >= self._next else {}

    def read(self) -> dict[str, float]:
        """Return a reading now, without the metrics that cannot be read."""
        self._next = monotonic() + EVERY_SECONDS
        values: dict[str, float] = {}
        for gauges in (self._machine, self._graphics):
            with suppress(Exception):  # such as no /proc in a container, or a lost GPU: no reason to stop a run
                values |= gauges()
        return {f"system/{name}": value for name, value in values.items()}

    def _machine(self) -> dict[str, float]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(".")
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": (memory.total - memory.available) / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_megabytes": psutil.Process().memory_info().rss / MEGABYTE,
            "disk_usage_percentage": disk.percent,
        }

    def _graphics(self) -> dict[str, float]:
        values = {}
        for i, gpu in enumerate(self._gpus):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(gpu)
            values[f"gpu_{i}_utilization_percentage"] = float(self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
            values[f"gpu_{i}_memory_usage_megabytes"] = memory.used / MEGABYTE
            values[f"gpu_{i}_memory_usage_percentage"] = 100 * memory.used / memory.total
            values[f"gpu_{i}_power_usage_watts"] = self._nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
        return values


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _nvidia() -> tuple[Any, list[Any]]:
    nvml = _imported("pynvml")
    try:
        nvml.nvmlInit()
        return nvml, [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    except Exception:  # not installed, or no driver
        return None, []

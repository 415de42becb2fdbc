"""Gauges of the machine that trains."""

from __future__ import annotations

import pytest

from tinystyle.tracking.system_metrics import SystemMetrics


def test_system_metrics_are_percentages_and_megabytes_of_this_machine() -> None:
    gauges = SystemMetrics()
    assert gauges.due() == {}, "nothing to average over yet"
    values = gauges.read()
    assert all(name.startswith("system/") for name in values)
    assert all(0 <= value <= 100 for name, value in values.items() if name.endswith("_percentage"))
    assert 10 < values["system/process_memory_megabytes"] < values["system/system_memory_usage_megabytes"]
    assert gauges.due() == {}, "ten seconds have not passed"


def test_a_machine_without_gauges_has_no_system_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def broken() -> float:
        raise OSError("no /proc here")

    monkeypatch.setattr(psutil, "virtual_memory", broken)
    assert SystemMetrics().read() == {}

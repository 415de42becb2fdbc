"""What stylizing takes, by count."""

from __future__ import annotations

import os

import torch

from tinystyle.stylize.memory import available_memory, peak_bytes


def test_peak_bytes_counts_what_is_alive_together() -> None:
    weights = torch.ones(1000)

    def calculate() -> torch.Tensor:
        first = torch.zeros(100)  # 400 bytes
        second = first + weights[:100]  # 800
        del first
        third = torch.cat([second, second])  # 400 + 800
        del second
        return third.view(2, 100).add_(1)  # 800: neither a view nor work in place takes any

    assert peak_bytes(calculate) == 1200
    with torch.inference_mode():
        assert peak_bytes(calculate) == 1200


def test_available_memory() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < available_memory() <= total

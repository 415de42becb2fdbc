"""Times measured in turn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinystyle.training.frontier.latency import cpu_name, interleaved_latencies


class Recorder(nn.Module):
    """Notes when it is called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, image_13hw: Tensor) -> Tensor:
        assert image_13hw.shape == (1, 3, 480, 640)
        assert not torch.is_grad_enabled()
        self.calls.append(self.name)
        return image_13hw


def test_every_network_runs_once_a_round() -> None:
    calls: list[str] = []
    found = interleaved_latencies({name: Recorder(name, calls) for name in "abc"}, rounds=2)
    assert calls == list("abcabcabc"), "a first round does not count"
    assert list(found) == list("abc")
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert interleaved_latencies({}) == {}


def test_the_processor_has_a_name() -> None:
    assert cpu_name().strip()

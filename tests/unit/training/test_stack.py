"""Networks trained side by side by benchmarks/stack.py: outputs, losses and style targets are those of each alone."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.support.places import REPOSITORY
from tinystyle.nets import build_network
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics


def test_networks_of_a_stack_compute_what_they_compute_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(REPOSITORY / "benchmarks"), *sys.path])
    from stack import References, Stack, Targets

    torch.manual_seed(0)
    cpu = torch.device("cpu")
    narrow = load_perceptual_network("narrow").prepare(cpu, torch.float32)
    photos, styles, references = (torch.rand(count, 3, 64, 64) * 255 for count in (3, 2, 4))
    networks = [build_network("small", 0.1).train() for _ in styles]
    output_tb3hw, _ = Stack(networks, cpu)(photos)
    targets = Targets(narrow, styles, References.measure(narrow, references))
    statistics = ReferenceStatistics.measure(narrow, list(references[:, None]))
    content_tb, style_tb = targets.losses(output_tb3hw, photos)
    for index, network in enumerate(networks):
        output, _ = network.forward_with_preactivation(photos)
        target = StyleTarget.measure(narrow, styles[index : index + 1], statistics, sliced_share=0.25)
        content_b, style_b = Losses(narrow, target)(output, photos)
        torch.testing.assert_close(output_tb3hw[index], output, rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(content_tb[index], content_b, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(style_tb[index], style_b, rtol=1e-3, atol=1e-4)
        assert targets.measures[index].content_target == pytest.approx(target.content_target, rel=1e-4)

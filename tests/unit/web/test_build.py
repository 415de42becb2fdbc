"""Pages: as fine as fits, named styles, and a policy that lets them ask nobody for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests.support.models import save_untrained, save_untrained_styles
from tinystyle.errors import UserError
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.styles import pretrained
from tinystyle.web import MAX_BYTES, Page, build_page
from tinystyle.web.pack import EXACT, rounded_weights
from tinystyle.web.plan import layers_of, plan_of

SHIPPED = [pretrained.PREFIX + name for name in pretrained.names()]


def size(page: Page) -> int:
    return len(page.html.encode())


@pytest.mark.slow
def test_the_size_is_kept_and_used() -> None:
    for count, least in ((1, 0), (2, 0), (3, 0.97 * MAX_BYTES), (5, 0.97 * MAX_BYTES)):
        page = build_page(SHIPPED[:count])
        assert least <= size(page) <= MAX_BYTES
        assert page.faithful == (count <= 3), "three shipped styles fit to one gray level, and five do not"
        assert (page.levels == EXACT) == (count <= 2)
    larger = build_page(SHIPPED, 130_000)
    assert larger.faithful
    assert size(larger) <= 130_000


@pytest.mark.slow
def test_it_is_the_same_page_each_time() -> None:
    assert build_page(SHIPPED[:3]).html == build_page(SHIPPED[:3]).html


@pytest.mark.slow
def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(
        UserError, match=r"5 models take [\d,]+ bytes at 6 bits per weight, more than 50,000; give fewer"
    ):
        build_page(SHIPPED, 50_000)


def test_ten_styles_of_one_network_take_little_more_than_one(tmp_path: Path) -> None:
    names = [f"style {index}" for index in range(10)]
    model = save_untrained_styles(tmp_path / "ten.safetensors", *names)
    ten = build_page([str(model)])
    assert ten.names == tuple(name.capitalize().replace("s", "S", 1) for name in names)
    assert ten.faithful
    one = build_page([f"{model}#{names[3]}"])
    assert one.names == ("Style 3",)
    assert 0 < size(ten) - size(one) < 5000, "a style is 102 numbers of two bytes"
    mixed = build_page([str(model), save_untrained(tmp_path / "model.safetensors")])
    assert len(mixed.names) == 11


def test_nothing_in_it_is_an_address() -> None:
    html = build_page(SHIPPED[:1]).html
    assert re.findall(r"(?:src|href)=\S+", html) == ['href="data:,">']
    assert "default-src 'none'" in html
    assert "connect-src" not in html
    assert "http:" not in html
    assert "https:" not in html


def test_styles_are_named_after_runs_and_files_and_differ(tmp_path: Path) -> None:
    places = [tmp_path / "runs" / "deep_sea" / "model.safetensors", tmp_path / "night.safetensors", tmp_path / "x"]
    places[0].parent.mkdir(parents=True)
    for place in places[:2]:
        save_untrained(place)
    page = build_page([str(places[0]), str(places[1]), "pretrained:composition-vii", str(places[1])])
    assert page.names == ("Deep Sea", "Night 1", "Composition VII", "Night 2")


def run_plan(network: StyleNetwork, photo_13hw: torch.Tensor) -> torch.Tensor:
    """What the page computes, by its plan, in torch."""
    plan = plan_of(network)
    blocks = [layer.block for layer in layers_of(network)]
    side = plan["margin"]
    right, bottom = (side + -photo_13hw.shape[dim] % plan["multiple"] for dim in (3, 2))
    tensors = [torch.nn.functional.pad(photo_13hw / 255, (side, right, side, bottom), mode="reflect")]
    for layer, block in zip(plan["layers"], blocks, strict=True):
        x = tensors[layer["from"]].repeat_interleave(layer["up"], 2).repeat_interleave(layer["up"], 3)
        x = torch.nn.functional.conv2d(x, block.conv.weight, stride=layer["stride"], padding=layer["kernel"] // 2)
        x = torch.nn.functional.instance_norm(x, weight=block.norm.weight, bias=block.norm.bias)
        x = x.relu() if layer["relu"] else x
        tensors.append(x + tensors[layer["add"]] if layer["add"] >= 0 else x)
    height, width = photo_13hw.shape[2:]
    return (torch.tanh(tensors[-1][..., side : side + height, side : side + width]) + 1) * 127.5


@pytest.mark.parametrize(("architecture", "alpha"), [("small", 0.3), ("small", 0.1), ("johnson", 0.1)])
def test_the_plan_is_the_network(architecture: str, alpha: float) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, alpha).eval()
    photo = torch.rand(1, 3, 41, 50) * 255
    with torch.no_grad():
        torch.testing.assert_close(run_plan(network, photo), network(photo), rtol=0, atol=1e-2)


def test_other_networks_are_refused() -> None:
    class Other(StyleNetwork):
        def forward_with_preactivation(self, photo_b3hw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return photo_b3hw, photo_b3hw

    with pytest.raises(UserError, match="cannot compute Other"):
        layers_of(Other((4, 4, 4), 1))
    torch.testing.assert_close(
        rounded_weights(build_network("small", 0.1), EXACT)["out.norm.weight"], torch.ones(3), rtol=0, atol=0
    )

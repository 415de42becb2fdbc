"""Networks of many styles: conditional instance norm, style vectors, mixtures, and the plain networks they contain."""

import pytest
import torch
from torch import Tensor

from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.styled import StyledNetwork, norm_shapes, style_vector, with_style_vector


def of_random_norms(alpha: float = 0.1, architecture: str = "small") -> StyleNetwork:
    network = build_network(architecture, alpha)
    vector = style_vector(network)
    return with_style_vector(network, vector + 0.3 * torch.randn(vector.shape))


@pytest.fixture
def networks() -> list[StyleNetwork]:
    torch.manual_seed(0)
    one = of_random_norms()
    return [one, *(with_style_vector(one, style_vector(of_random_norms())) for _ in range(2))]


@pytest.fixture
def photos() -> Tensor:
    return torch.rand(3, 3, 32, 40, generator=torch.Generator().manual_seed(1)) * 255


def test_a_style_of_small_has_204_numbers() -> None:
    assert sum(norm_shapes(build_network("small", 0.3)).values()) == 204
    assert len(style_vector(build_network("small", 0.3))) == 204


def test_a_vector_is_what_the_norms_hold(networks: list[StyleNetwork]) -> None:
    again = with_style_vector(networks[0], style_vector(networks[1]))
    for name, weight in networks[1].state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not torch.equal(style_vector(networks[0]), style_vector(again)), "the first one is unchanged"


@pytest.mark.parametrize("training", [False, True])
def test_each_photo_of_a_batch_gets_its_own_style(networks: list[StyleNetwork], photos: Tensor, training: bool) -> None:
    styled = StyledNetwork.of(networks).train(training)
    order = [2, 0, 1]
    with torch.no_grad():
        output, preactivation = styled.forward_with_preactivation(photos, styled.styles[order])
        assert torch.equal(styled(photos, styled.styles[order]), output)
        for index, style in enumerate(order):
            plain = networks[style].train(training)
            expected, before = plain.forward_with_preactivation(photos[index : index + 1])
            torch.testing.assert_close(output[index : index + 1], expected, rtol=0, atol=2e-3)
            torch.testing.assert_close(preactivation[index : index + 1], before, rtol=1e-4, atol=1e-4)
    assert (output[0] - output[1]).abs().mean() > 1


def test_a_style_is_a_plain_network(networks: list[StyleNetwork], photos: Tensor) -> None:
    styled = StyledNetwork.of(networks).eval()
    for row, network in enumerate(networks):
        plain = styled.plain(styled.mixed({row: 1.0}))
        assert all(torch.equal(value, network.state_dict()[name]) for name, value in plain.state_dict().items())
        with torch.no_grad():
            assert torch.equal(plain(photos), network.eval()(photos))


def test_a_mixture_is_the_mean_of_vectors(networks: list[StyleNetwork], photos: Tensor) -> None:
    styled = StyledNetwork.of(networks).eval()
    mixture = styled.mixed({0: 0.25, 2: 0.75})
    torch.testing.assert_close(mixture, 0.25 * style_vector(networks[0]) + 0.75 * style_vector(networks[2]))
    with torch.no_grad():
        torch.testing.assert_close(
            styled.plain(mixture)(photos[:1]), styled(photos[:1], mixture[None]), rtol=0, atol=2e-3
        )


def test_only_trunk_and_table_learn(networks: list[StyleNetwork], photos: Tensor) -> None:
    styled = StyledNetwork.of(networks).train()
    styled(photos[:2], styled.styles[[0, 2]]).square().mean().backward()
    learned = {name for name, value in styled.named_parameters() if value.grad is not None}
    assert learned == {"styles", *(f"trunk.{name}" for name, _ in styled.shared())}
    assert styled.styles.grad is not None
    rows = styled.styles.grad.abs().sum(1)
    assert rows[1] == 0 < min(rows[0], rows[2]), "a style that no photo had does not learn"
    assert "trunk.out.norm.weight" not in learned


def test_johnson_too(photos: Tensor) -> None:
    styled = StyledNetwork.of([of_random_norms(architecture="johnson") for _ in range(2)]).eval()
    with torch.no_grad():
        assert styled(photos[:2], styled.styles).shape == photos[:2].shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_it_can_be_traced_with_both_inputs(networks: list[StyleNetwork], photos: Tensor) -> None:
    styled = StyledNetwork.of(networks).eval()
    traced = torch.jit.trace(styled, (photos[:1], styled.styles[:1].detach()), check_trace=False)
    with torch.no_grad():
        expected = styled(photos[:1], styled.styles[2:])
        torch.testing.assert_close(traced(photos[:1], styled.styles[2:]), expected, rtol=0, atol=1e-3)


def test_it_can_be_exported_with_both_inputs(networks: list[StyleNetwork], photos: Tensor) -> None:
    styled = StyledNetwork.of(networks).eval()
    program = torch.export.export(styled, (photos[:1], styled.styles[:1].detach()))
    with torch.no_grad():
        expected = styled(photos[:1], styled.styles[2:])
        torch.testing.assert_close(program.module()(photos[:1], styled.styles[2:]), expected, rtol=0, atol=1e-3)

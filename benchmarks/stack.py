"""Trains several style networks of one shape side by side, on the same photos, as one network.

A convolution of all of them is one convolution with a block-diagonal kernel, and the loss network sees all outputs as
one batch. The mathematics of each is that of `tinystyle.training.module`; losses differ in rounding, and all networks see
the same photos.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from stack_optimizers import Adam, Muon
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tinystyle.config import LossConfig, OptimizerConfig
from tinystyle.data.datamodule import CropDataset, GlobalBatches
from tinystyle.data.photos import reference_photos
from tinystyle.data.shards import ShardDataset
from tinystyle.evaluation import REFERENCE_PHOTOS
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.losses import content_target
from tinystyle.nets.perceptual.penalties import grid_loss, saturation_loss
from tinystyle.nets.perceptual.references import loss_directions
from tinystyle.nets.perceptual.sliced import at_quantiles, sorted_projections
from tinystyle.training.module import rate_fraction
from tinystyle.training.style_weight import StyleWeight

SYNC_EVERY = 10
"""Steps between updates of the style weights, each of which waits for the device."""


class Stack:
    """T style networks of one shape. `weights` has those of all, each (T, ...).

    Args:
        networks: the initial networks.
        wide: if not 0, kernels are trained as products with this many channels in between (SESR, MLSys 2022); such a
            product is a plain kernel again.
    """

    def __init__(self, networks: Sequence[StyleNetwork], device: torch.device, wide: int = 0) -> None:
        self.count, self.residual_blocks = len(networks), len(networks[0].residual)
        states = [network.state_dict() for network in networks]
        self.weights = {name: torch.stack([state[name] for state in states]).to(device) for name in states[0]}
        if wide:
            for name in [name for name in self.weights if name.endswith("conv.weight")]:
                kernel = self.weights.pop(name)
                first = torch.randn(self.count, wide, *kernel.shape[2:], device=device)
                second = torch.randn(self.count, kernel.shape[1], wide, device=device) / math.sqrt(wide)
                self.weights[f"{name}.first"] = first * kernel.flatten(1).std(1).view(-1, 1, 1, 1, 1)
                self.weights[f"{name}.second"] = second
        for weight in self.weights.values():
            weight.requires_grad_()

    def kernel(self, name: str) -> Tensor:
        """The kernels (T, out, in, k, k) of a convolution."""
        if name in self.weights:
            return self.weights[name]
        first, second = self.weights[f"{name}.first"], self.weights[f"{name}.second"]
        return torch.einsum("tom,tmikl->toikl", second, first)

    def plain(self) -> dict[str, Tensor]:
        """The weights of plain networks, each (T, ...)."""
        names = dict.fromkeys(name.removesuffix(".first").removesuffix(".second") for name in self.weights)
        return {name: self.kernel(name).detach() if "conv" in name else self.weights[name].detach() for name in names}

    def __call__(self, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and what their tanh was computed from, each (T, batch, 3, height, width)."""
        x_bchw = self._layer("down.0", photo_b3hw / 255, shared=True)
        for index in (1, 2):
            x_bchw = self._layer(f"down.{index}", x_bchw.relu(), stride=2)
        x_bchw = x_bchw.relu()
        for index in range(self.residual_blocks):
            inner_bchw = self._layer(f"residual.{index}.first", x_bchw).relu()
            x_bchw = x_bchw + self._layer(f"residual.{index}.second", inner_bchw)
        for index in (0, 1):
            x_bchw = self._layer(f"up.{index}.block", F.interpolate(x_bchw, scale_factor=2, mode="nearest")).relu()
        z_tb3hw = self._layer("out", x_bchw).float().unflatten(1, (self.count, 3)).transpose(0, 1)
        return (torch.tanh(z_tb3hw) + 1) * 127.5, z_tb3hw

    def _layer(self, name: str, x_bchw: Tensor, stride: int = 1, shared: bool = False) -> Tensor:
        kernel = self.kernel(f"{name}.conv.weight")
        if not shared:
            eye = torch.eye(self.count, device=kernel.device)
            kernel = torch.einsum("toikl,ts->tosikl", kernel, eye).flatten(2, 3)
        kernel = kernel.flatten(0, 1)
        x_bchw = F.pad(x_bchw, (kernel.shape[-1] // 2,) * 4, mode="reflect")
        x_bchw = F.conv2d(x_bchw, kernel.contiguous(memory_format=torch.channels_last), stride=stride)
        norm = [self.weights[f"{name}.norm.{each}"].flatten() for each in ("weight", "bias")]
        return F.instance_norm(x_bchw, weight=norm[0], bias=norm[1])


@dataclass
class References:
    """Statistics of reference photos, that style targets are measured against."""

    grams: dict[str, Tensor]
    clouds: dict[str, Tensor]
    along: dict[str, Tensor]
    energy: float

    @classmethod
    @torch.no_grad()
    def measure(cls, network: PerceptualNetwork, photos_r3hw: Tensor) -> References:
        features: dict[str, list[Tensor]] = {}
        for photos in photos_r3hw.split(16):
            for name, x_bchw in network(photos, _layers(network)).items():
                features.setdefault(name, []).append(x_bchw)
        of_all = {name: torch.cat(parts) for name, parts in features.items()}
        along = {name: loss_directions(of_all[name]) for name in network.paint_layers}
        return cls(
            {name: gram_matrix(of_all[name]) for name in network.style_layers},
            {name: sorted_projections(of_all[name], along[name]) for name in network.paint_layers},
            along,
            of_all[network.content_layer].float().square().mean().item(),
        )


class Targets:
    """What `StyleTarget` is for one style image, for T of them: (T, 3, height, width), RGB in 0..255."""

    @torch.no_grad()
    def __init__(
        self, network: PerceptualNetwork, styles_t3hw: Tensor, references: References, sliced_share: float = 0.25
    ) -> None:
        self.network, self.references = network, references
        features = network(styles_t3hw, _layers(network))
        self.grams = {name: gram_matrix(features[name])[:, None] for name in references.grams}
        self.clouds = {name: sorted_projections(features[name], along) for name, along in references.along.items()}
        self.gram_weights = {
            name: (1 - sliced_share) / len(self.grams) / _distance(of_photos[None], self.grams[name]).mean(1)
            for name, of_photos in references.grams.items()
        }
        self.cloud_weights = {
            name: sliced_share
            / len(self.clouds)
            / _distance(of_photos[None], at_quantiles(self.clouds[name], of_photos.shape[1])[:, None]).mean(1)
            for name, of_photos in references.clouds.items()
        }
        energies = features[network.content_layer].float().square().mean((1, 2, 3)) / references.energy
        self.measures = [
            SimpleNamespace(
                contrast=contrast,
                content_target=content_target(network.content_similarity, network.content_limit, contrast),
            )
            for contrast in energies.tolist()
        ]

    def losses(self, output_tb3hw: Tensor, photo_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return content and style losses, each (T, batch)."""
        network, content, shape = self.network, self.network.content_layer, output_tb3hw.shape[:2]
        with torch.no_grad():
            photo_bchw = network(photo_b3hw, {content})[content].float()
            energy_b = photo_bchw.square().mean((1, 2, 3)).clamp_min(self.references.energy)
        features = network(output_tb3hw.flatten(0, 1), _layers(network))
        difference = features[content].float().unflatten(0, shape) - photo_bchw
        style_tb = torch.zeros(shape, device=energy_b.device)
        for name, weight_t in self.gram_weights.items():
            gram_tbcc = gram_matrix(features[name]).unflatten(0, shape)
            style_tb = style_tb + weight_t[:, None] * _distance(gram_tbcc, self.grams[name])
        for name, weight_t in self.cloud_weights.items():
            cloud_tbnd = sorted_projections(features[name], self.references.along[name]).unflatten(0, shape)
            target_tnd = at_quantiles(self.clouds[name], cloud_tbnd.shape[2])
            style_tb = style_tb + weight_t[:, None] * _distance(cloud_tbnd, target_tnd[:, None])
        return difference.square().mean((2, 3, 4)) / energy_b, style_tb


def _layers(network: PerceptualNetwork) -> set[str]:
    return {*network.style_layers, *network.paint_layers, network.content_layer}


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference over the last two dimensions."""
    return (one - other).square().mean((-2, -1))


def small_network(weights: Mapping[str, Tensor], index: int) -> StyleNetwork:
    """Return one of the networks `small` 0.3 of a stack, in evaluation mode, by the weights of all, each (T, ...)."""
    network = build_network("small", 0.3)
    network.load_state_dict({name: value[index] for name, value in weights.items()})
    return network


def reference_squares(shards: ShardDataset, side: int) -> Tensor:
    """Return what `References` are measured on, (photos, 3, side, side): a corner of each reference photo of a run."""
    return torch.cat([photo[..., :side, :side] for photo in reference_photos(shards, REFERENCE_PHOTOS, side)])


def photo_batches(shards: ShardDataset, size: int, seed: int, batch: int, workers: int = 0) -> Iterator[Tensor]:
    """Yield the training batches of `tinystyle train`, uint8, without end."""
    crops = CropDataset(shards, size, seed)
    loader: DataLoader[Tensor] = DataLoader(crops, batch_sampler=GlobalBatches(0, batch, 0, 1), num_workers=workers)
    return iter(loader)


@dataclass
class Plan:
    """How to learn; the defaults are those of `tinystyle train`."""

    rates: OptimizerConfig
    optimizer: str = "adam"
    average: float = 0.0
    """Decay per step of the running mean of the weights that is the result; 0 for the last weights."""


def train(
    stack: Stack,
    targets: Targets,
    batches: Iterator[Tensor],
    plan: Plan,
    more: Callable[[Tensor, Tensor], Tensor] | None = None,
    paint: Callable[[Tensor], None] = lambda _: None,
) -> Iterator[dict[str, Tensor]]:
    """Train all networks of a stack; yield after each step the mean of their weights, or {} without `average`.

    Args:
        more: of outputs and photos, a loss (T,) that replaces content and style.
        paint: called with the outputs of each step.
    """
    device = next(iter(stack.weights.values())).device
    update = {"adam": Adam, "muon": Muon}[plan.optimizer](stack.weights)
    rates, loss = plan.rates, LossConfig()
    controls = [StyleWeight(loss, measure, rates.warmup, rates.steps) for measure in targets.measures]  # type: ignore[arg-type]
    factor_t = torch.tensor([control.value for control in controls], device=device)
    contents = torch.zeros_like(factor_t)
    mean = {name: weight.clone() for name, weight in stack.plain().items()} if plan.average else {}
    names = list(stack.weights)
    for step in range(rates.steps):
        photo = next(batches).to(device, non_blocking=True).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=targets.network.dtype == torch.bfloat16):
            output, z = stack(photo)
        if more:
            total_t = more(output, photo)
        else:
            content_tb, style_tb = targets.losses(output, photo)
            total_t = content_tb.mean(1) + factor_t * style_tb.mean(1)
            contents += content_tb.detach().mean(1) / SYNC_EVERY
        saturation_tb = saturation_loss(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        many_photos = photo.expand(stack.count, *photo.shape).flatten(0, 1)
        grid_tb = grid_loss(output.flatten(0, 1), many_photos).unflatten(0, z.shape[:2])
        total_t = total_t + loss.saturation_weight * saturation_tb.mean(1) + loss.checkerboard_weight * grid_tb.mean(1)
        gradients = torch.autograd.grad(total_t.sum(), [stack.weights[name] for name in names])
        norm_t = sum(gradient.flatten(1).square().sum(1) for gradient in gradients)
        assert isinstance(norm_t, Tensor)
        scale_t = (rates.clip_norm / norm_t.sqrt()).clamp_max(1)
        with torch.no_grad():
            clipped = {
                name: gradient * scale_t.view(-1, *[1] * (gradient.dim() - 1))
                for name, gradient in zip(names, gradients, strict=True)
            }
            update(clipped, rates.learning_rate * rate_fraction(rates, step))
            if mean:
                for name, weight in stack.plain().items():
                    mean[name].lerp_(weight, 1 - plan.average if step >= rates.steps // 10 else 1.0)
        if (step + 1) % SYNC_EVERY == 0 and not more:
            for control, value in zip(controls, contents.tolist(), strict=True):
                control.update(step + 1, value, SYNC_EVERY)
            factor_t = torch.tensor([control.value for control in controls], device=device)
            contents.zero_()
        paint(output)
        yield mean

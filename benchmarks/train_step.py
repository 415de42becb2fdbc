"""Compares the speed of our training step with the textbook's, in images/s, interleaved, on the same tensors.

    python benchmarks/train_step.py --weights VGG16_FILE [--rounds 6]

Textbook: float32, contiguous, VGG16 without weight gradients, no_grad for the photo, precomputed Gram matrices of the
style, all four layers for both images, set_to_none. Ours: the module that `tinystyle train` runs, in bf16 if the
hardware supports it. Both use the same network weights, threads, batch and photos. At the start, the gradients of both
for the first batch are compared by their cosine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from interleaved import interleaved, ratio
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.config import DataConfig, LossConfig, NetworkConfig, RunConfig
from tinystyle.nets import build_network
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.training.module import StyleTransferModule

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
Step = Callable[[Tensor], None]


def gram(features: Tensor) -> Tensor:
    """Return the textbook's Gram matrix, with autograd's gradient."""
    batch, channels, height, width = features.shape
    flat = features.view(batch, channels, height * width)
    return flat.bmm(flat.transpose(1, 2)) / (channels * height * width)


def textbook_step(network: nn.Module, config: RunConfig, weights: str, target: StyleTarget) -> Step:
    """Return the step as in published code, with our loss weights and denominators, so that the losses agree."""
    vgg = load_perceptual_network("vgg16", weights).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.optimizer.learning_rate)

    def step(photo: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        output, preactivation = network.forward_with_preactivation(photo)
        with torch.no_grad():
            photo_features = vgg(photo, LAYERS)
        features = vgg(output, LAYERS)
        scale = photo_features["relu3_3"].square().mean((1, 2, 3))
        content = (
            F.mse_loss(features["relu3_3"], photo_features["relu3_3"], reduction="none").mean((1, 2, 3)) / scale
        ).mean()
        style = sum(
            F.mse_loss(gram(features[n]), target.grams[n].expand(len(photo), -1, -1)) / target.scales[n] for n in LAYERS
        )
        saturation = (preactivation.abs() - 2).relu().square().mean()
        loss = config.loss.content_weight * content + config.loss.style_weight * style / len(LAYERS)
        (loss + config.loss.saturation_weight * saturation).backward()
        optimizer.step()

    return step


def our_step(network: nn.Module, config: RunConfig, weights: str, target: StyleTarget, bf16: bool) -> Step:
    """Return the step that training runs, without Lightning's overhead, which a complete run would add to both."""
    vgg = load_perceptual_network("vgg16", weights).prepare(
        torch.device("cpu"), torch.bfloat16 if bf16 else torch.float32
    )
    module = StyleTransferModule(config, network.to(memory_format=torch.channels_last), Losses(vgg, target), bf16=bf16)
    optimizer = module.configure_optimizers()["optimizer"]

    def step(photo: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        module.training_step(photo, 0).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.clip_norm)
        optimizer.step()

    return step


def gradient(network: nn.Module, step: Step, photo: Tensor) -> Tensor:
    """Return the gradient that one step leaves as a vector; its length is not comparable."""
    step(photo)
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    bf16 = torch.cpu._is_avx512_bf16_supported()
    torch.manual_seed(0)
    # Smooth random fields instead of photos, since the content does not affect the speed.
    photos = F.interpolate(torch.rand(4, 3, 16, 16), size=arguments.size, mode="bicubic").clamp(0, 1).mul(255).round()
    style = F.interpolate(torch.rand(1, 3, 64, 64), size=512, mode="bicubic").clamp(0, 1).mul(255)
    target = StyleTarget.measure(load_perceptual_network("vgg16", arguments.weights), style, list(photos.split(1)))
    print(
        f"{arguments.size} px, batch 4, {torch.get_num_threads()} threads, ours in {'bfloat16' if bf16 else 'float32'}"
    )
    for architecture, alpha in (("small", 0.3), ("johnson", 1.0)):
        config = RunConfig(
            style="",
            photos="",
            network=NetworkConfig(architecture=architecture, alpha=alpha),
            loss=LossConfig(),
            data=DataConfig(size=arguments.size),
        )
        networks = [build_network(config.network.architecture, config.network.alpha) for _ in range(2)]
        networks[1].load_state_dict(networks[0].state_dict())
        steps = {
            "textbook": textbook_step(networks[0], config, arguments.weights, target),
            "ours": our_step(networks[1], config, arguments.weights, target, bf16),
        }
        first = [gradient(network, step, photos) for network, step in zip(networks, steps.values(), strict=True)]
        cosine = F.cosine_similarity(*first, dim=0).item()
        seconds = interleaved({name: partial(step, photos) for name, step in steps.items()}, arguments.rounds)
        speed = {name: 4 / median(times) for name, times in seconds.items()}
        print(
            f"{architecture} {alpha:g}: textbook {speed['textbook']:.2f} images/s, ours {speed['ours']:.2f} images/s, "
            f"{ratio(seconds['textbook'], seconds['ours'])}, gradient cosine {cosine:.4f}"
        )


if __name__ == "__main__":
    main()

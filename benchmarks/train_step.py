"""Compares the speed of our training step with the textbook's, in images/s, interleaved, on the same tensors.

    python benchmarks/train_step.py --weights VGG16_FILE [--rounds 6] [--size 256]

Textbook: float32, contiguous, VGG16 without weight gradients, no_grad for the photo, precomputed Gram matrices of the
style, all four layers for both images, set_to_none; Gram distances and the saturation loss alone. Ours: the module that
`tinystyle train` runs, with all its losses, by VGG16 and by narrow, in bf16 if that is faster on this processor. All
have the same threads, batch and photos. At the start, the gradients of the textbook and of ours, limited to the same
losses, are compared by their cosine. The floor of a step is its multiplications over the rate of a large matrix product
in the same format, measured in the same run.
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
from torch.utils.flop_counter import FlopCounterMode

from tinystyle.config import DataConfig, LossConfig, NetworkConfig, RunConfig
from tinystyle.data.processes import bf16_pays
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.training.module import StyleTransferModule

LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
STYLE_WEIGHT = 3.0
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
            F.mse_loss(gram(features[name]), target.grams[name].expand(len(photo), -1, -1)) * weight
            for name, weight in target.gram_weights.items()
        )
        saturation = (preactivation.abs() - 2).relu().square().mean()
        loss = config.loss.content_weight * content + STYLE_WEIGHT * style
        (loss + config.loss.saturation_weight * saturation).backward()
        optimizer.step()

    return step


def our_step(network: StyleNetwork, config: RunConfig, perceptual: PerceptualNetwork, target: StyleTarget) -> Step:
    """Return the step that training runs, without Lightning's overhead, which a complete run would add to all."""
    bf16 = perceptual.dtype == torch.bfloat16
    module = StyleTransferModule(
        config, network.train().to(memory_format=torch.channels_last), Losses(perceptual, target), bf16=bf16
    )
    optimizer = module.configure_optimizers()["optimizer"]

    def step(photo: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        module.training_step(photo, 0).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.clip_norm, foreach=True)
        optimizer.step()

    return step


def gradient(network: nn.Module, step: Step, photo: Tensor) -> Tensor:
    """Return the gradient that one step leaves as a vector; its length is not comparable."""
    step(photo)
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def matrix_rate(dtype: torch.dtype, side: int = 2048) -> float:
    """Return floating-point operations per second of a product of two square matrices."""
    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    seconds = interleaved({"product": lambda: a @ b}, 5)["product"]
    return 2 * side**3 / min(seconds)


def operations(step: Callable[[], None]) -> int:
    """Return the floating-point operations of the convolutions and matrix products of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    arguments = parser.parse_args()
    dtype = torch.bfloat16 if bf16_pays(torch.cpu.get_capabilities()) else torch.float32
    torch.manual_seed(0)
    # Smooth random fields instead of photos, since the content does not affect the speed.
    photos = F.interpolate(torch.rand(4, 3, 16, 16), size=arguments.size, mode="bicubic").clamp(0, 1).mul(255).round()
    style = F.interpolate(torch.rand(1, 3, 64, 64), size=512, mode="bicubic").clamp(0, 1).mul(255)
    cpu = torch.device("cpu")
    vgg = load_perceptual_network("vgg16", arguments.weights).prepare(cpu, dtype)
    narrow = load_perceptual_network("narrow").prepare(cpu, dtype)
    references = {each: ReferenceStatistics.measure(each, photos.split(1)) for each in (vgg, narrow)}
    grams = StyleTarget.measure(vgg, style, references[vgg])
    targets = {each: StyleTarget.measure(each, style, references[each], None, 0.25) for each in (vgg, narrow)}
    print(f"{arguments.size} px, batch 4, {torch.get_num_threads()} threads, ours in {dtype}")
    for architecture, alpha in (("small", 0.3), ("johnson", 1.0)):
        config = RunConfig(
            style="",
            photos="",
            network=NetworkConfig(architecture=architecture, alpha=alpha),
            loss=LossConfig(style_weight=STYLE_WEIGHT),
            data=DataConfig(size=arguments.size),
        )
        plain = config.model_copy(update={"loss": LossConfig(style_weight=STYLE_WEIGHT, checkerboard_weight=0.0)})
        networks = [build_network(architecture, alpha).train() for _ in range(4)]
        for network in networks[1:]:
            network.load_state_dict(networks[0].state_dict())
        textbook = textbook_step(networks[0], config, arguments.weights, grams)
        first = (
            gradient(networks[0], textbook, photos),
            gradient(networks[1], our_step(networks[1], plain, vgg, grams), photos),
        )
        cosine = F.cosine_similarity(*first, dim=0).item()
        steps = {
            "textbook": partial(textbook, photos),
            "vgg16": partial(our_step(networks[2], config, vgg, targets[vgg]), photos),
            "narrow": partial(our_step(networks[3], config, narrow, targets[narrow]), photos),
        }
        work = {name: operations(step) for name, step in steps.items()}
        seconds = interleaved(steps, arguments.rounds)
        rates = {name: matrix_rate(torch.float32 if name == "textbook" else dtype) for name in steps}
        print(f"{architecture} {alpha:g}: gradient cosine {cosine:.4f}")
        for name, times in seconds.items():
            floor = work[name] / rates[name]
            print(
                f"  {name}: {4 / median(times):.2f} images/s, {ratio(seconds['textbook'], times)}, "
                f"{work[name] / 1e9:.1f} GFLOP, {median(times) / floor:.1f} times the floor of {floor * 1e3:.0f} ms"
            )


if __name__ == "__main__":
    main()

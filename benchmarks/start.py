"""Learns initial weights from which `small` 0.3 learns a new style in few steps (Reptile: Nichol et al., arXiv:1803.02999).

    python benchmarks/start.py --photos DATASET --style FILE... --out tinystyle/nets/starts/small-0.3.safetensors

Again and again, networks start from the weights, each learns a style of its own for some steps, and the weights move
towards the mean of theirs. Styles are crops of the paintings FILE, of the built-in styles and of photos, recolored,
mixed, blurred. DATASET was made by `tinystyle ingest --size 256`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import monotonic

import torch
from distill_images import SIDE, Images
from stack import Plan, References, Stack, Targets, photo_batches, reference_squares, train
from torch.utils.data import DataLoader

from tinystyle.config import NetworkConfig, OptimizerConfig
from tinystyle.model_file import load_model, save_model
from tinystyle.nets import build_network
from tinystyle.nets.perceptual import load_perceptual_network

MATCHED = ("out.norm.weight", "out.norm.bias")
"""Every run sets these to match the colors of its style."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--perceptual", default="narrow", help="loss network")
    parser.add_argument("--weights", help="of the loss network")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"), help="of the loss network")
    parser.add_argument("--go-on", type=Path, help="weights to go on from")
    parser.add_argument("--style", action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=36_000)
    parser.add_argument("--groups", type=int, default=4, help="of four styles, that are learned side by side")
    parser.add_argument("--steps", type=int, default=64, help="steps for each style")
    parser.add_argument("--batch", type=int, default=4, help="photos to a step")
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    device = torch.device(arguments.device)
    network = load_perceptual_network(arguments.perceptual, arguments.weights)
    network.prepare(device, getattr(torch, arguments.dtype))
    images = Images(arguments.photos, arguments.style, seed=0, groups=1)
    drawn = iter(DataLoader(images, batch_size=None, num_workers=arguments.workers))
    references = References.measure(network, reference_squares(images.shards, SIDE).to(device))
    batches = photo_batches(images.shards, SIDE, 0, arguments.batch, arguments.workers)
    network_of_start = load_model(arguments.go_on).network if arguments.go_on else build_network("small", 0.3)
    start = {name: value.float().to(device) for name, value in network_of_start.state_dict().items()}
    rates = OptimizerConfig(steps=arguments.steps, learning_rate=arguments.rate, warmup_steps=arguments.steps // 4)
    began, rounds = monotonic(), 0
    while (done := (monotonic() - began) / arguments.seconds) < 1:
        styles = torch.cat([next(drawn)[2] for _ in range(arguments.groups)]).to(device)
        networks = []
        for style in styles:
            networks.append(build_network("small", 0.3))
            networks[-1].load_state_dict(start)
            networks[-1].match_output(style[None].cpu())
        stack = Stack(networks, device)
        targets = Targets(network, styles, references)
        outputs: list[torch.Tensor] = []
        for _ in train(stack, targets, batches, Plan(rates), paint=outputs.append):
            del outputs[:-1]
        learned = stack.plain()
        finite = torch.stack([weight.flatten(1).isfinite().all(1) for weight in learned.values()]).all(0)
        for name, weight in start.items():
            if name not in MATCHED:
                weight.lerp_(learned[name][finite].mean(0), max(0.05, (0.5 if arguments.go_on else 1) * (1 - done)))
        rounds += 1
        if rounds % 5 == 0 or rounds == 1:
            with torch.no_grad():
                _, style = targets.losses(outputs[-1], next(batches).to(device).float())
            print(
                json.dumps({"rounds": rounds, "seconds": round(monotonic() - began), "style": style.mean().item()}),
                flush=True,
            )
            save(start, arguments.out)
    save(start, arguments.out)
    print(f"{rounds} rounds of {len(styles)} styles and {arguments.steps} steps", flush=True)


def save(start: dict[str, torch.Tensor], out: Path) -> None:
    network = build_network("small", 0.3)
    network.load_state_dict(start)
    save_model(network, out, NetworkConfig(architecture="small", alpha=0.3), {}, dtype=torch.float16)


if __name__ == "__main__":
    main()

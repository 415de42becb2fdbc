"""Distills VGG16 into the loss network `narrow`, whose weights come with the package.

    python benchmarks/distill.py --photos DATASET --weights VGG16_FILE --style FILE... --out FOLDER [--steps 14000]

DATASET was made by `tinystyle ingest --size 384`. The network learns, layer by layer, the principal components of
VGG16's features and their Gram matrices, on training photos, crops of the paintings FILE, noise, mixtures of them,
blurred, noisy and recolored, and on the outputs of small style networks that are trained against it in the meantime: if
one of them found pictures that please `narrow` and not VGG16, `narrow` learns from them. FOLDER/state.pt, written every
500 steps, is continued from; FOLDER/narrow.safetensors has the weights.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from distill_images import PAINTED, Images
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tinystyle.nets import build_network
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget, gram_matrix
from tinystyle.nets.perceptual.narrow import COMPONENTS, Narrow
from tinystyle.nets.perceptual.penalties import saturation_loss

PAINTERS = 3
"""Style networks that are trained in turn."""
STATISTICS_STEPS = 2000
"""Steps after which the batch norms, which only help to learn, keep their statistics."""
PAINTERS_FROM = 400
"""Step from which batches have outputs of a painter."""
DECAY_FROM = 0.7
SAVE_EVERY = 250
CREDIT = {
    "source": "distilled from VGG16 (Simonyan and Zisserman, arXiv:1409.1556; University of Oxford), by benchmarks/distill.py",
    "license": "CC BY 4.0, as VGG16's weights",
}


class Painter:
    """A small style network in training against the loss network that is being distilled."""

    def __init__(self, images: Images, narrow: PerceptualNetwork) -> None:
        random = images.random
        style = images.changed(images.some(images.styles, 1), images.some(images.styles, 1))
        self.network = build_network("small", float(random.choice([0.2, 0.3, 0.5]))).train()
        self.network.match_output(style)
        self.target = StyleTarget.measure(
            narrow, style, list(images.some(images.photos, 8)[:, None]), sliced_share=0.25
        )
        self.losses = Losses(narrow, self.target)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=6e-3)
        self.style_weight = float(np.exp(random.uniform(np.log(2), np.log(30))))
        self.steps = self.left = int(np.exp(random.uniform(np.log(100), np.log(1200))))

    def step(self, photos: Tensor) -> Tensor:
        """Train on photos and return what it makes of them."""
        self.optimizer.param_groups[0]["lr"] = 6e-3 * (0.01 + 0.99 * self.left / self.steps)
        self.left -= 1
        output, preactivation = self.network.forward_with_preactivation(photos)
        content_b, style_b = self.losses(output, photos)
        loss = (content_b + self.style_weight * style_b + 10 * saturation_loss(preactivation)).mean()
        parameters = list(self.network.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        if not torch.isfinite(loss):
            self.left = 0
        return output.detach().nan_to_num()


def convolutions(narrow: Narrow) -> list[nn.Conv2d]:
    """Those that a ReLU follows."""
    return [narrow.first, *(each for block in narrow.blocks.values() for each in block)]


class NarrowWithNorms(Narrow):
    """`Narrow` while it learns: its heads have outputs of unit scale, since weights of hundreds would take forever.

    Args:
        rows: by layer, the principal components, (components, channels), each as long as its root mean square.
    """

    def __init__(self, rows: dict[str, Tensor]) -> None:
        super().__init__()
        # Without a norm behind each convolution, the deep layers learn too slowly.
        self.norms = nn.ModuleList([nn.BatchNorm2d(convolution.out_channels) for convolution in convolutions(self)])
        for convolution, norm in zip(convolutions(self), self.norms, strict=True):
            convolution.register_forward_hook(lambda _, __, out, norm=norm: norm(out))
        self.scales: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            self.scales[name] = rows[name].norm(dim=1).repeat(head.out_channels // len(rows[name]))
            head.register_forward_hook(lambda _, __, out, name=name: out * self.scales[name].view(1, -1, 1, 1))

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """The weights of a `Narrow` that computes the same."""
        plain = Narrow()
        plain.load_state_dict(
            {name: value for name, value in self.state_dict().items() if not name.startswith("norms")}
        )
        for convolution, norm in zip(convolutions(plain), self.norms, strict=True):
            scale_c = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            convolution.weight.mul_(scale_c.view(-1, 1, 1, 1))
            convolution.bias.sub_(norm.running_mean).mul_(scale_c).add_(norm.bias)
        for name, head in plain.heads.items():
            head.weight.mul_(self.scales[name].view(-1, 1, 1, 1))
            head.bias.mul_(self.scales[name])
        return {name: value.half().contiguous() for name, value in plain.state_dict().items()}


@torch.no_grad()
def components(teacher: PerceptualNetwork, batches: list[Tensor]) -> dict[str, Tensor]:
    """Return, by layer, the orthogonal rows (components, channels) along which the features have most of their energy.

    The length of a row is the root mean square of the features along it.
    """
    moments: dict[str, Tensor] = {}
    positions: dict[str, int] = {}
    for batch in batches:
        for name, x_bchw in teacher(batch, COMPONENTS).items():
            x_nc = x_bchw.float().permute(0, 2, 3, 1).flatten(0, 2)
            moments[name] = moments.get(name, 0) + (x_nc.mT @ x_nc).double()
            positions[name] = positions.get(name, 0) + len(x_nc)
    found = {}
    for name, moment in moments.items():
        energy, vectors = torch.linalg.eigh(moment)
        size = (energy / positions[name]).clamp_min(0).sqrt()
        found[name] = (vectors * size)[:, -COMPONENTS[name] :].mT.flip(0).float().contiguous()
        print(f"{name}: {COMPONENTS[name]} components hold {energy[-COMPONENTS[name] :].sum() / energy.sum():.4f}")
    return found


def errors(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (layers,) relative squared errors of the features and of their Gram matrices."""
    of_features, of_grams = [], []
    for name, x_bchw in teacher.items():
        energy_b = x_bchw.square().mean((1, 2, 3))
        floor = 0.1 * energy_b.mean()
        of_features.append(((student[name] - x_bchw).square().mean((1, 2, 3)) / (energy_b + floor)).mean())
        gram_bcc = gram_matrix(x_bchw)
        size_b = gram_bcc.square().mean((1, 2))
        of_grams.append(
            ((gram_matrix(student[name]) - gram_bcc).square().mean((1, 2)) / (size_b + 0.1 * size_b.mean())).mean()
        )
    return torch.stack(of_features), torch.stack(of_grams)


@torch.no_grad()
def wanted(teacher: PerceptualNetwork, rows: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """Return the teacher's components of a batch, relu1_2 at the positions at which `Narrow` has it."""
    result = {}
    for name, x_bchw in teacher(images, COMPONENTS).items():
        x_bhwk = x_bchw.float().permute(0, 2, 3, 1) @ F.normalize(rows[name], dim=1).mT
        if name == "relu1_2":
            batch, height, width, count = x_bhwk.shape
            x_bhwk = x_bhwk.view(batch, height // 2, 2, width // 2, 2, count).transpose(2, 3)
            x_bhwk = x_bhwk.reshape(batch, height // 2, 2 * width, count)
        result[name] = x_bhwk.permute(0, 3, 1, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--style", action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=14_000)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="in which convolutions compute"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    place = arguments.out / "state.pt"
    state: dict[str, Any] = torch.load(place, weights_only=False) if place.exists() else {}
    first = state.get("step", 0)
    torch.manual_seed(first)

    images = Images(arguments.photos, arguments.style, seed=first)
    teacher = load_perceptual_network("vgg16", arguments.weights)
    teacher.prepare(torch.device("cpu"), getattr(torch, arguments.dtype))
    rows = state.get("rows") or components(teacher, [images.batch() for _ in range(60)])
    narrow = NarrowWithNorms(rows)
    narrow.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(narrow.parameters(), lr=arguments.rate, fused=True)
    if state:
        narrow.load_state_dict(state["narrow"])
        optimizer.load_state_dict(state["optimizer"])
    train(narrow, optimizer, Lesson(images, teacher, rows), first, arguments)
    save_file(narrow.folded(), arguments.out / "narrow.safetensors", CREDIT)


class Lesson:
    """Draws images, painters' outputs among them, with what VGG16 says of them."""

    def __init__(self, images: Images, teacher: PerceptualNetwork, rows: dict[str, Tensor]) -> None:
        self.images, self.teacher, self.rows = images, teacher, rows
        self.bf16 = teacher.dtype == torch.bfloat16
        self.painters: list[Painter] = []

    def draw(self, narrow: Narrow, painters: bool) -> tuple[Tensor, dict[str, Tensor]]:
        batch = self.images.batch()
        if painters:
            narrow.eval()
            self.painters = [painter for painter in self.painters if painter.left]
            while len(self.painters) < PAINTERS:
                self.painters.append(Painter(self.images, narrow))
            self.painters.append(self.painters.pop(0))
            photos = self.images.some(self.images.photos, PAINTED).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                batch = torch.cat([batch, self.painters[-1].step(photos).float()])
        batch = batch.contiguous(memory_format=torch.channels_last)
        return batch, wanted(self.teacher, self.rows, batch)


def train(
    narrow: NarrowWithNorms, optimizer: torch.optim.Optimizer, lesson: Lesson, first: int, arguments: argparse.Namespace
) -> None:
    """Learn from step `first` on; the rate warms up, stays, and falls to 0 over the last steps."""
    rate: Callable[[int], float] = lambda step: (  # noqa: E731
        arguments.rate * min(1, (step + 1) / 200) * min(1, max(0.002, (1 - step / arguments.steps) / (1 - DECAY_FROM)))
    )
    sums, began = torch.zeros(2, len(COMPONENTS)), monotonic()
    for step in range(first, arguments.steps):
        batch, target = lesson.draw(narrow, step >= PAINTERS_FROM)
        narrow.train(step < STATISTICS_STEPS)
        with torch.autocast("cpu", torch.bfloat16, enabled=lesson.bf16):
            features = narrow(batch, COMPONENTS)
        of_features, of_grams = errors({name: x_bchw.float() for name, x_bchw in features.items()}, target)
        loss = of_features.sum() + of_grams.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(narrow.parameters(), 5.0)
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.step()
        sums += torch.stack([of_features, of_grams]).detach()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == arguments.steps:
            means = (sums / ((step - first) % SAVE_EVERY + 1)).tolist()
            line = {"step": step + 1, "features": means[0], "grams": means[1], "seconds": round(monotonic() - began)}
            line = {
                name: [round(x, 4) for x in value] if isinstance(value, list) else value for name, value in line.items()
            }
            print(json.dumps(line), flush=True)
            with (arguments.out / "progress.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            sums.zero_()
            assert math.isfinite(loss.item()), "the loss is not finite"
            saved = {
                "step": step + 1,
                "rows": lesson.rows,
                "narrow": narrow.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            torch.save(saved, arguments.out / "state.tmp")
            (arguments.out / "state.tmp").replace(arguments.out / "state.pt")
            if step + 1 == round(arguments.steps * DECAY_FROM):
                torch.save(saved, arguments.out / "stable.pt")
            save_file(narrow.folded(), arguments.out / "narrow.safetensors", CREDIT)


if __name__ == "__main__":
    main()

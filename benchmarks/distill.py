"""Distills VGG16 into the loss network `narrow`, whose weights come with the package.

    python benchmarks/distill.py --photos DATASET --weights VGG16_FILE --style FILE... --out FOLDER [--seconds N]

DATASET was made by `tinystyle ingest`. The network learns, layer by layer, the principal components of VGG16's features,
their Gram matrices, and VGG16's gradient with respect to the image, on training photos, crops of the paintings FILE,
noise, mixtures of them, blurred, noisy and recolored, and on the outputs of small style networks that are trained
against it in the meantime: if one of them found pictures that please `narrow` and not VGG16, `narrow` learns from them.
FOLDER/state.pt, written every 500 steps, is continued from; FOLDER/narrow.safetensors has the weights.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from distill_images import SPARE, Images, Painters
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.narrow import COMPONENTS, Narrow

PAINTERS = 3
"""Stacks of style networks that are trained in turn."""
STATISTICS = 0.1
"""Share of the time after which the batch norms, which only help to learn, keep their statistics, and from which the
gradient is learned too."""
PAINTERS_FROM = 400
"""Step from which batches have outputs of painters."""
KEPT = 400
"""Outputs that they are drawn from."""
DECAY_FROM = 0.5
SAVE_EVERY = 500
CREDIT = {
    "source": "distilled from VGG16 (Simonyan and Zisserman, arXiv:1409.1556; University of Oxford), by benchmarks/distill.py",
    "license": "CC BY 4.0, as VGG16's weights",
}


class NarrowWithNorms(Narrow):
    """`Narrow` while it learns: its heads have outputs of unit scale, since weights of hundreds would take forever.

    Args:
        rows: by layer, the principal components, (components, channels), each as long as its root mean square.
    """

    def __init__(self, rows: dict[str, Tensor]) -> None:
        super().__init__()
        # Without a norm behind each convolution, the deep layers learn too slowly.
        self.norms = nn.ModuleList([nn.BatchNorm2d(convolution.out_channels) for convolution in self.convolutions()])
        for convolution, norm in zip(self.convolutions(), self.norms, strict=True):
            convolution.register_forward_hook(lambda _, __, out, norm=norm: norm(out))
        self.scales = {name: row.norm(dim=1) for name, row in rows.items()}
        for name, head in self.heads.items():
            head.register_forward_hook(lambda _, __, out, name=name: out * self.scales[name].view(1, -1, 1, 1))

    def convolutions(self) -> list[nn.Module]:
        return [convolution for block in self.blocks.values() for convolution in block.children()]

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """The weights of a `Narrow` that computes the same."""
        weights = {name: value.clone() for name, value in self.state_dict().items() if not name.startswith("norms")}
        names = [name.removesuffix(".weight") for name in weights if name.startswith("blocks") and "weight" in name]
        for name, norm in zip(names, self.norms, strict=True):
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_var is not None
            assert norm.running_mean is not None
            scale_c = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weights[f"{name}.weight"] *= scale_c.view(-1, 1, 1, 1)
            weights[f"{name}.bias"] = (weights[f"{name}.bias"] - norm.running_mean) * scale_c + norm.bias
        for name, scale_c in self.scales.items():
            weights[f"heads.{name}.weight"] *= scale_c.view(-1, 1, 1, 1)
            weights[f"heads.{name}.bias"] *= scale_c
        return {name: value.half().contiguous().cpu() for name, value in weights.items()}


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


def wanted(teacher: PerceptualNetwork, rows: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """Return the teacher's components of a batch."""
    return {
        name: (x_bchw.float().permute(0, 2, 3, 1) @ F.normalize(rows[name], dim=1).mT).permute(0, 3, 1, 2)
        for name, x_bchw in teacher(images, COMPONENTS).items()
    }


def pulls(features: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return gradients with respect to features of one of the losses by which one image becomes like the next.

    The loss of an image is, at random, the content loss or the Gram distance of one of the layers; its number is the
    second result, (batch,).
    """
    leaves = {name: x_bchw.detach().requires_grad_() for name, x_bchw in features.items()}
    content = leaves[Narrow.content_layer]
    terms = [(content - content.detach().roll(1, 0)).square().mean((1, 2, 3))]
    for x_bchw in leaves.values():
        gram_bcc = gram_matrix(x_bchw)
        terms.append((gram_bcc - gram_bcc.detach().roll(1, 0)).square().mean((1, 2)))
    kind_b = torch.randint(len(terms), (len(content),), device=content.device)
    loss = torch.stack(terms).gather(0, kind_b[None]).sum()
    return list(torch.autograd.grad(loss, list(leaves.values()))), kind_b


def gradient_errors(of_student: Tensor, of_teacher: Tensor) -> Tensor:
    """Return (batch,) relative squared errors of gradients with respect to images."""
    energy_b = of_teacher.square().mean((1, 2, 3))
    return (of_student - of_teacher).square().mean((1, 2, 3)) / (energy_b + 1e-30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--style", action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=36_000, help="how long to learn, in all")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--groups", type=int, default=1, help="five images each, in a batch")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="in which VGG16's convolutions compute"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    place = arguments.out / "state.pt"
    device = torch.device(arguments.device)
    state: dict[str, Any] = torch.load(place, weights_only=False, map_location=device) if place.exists() else {}
    torch.manual_seed(state.get("step", 0))
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True

    images = Images(arguments.photos, arguments.style, seed=state.get("step", 0), groups=arguments.groups)
    batches = iter(DataLoader(images, batch_size=None, num_workers=arguments.workers, pin_memory=device.type == "cuda"))
    teacher = load_perceptual_network("vgg16", arguments.weights)
    teacher.prepare(device, getattr(torch, arguments.dtype))
    rows = state.get("rows") or components(teacher, [next(batches)[0].to(device) for _ in range(60)])
    narrow = NarrowWithNorms(rows).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(narrow.parameters(), lr=arguments.rate, fused=True)
    if state:
        narrow.load_state_dict(state["narrow"])
        optimizer.load_state_dict(state["optimizer"])
    train(narrow, optimizer, Lesson(batches, teacher, rows, device), state, arguments)


class Lesson:
    """Draws images, painters' outputs among them."""

    def __init__(
        self, batches: Iterator[tuple[Tensor, Tensor, Tensor]], teacher: PerceptualNetwork, rows: dict[str, Tensor],
        device: torch.device,
    ) -> None:  # fmt: skip
        self.batches, self.teacher, self.rows, self.device = batches, teacher, rows, device
        self.random = np.random.default_rng()
        self.painters: list[Painters] = []
        self.painted: list[Tensor] = []

    def draw(self, narrow: Narrow, step: int) -> Tensor:
        """Return a batch; every second time, the painters learn a step, and their outputs are kept for later batches."""
        batch, photos, styles = (tensor.to(self.device, non_blocking=True) for tensor in next(self.batches))
        if step < PAINTERS_FROM:
            return batch.contiguous(memory_format=torch.channels_last)
        if step % 2 == 0:
            narrow.eval()
            self.painters = [painter for painter in self.painters if painter.left]
            while len(self.painters) < PAINTERS:
                references = torch.cat([next(self.batches)[1] for _ in range(4)]).to(self.device)
                self.painters.append(Painters(narrow, references, styles, self.random))
            self.painters.append(self.painters.pop(0))
            self.painted = [*self.painted[-KEPT:], *self.painters[-1].step(photos).split(1)]
        chosen = self.random.integers(len(self.painted), size=SPARE * len(photos))
        batch = torch.cat([batch, *(self.painted[index] for index in chosen)])
        return batch.contiguous(memory_format=torch.channels_last)


def train(
    narrow: NarrowWithNorms,
    optimizer: torch.optim.Optimizer,
    lesson: Lesson,
    state: dict[str, Any],
    arguments: argparse.Namespace,
) -> None:
    """Learn on; the rate warms up, stays, and falls to 0 over the last part of the time."""
    step, before, began = state.get("step", 0), state.get("seconds", 0.0), monotonic()
    sums, count = torch.zeros(3, 5, device=lesson.device), 0
    while (done := (before + monotonic() - began) / arguments.seconds) < 1:
        batch = lesson.draw(narrow, step)
        statistics = done < STATISTICS
        narrow.train(statistics)
        batch.requires_grad_(not statistics)
        target = wanted(lesson.teacher, lesson.rows, batch)
        with torch.autocast(lesson.device.type, torch.bfloat16, enabled=lesson.teacher.dtype == torch.bfloat16):
            features = {name: x_bchw.float() for name, x_bchw in narrow(batch, COMPONENTS).items()}
        loss = torch.zeros((), device=lesson.device)
        if not statistics:
            pull, kind_b = pulls(target)
            (of_teacher,) = torch.autograd.grad(list(target.values()), batch, pull)
            (of_student,) = torch.autograd.grad(list(features.values()), batch, pull, create_graph=True)
            error_b = gradient_errors(of_student, of_teacher)
            loss = loss + error_b.clamp_max(10).mean()
            for kind in range(5):
                sums[2, kind] += (error_b.detach() * (kind_b == kind)).sum() / (kind_b == kind).sum().clamp_min(1)
        of_features, of_grams = errors(features, {name: x_bchw.detach() for name, x_bchw in target.items()})
        loss = loss + of_features.sum() + of_grams.sum()
        optimizer.zero_grad()
        loss.backward(inputs=list(narrow.parameters()))
        nn.utils.clip_grad_norm_(narrow.parameters(), 5.0)
        optimizer.param_groups[0]["lr"] = (
            arguments.rate * min(1, (step + 1) / 200) * min(1, max(0.002, (1 - done) / (1 - DECAY_FROM)))
        )
        optimizer.step()
        step, count = step + 1, count + 1
        sums[:2, :4] += torch.stack([of_features, of_grams]).detach()
        if step % SAVE_EVERY == 0:
            seconds = round(before + monotonic() - began, 1)
            means = [[round(value, 4) for value in row] for row in (sums / count).tolist()]
            line = {"step": step, "features": means[0][:4], "grams": means[1][:4], "gradients": means[2]}
            print(json.dumps({**line, "seconds": seconds}), flush=True)
            with (arguments.out / "progress.jsonl").open("a") as file:
                file.write(json.dumps({**line, "seconds": seconds}) + "\n")
            sums.zero_()
            count = 0
            assert math.isfinite(loss.item()), "the loss is not finite"
            save(narrow, optimizer, lesson, step, seconds, arguments.out)
    save(narrow, optimizer, lesson, step, arguments.seconds, arguments.out)


def save(
    narrow: NarrowWithNorms, optimizer: torch.optim.Optimizer, lesson: Lesson, step: int, seconds: float, out: Path
) -> None:
    state = {"step": step, "seconds": seconds, "rows": lesson.rows, "narrow": narrow.state_dict()}
    torch.save({**state, "optimizer": optimizer.state_dict()}, out / "state.tmp")
    (out / "state.tmp").replace(out / "state.pt")
    save_file(narrow.folded(), out / "narrow.safetensors", CREDIT)


if __name__ == "__main__":
    main()

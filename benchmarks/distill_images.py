"""The images that a loss network is distilled on: photographs, paintings and noise, mixed and changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stack import Plan, References, Stack, Targets, train
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset, get_worker_info

from tinystyle.config import OptimizerConfig
from tinystyle.data.photos import photo_tensor, trained_on
from tinystyle.data.shards import ShardDataset
from tinystyle.nets import build_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.styles import BUILTIN_STYLES, load_style

SIDE = 128
"""Of the images, in pixels; relu4_3 sees 92."""
PHOTOS, PAINTINGS, NOISES = 3, 1, 1
"""Images of each kind in a group."""
SPARE = 4
"""Photos, and styles, for the painters: one style for each network of them."""


class Images(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Draws images to learn from, photos and styles; all are (batch, 3, SIDE, SIDE), styles twice as large."""

    def __init__(self, dataset: Path, styles: list[str], seed: int, groups: int) -> None:
        self.shards = ShardDataset(dataset)
        self.photos = [self.shards.read(index) for index in trained_on(self.shards)]
        self.styles = [load_style(style, 768) for style in (*styles, *(f"builtin:{name}" for name in BUILTIN_STYLES))]
        self.seed, self.groups = seed, groups
        self.random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        key = (self.seed, worker.id if worker else 0)
        self.random = np.random.default_rng(key)
        torch.manual_seed(int(self.random.integers(2**62)))
        while True:
            images = torch.cat([self.group() for _ in range(self.groups)])
            styles = [
                self.changed(self.crop(one, 2 * SIDE), self.crop(other, 2 * SIDE)) for one, other in self._pairs()
            ]
            yield images, self.some(self.photos, SPARE), torch.cat(styles)

    def _pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each pair, the first is a style image, and at times a photo."""
        kinds = [self.photos if self.random.random() < 0.3 else self.styles for _ in range(SPARE)]
        return [tuple(kind[int(self.random.integers(len(kind)))] for _ in range(2)) for kind in kinds]  # type: ignore[misc]

    def crop(self, pixels: np.ndarray, out: int = SIDE) -> Tensor:
        """Cut out a square of random scale and place, mirrored half of the time."""
        height, width = pixels.shape[:2]
        side = round(float(np.exp(self.random.uniform(np.log(SIDE * 0.7), np.log(min(height, width))))))
        top, left = (int(self.random.integers(0, length - side, endpoint=True)) for length in (height, width))
        cut = Image.fromarray(pixels).resize((out, out), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        crop = photo_tensor(np.asarray(cut))
        return crop.flip(3) if self.random.random() < 0.5 else crop

    def some(self, pictures: list[np.ndarray], count: int) -> Tensor:
        """Crops of random pictures."""
        return torch.cat([self.crop(pictures[int(self.random.integers(len(pictures)))]) for _ in range(count)])

    def noise(self) -> Tensor:
        """Noise with a random spectrum, contrast and color."""
        spectrum = torch.fft.rfftfreq(SIDE)[None] + torch.fft.fftfreq(SIDE).abs()[:, None]
        shaped = torch.randn(1, 3, SIDE, SIDE // 2 + 1) / (spectrum + 1 / SIDE) ** self.random.uniform(0, 2)
        field = torch.fft.irfft2(shaped.to(torch.complex64), s=(SIDE, SIDE))
        field = field / field.std() * self.random.uniform(0, 90)
        return (field + torch.rand(1, 3, 1, 1) * 255).clamp(0, 255)

    def weave(self, size: int) -> Tensor:
        """A fine pattern with random periods, in random colors: what a network paints that nobody stops."""
        rows, columns = (int(self.random.integers(1, 9)) for _ in range(2))
        tile = torch.randn(1, int(self.random.choice([1, 3])), rows, columns).repeat(1, 1, size, size)
        return tile[..., :size, :size] * torch.rand(1, 3, 1, 1)

    def changed(self, image_13hw: Tensor, other_13hw: Tensor) -> Tensor:
        """Mix, blur, recolor or add noise, each with some probability."""
        random, image = self.random, image_13hw
        if random.random() < 0.15:
            image = torch.lerp(image, other_13hw, float(random.uniform(0.1, 0.9)))
        if random.random() < 0.2:
            factor = float(random.uniform(1.5, 4))
            small = F.interpolate(image, scale_factor=1 / factor, mode="bilinear", antialias=True)
            image = F.interpolate(small, size=image.shape[-2:], mode="bicubic")
        if random.random() < 0.35:
            mix = torch.eye(3) + torch.randn(3, 3) * float(random.uniform(0, 0.4))
            mean = image.mean((2, 3), keepdim=True)
            centered = torch.einsum("dc,bchw->bdhw", mix, image - mean) * float(random.uniform(0.3, 1.8))
            image = centered + (mean + torch.randn(1, 3, 1, 1) * 25).clamp(0, 255)
        if random.random() < 0.2:
            image = image + torch.randn_like(image) * float(random.uniform(1, 30))
        if random.random() < 0.25:
            image = image + self.weave(image.shape[-1]) * float(random.uniform(1, 40))
        return image.clamp(0, 255)

    def group(self) -> Tensor:
        """PHOTOS + PAINTINGS + NOISES images."""
        images = [*self.some(self.photos, PHOTOS), *self.some(self.styles, PAINTINGS)]
        images = [image[None] for image in images] + [self.noise() for _ in range(NOISES)]
        others = [images[int(self.random.integers(len(images)))] for _ in images]
        return torch.cat([self.changed(one, other) for one, other in zip(images, others, strict=True)])


class Painters:
    """Small style networks in training, for one style each, against the loss network that is being distilled."""

    def __init__(
        self, narrow: PerceptualNetwork, references: Tensor, styles: Tensor, random: np.random.Generator
    ) -> None:
        alpha = float(random.choice([0.2, 0.3, 0.5]))
        networks = [build_network("small", alpha) for _ in styles]
        for network, style in zip(networks, styles, strict=True):
            network.match_output(style[None].cpu())
        steps = int(np.exp(random.uniform(np.log(100), np.log(1500))))
        self.left = steps
        self.painted = styles
        self.photos: list[Tensor] = []
        self.stack = Stack(networks, styles.device)
        targets = Targets(narrow, styles, References.measure(narrow, references))
        self.training = train(self.stack, targets, self._photos(), Plan(OptimizerConfig(steps=steps)), paint=self._keep)

    def _photos(self) -> Iterator[Tensor]:
        while True:
            yield self.photos.pop()

    def _keep(self, output: Tensor) -> None:
        self.painted = output.detach().flatten(0, 1)

    def step(self, photos: Tensor) -> Tensor:
        """Train on photos, and return what the networks have made of them."""
        self.photos.append(photos)
        self.left -= 1
        if next(self.training, None) is None:
            self.left = 0
        return self.painted.nan_to_num(128.0)

"""Quality and cost of a model file: all metrics of `tinystyle evaluate`, and their tables.

Everything is computed on the CPU in float32, so that all metrics except the latency are the same on every machine.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from tinystyle.config import DataConfig, LossConfig
from tinystyle.coreml import IOS, VARIANTS
from tinystyle.coreml.exporter.convert import export_model
from tinystyle.data.addresses import public
from tinystyle.data.ingest import Progress, dataset_for_training, is_dataset
from tinystyle.data.photos import photo_tensor
from tinystyle.data.shards import ShardDataset, evenly_spaced
from tinystyle.errors import UserError
from tinystyle.evaluation.criterion import Criterion, Scores, paint_measure
from tinystyle.evaluation.paint import PaintMeasure
from tinystyle.evaluation.references import reference_statistics
from tinystyle.evaluation.rows import QualityRow, beside_trivial, judge_photos
from tinystyle.model_file import LoadedModel, load_model
from tinystyle.nets.cost import network_cost
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.losses import Losses, StyleTarget
from tinystyle.nets.perceptual.references import ReferenceStatistics
from tinystyle.styles import Style

__all__ = ["Export", "ModelReport", "evaluate_model", "export_sizes", "latency_ms", "second_measure", "second_network"]

WIDTH, HEIGHT = 640, 480
WARM_UPS, REPEATS = 2, 9
SECOND_NETWORK = "efficientnet-lite0"
"""Network for a second measurement of paint, which reveals a network that has overfitted to its loss network."""


@dataclass(frozen=True)
class Export:
    """Format and size of one Core ML file."""

    format: str
    bits: int
    ios: int
    """Oldest iOS that was requested, as `export_model` accepts it."""
    bytes: int


@dataclass(frozen=True)
class ModelReport:
    """The quality of a model on photos, and its cost at 640x480."""

    model: str
    photos: str
    style: str
    """Model, photos and style are stored as given."""
    name: str
    """Architecture and alpha."""
    count: int
    """Number of photos evaluated."""
    short_side: int
    """Short side of the photos, in pixels."""
    held_out: bool
    """Whether only held-out photos, which training never saw, were used; otherwise all photos."""
    perceptual: str
    second: str | None
    """Network, not used in training, for second3 and second4; None if there is none (see `second_network`)."""
    style_size: int
    content_weight: float
    style_weight: float
    rows: list[QualityRow]
    """The rows of `identity`, `color match` and the model."""
    weights: int
    macs: int
    activation_bytes: int
    """Multiply-accumulates and activation bytes are per 640x480 image, by the conventions of `nets.cost`."""
    latency_ms: float
    threads: int
    """Number of CPU threads used to measure the latency."""
    exports: list[Export]
    """Core ML files in every format, number of bits and iOS version at 640x480; empty if not requested."""

    scores: list[Scores] = field(default_factory=list, repr=False)
    """Scores of the model on each photo, in a fixed order of photos; not part of `as_dict`."""

    def as_dict(self) -> dict[str, Any]:
        """Return all fields but `scores`, as JSON types."""
        return {name: value for name, value in asdict(self).items() if name != "scores"}

    def tables(self) -> Iterator[Table]:
        """Yield the tables: losses and paint; artifacts; cost of the network; sizes of its exports, if any."""
        photos = f"{self.count} {'held-out ' if self.held_out else ''}photos"
        title = f"{photos}, short side {self.short_side}, {self.perceptual}"
        legend = (
            f"{_PAINT_LEGEND} total: {self.content_weight:g} content + {self.style_weight:g} style. Lower is better."
        )
        losses = Table(title=title, caption=legend, caption_justify="left")
        losses.add_column("", no_wrap=True)
        names = ["content", "style", "total", "paint3", "paint4", "score"]
        if self.second:
            names += ["second3", "second4"]
        for name in names:
            losses.add_column(name, justify="right")
        for row in self.rows:
            losses.add_row(row.name, *(f"{getattr(row, name):.3f}" for name in names))
        yield losses
        artifacts = Table(title="Artifacts", caption=_ARTIFACT_LEGEND, caption_justify="left")
        artifacts.add_column("", no_wrap=True)
        for column in ("bad blocks", "worst photo", "checkerboard", "border error", "flicker"):
            artifacts.add_column(column, justify="right")
        for row in self.rows:
            cells = [f"{row.bad_blocks:.2%}", f"{row.worst_photo:.2%}", f"{row.checkerboard:.2f}"]
            cells += [f"{round(row.border_error, 2) + 0.0:.2f}", f"{row.flicker:.2f}"]  # avoid -0.00
            artifacts.add_row(row.name, *cells)
        yield artifacts
        cost = Table("", title=f"{self.name} at {WIDTH}x{HEIGHT}", show_header=False)
        cost.add_column(justify="right")
        cost.add_row("weights", f"{self.weights:,}")
        cost.add_row("multiply-accumulates", f"{self.macs:,}")
        cost.add_row("activation bytes moved, float16", f"{self.activation_bytes:,}")
        threads = "1 CPU thread" if self.threads == 1 else f"{self.threads} CPU threads"
        cost.add_row(f"latency here, {threads}, median of {REPEATS}", f"{self.latency_ms:.0f} ms")
        yield cost
        if self.exports:
            yield _export_table(self.exports)


_PAINT_LEGEND = (
    "paint3, paint4: distance to the style image; the photo itself has 1. score: content + 2 (paint3 + paint4). "
    "second3, second4: paint3 and paint4 on a network that is not used in training."
)
_ARTIFACT_LEGEND = (
    "bad blocks: black, white or flat where the photo is not. checkerboard: energy at periods of 2 and 4 pixels; the "
    "photo itself has 1. border error: how much the border differs from the interior, in gray levels. flicker: change "
    "when the view shifts by a pixel or two, with noise, or brighter by 3%, in gray levels. Lower is better."
)


def _export_table(exports: Sequence[Export]) -> Table:
    table = Table("Core ML, bytes", title=f"Exports at {WIDTH}x{HEIGHT}")
    sizes = {((export.format, export.ios), export.bits): f"{export.bytes:,}" for export in exports}
    columns = sorted({bits for _, bits in sizes}, reverse=True)
    for bits in columns:
        table.add_column(f"{bits} bits", justify="right")
    for format, ios in dict.fromkeys(kind for kind, _ in sizes):
        kind = f"{format}, iOS {ios}" if ios > min(IOS) else format
        table.add_row(kind, *(sizes.get(((format, ios), bits), "") for bits in columns))
    return table


def evaluate_model(
    model_file: str,
    *,
    photos: str,
    style: str,
    loss: LossConfig,
    size: int,
    all_photos: bool = False,
    max_photos: int | None = None,
    exports: bool = True,
    progress: Progress | None = None,
) -> ModelReport:
    """Evaluate the network in a model.safetensors or .ckpt file against two baselines, identity and color matching.

    Args:
        model_file: path or URI.
        photos: a shard dataset, or anything that `ingest` accepts. Uses the held-out photos, those of a dataset at
            their stored size; the style loss is normalized by its average over 64 training photos, as in training.
        style: path or URI of the style image, or `builtin:NAME`.
        loss: loss network, size of the style image, and the weights of content and style loss; give the loss with which
            the network was trained.
        size: side, in pixels, of the crops in training; it sets the size of the style image. Photos that are not a
            dataset yet are evaluated at this short side, those of a dataset must be at least as large.
        all_photos: evaluate every photo, and normalize by the same photos, so that `identity` has style loss 1.
        max_photos: maximum number of photos, evenly spaced; None means all.
        exports: also convert to every Core ML format and number of bits, to report the file sizes.
        progress: called with the numbers of photos done, photos in total and unusable photos; first by ingest, then by
            the evaluation.

    Raises:
        UserError: the model, the style image, the photos or the weights of the loss network are missing or damaged, or
            no photo is held out.
        OSError: the photos cannot be read.
    """
    if Path(model_file).suffix in (".mlmodel", ".mlpackage"):
        raise UserError(
            f"{model_file}: evaluate takes a model.safetensors or a .ckpt; `tinystyle verify` compares a Core ML file with it"
        )
    model = load_model(model_file)
    image = Style.load(style)
    style_13hw = photo_tensor(image.at(loss.style_side(size)))
    perceptual = load_perceptual_network(loss.perceptual, loss.perceptual_weights)
    perceptual.prepare(torch.device("cpu"), torch.float32)
    # Ingested with the same size as for training; otherwise other photos would be held out.
    dataset = dataset_for_training(photos, size, progress, ingest_size=DataConfig(size=size).photo_side)
    side = None if is_dataset(photos) else size
    shards = ShardDataset(dataset)
    if not (shards.held_out or all_photos):
        raise UserError(
            f"{photos} holds no held-out photo (one in twenty is, by the hash of its pixels); "
            "give more photos, or evaluate all of them with `all_photos`"
        )
    chosen = list(range(len(shards))) if all_photos else shards.held_out
    chosen = evenly_spaced(chosen, max_photos or len(chosen))
    references = (
        ReferenceStatistics.measure(perceptual, [photo_tensor(shards.read(index), side) for index in chosen])
        if all_photos
        else reference_statistics(perceptual, shards, size)
    )
    target = StyleTarget.measure(perceptual, style_13hw, references, loss.style_layer_weights, loss.sliced_share)
    losses = Losses(perceptual, target)
    paint = paint_measure(perceptual, image, torch.device("cpu"))
    criterion = Criterion(losses, paint, loss.content_weight, loss.style_weight_at_first)
    second = second_measure(image, loss.perceptual)
    network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    name = f"{model.config.architecture} {model.config.alpha:g}"
    candidates = beside_trivial(name, network, style_13hw)
    judged = judge_photos(candidates, _read(shards, chosen, side, progress), criterion, second)
    cost = network_cost(network, WIDTH, HEIGHT)
    return ModelReport(
        model=public(model_file),
        photos=public(photos),
        style=public(style),
        name=name,
        count=len(chosen),
        short_side=side or shards.manifest.size,
        held_out=not all_photos,
        perceptual=loss.perceptual,
        second=second.network.name if second else None,
        style_size=loss.style_side(size),
        content_weight=loss.content_weight,
        style_weight=loss.style_weight_at_first,
        rows=[found.row(each) for each, found in judged.items()],
        scores=judged[name].scores,
        weights=cost.weights,
        macs=cost.macs,
        activation_bytes=cost.activation_bytes,
        latency_ms=latency_ms(network),
        threads=torch.get_num_threads(),
        exports=export_sizes(model) if exports else [],
    )


def second_measure(style: str | Style, perceptual: str) -> PaintMeasure | None:
    """Create the paint measure on the features of the `second_network`, or return None if there is none."""
    cpu, network = torch.device("cpu"), second_network(perceptual)
    return paint_measure(network.prepare(cpu, torch.float32), style, cpu) if network else None


def second_network(perceptual: str) -> PerceptualNetwork | None:
    """Load SECOND_NETWORK; return None if it is the loss network of training or its package is not installed."""
    if perceptual == SECOND_NETWORK:
        return None
    try:
        return load_perceptual_network(SECOND_NETWORK)
    except UserError:  # the package is optional
        return None


def _read(
    shards: ShardDataset, indices: Sequence[int], side: int | None, progress: Progress | None
) -> Iterator[Tensor]:
    """Yield photos one by one, because the held-out photos of a large dataset do not fit into memory together."""
    for done, index in enumerate(indices):
        if progress:
            progress(done, len(indices), 0)
        yield photo_tensor(shards.read(index), side)
    if progress:
        progress(len(indices), len(indices), 0)


@torch.inference_mode()
def latency_ms(network: nn.Module) -> float:
    """Measure the milliseconds for one 640x480 image on the CPU in float32: the median of 9 runs after 2 warm-ups."""
    image = torch.rand(1, 3, HEIGHT, WIDTH).mul(255).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(WARM_UPS + REPEATS):
        began = time.perf_counter()
        network(image)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[WARM_UPS:])


def export_sizes(model: LoadedModel) -> list[Export]:
    """Return the size in bytes of every Core ML file that the model can be exported to, at 640x480."""
    exports = []
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as folder:
        for format, bits, ios in VARIANTS:
            out = Path(folder) / f"{bits}-{ios}.{format}"
            result = export_model(model, format=format, bits=bits, size=(WIDTH, HEIGHT), out=out, ios=ios)
            exports.append(Export(format, bits, ios, result.bytes))
    return exports

"""What a run is made of: pydantic models, one per concern. Imports no torch, so that `--help` stays instant.

A run is one `RunConfig`. All of it but `execution` decides the result; `execution` says where and how often things happen,
and may differ between an interrupted run and its continuation.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tinystyle import nets, perceptual
from tinystyle.errors import UserError

__all__ = [
    "MAX_REDUCTION",
    "STYLE_WEIGHT_START",
    "DataConfig",
    "ExecutionConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "RunConfig",
]

Architecture = Annotated[str, AfterValidator(nets.check_architecture)]
PerceptualName = Annotated[str, AfterValidator(perceptual.check_perceptual)]
Precision = Literal["auto", "32", "bf16"]


def _number_or_auto(value: object) -> object:
    if value == "auto":
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise UserError("give a number of at least 0, or auto")
    return number


def _numbers(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


LayerWeights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(_numbers)]
NumberOrAuto = Annotated[float | Literal["auto"], BeforeValidator(_number_or_auto)]
MAX_REDUCTION = 2
"""How many times smaller than they are crops show photos at most."""
STYLE_WEIGHT_START = 3.0
"""Where `style_weight` auto begins."""


class _Config(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )


class NetworkConfig(_Config):
    """A style network, up to its weights."""

    architecture: Architecture = "small"
    """A name from `tinystyle.nets.ARCHITECTURES`."""
    alpha: float = Field(default=0.3, gt=0, le=4)
    """Width multiplier: a layer of the paper's width b has int(alpha * b) filters."""


class LossConfig(_Config):
    """What the network is trained to minimise (`tinystyle.perceptual.losses`)."""

    perceptual: PerceptualName = "vgg16"
    """A name from `tinystyle.perceptual.PERCEPTUAL_NETWORKS`."""
    perceptual_weights: str | None = None
    """Path or URI of the perceptual network's weights (.pth or .safetensors); None means the official file."""
    style_scale: float = Field(default=2.0, gt=0, le=16)
    """Short side at which the style image is seen, as a multiple of the crops' side: it decides the size of strokes."""
    style_size: int | None = Field(default=None, ge=32, le=4096)
    """The same in pixels, in place of `style_scale`."""
    content_weight: float = Field(default=1.0, ge=0)
    style_weight: NumberOrAuto = "auto"
    """A number, or auto: the one with which the content loss comes to `content_target`."""
    content_target: float | None = Field(default=None, gt=0)
    """Content loss that auto holds; None means what the style's contrast suggests. Higher: more style, less photo."""
    style_layer_weights: LayerWeights | None = None
    """Weights of the style layers, finest first; None means the perceptual network's own."""
    sliced_share: float = Field(default=0.25, ge=0, le=1)
    """Share of sliced Wasserstein distances in the style loss; the rest is distances of Gram matrices."""
    tv_weight: float = Field(default=0.0, ge=0)
    """Weight of total variation: mean squared difference of neighbouring pixels, in units of the range 0..1."""
    saturation_weight: float = Field(default=10.0, ge=0)
    """Weight of the penalty on pre-activations that the output tanh has saturated."""
    checkerboard_weight: float = Field(default=0.05, ge=0)
    """Weight of the penalty on a grid of period 2 or 4 pixels, which upsampling leaves."""

    @model_validator(mode="after")
    def _a_weight_for_each_layer(self) -> LossConfig:
        layers, weights = perceptual.STYLE_LAYERS[self.perceptual], self.style_layer_weights
        if weights is not None and (len(weights) != len(layers) or not any(weights)):
            raise UserError(
                f"`style_layer_weights` {','.join(f'{weight:g}' for weight in weights)}: give {len(layers)} weights, not all "
                f"0, for {', '.join(layers)}"
            )
        return self

    @property
    def style_weight_at_first(self) -> float:
        """The weight of the style loss at step 0 (times what a pale style adds to auto), and in totals over held-out photos."""
        return STYLE_WEIGHT_START if self.style_weight == "auto" else self.style_weight

    def style_side(self, crop: int) -> int:
        """Short side, in pixels, at which the style image is seen beside crops of side `crop`."""
        return self.style_size or max(32, round(self.style_scale * crop))


class DataConfig(_Config):
    """Which photographs, and how they are cut."""

    size: int = Field(default=256, ge=32, le=2048)
    """Side, in pixels, of the square training crops."""
    zoom: float = Field(default=1.0, ge=1, le=8)
    """Crops show parts of a photo from `size / zoom` pixels a side, enlarged, to twice `size`: a network that has seen things
    large, and smooth, paints strokes on large photos too, but learns more slowly."""
    batch_size: int = Field(default=4, ge=1, le=1024)
    """Photographs per step, over all processes together."""

    @property
    def photo_side(self) -> int:
        """Short side, in pixels, of photographs that are ingested for this: twice the crops', so that these vary in scale."""
        return MAX_REDUCTION * self.size


class OptimizerConfig(_Config):
    """Adam with a quadratic warm-up and a cosine decay."""

    steps: int = Field(default=4000, ge=1)
    learning_rate: float = Field(default=6e-3, gt=0, le=1)
    """The highest rate, reached after the warm-up."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps until the rate is at its highest; at most a quarter of all."""
    final_rate: float = Field(default=0.02, gt=0, le=1)
    """The rate at the last step, as a fraction of the highest."""
    clip_norm: float = Field(default=1.0, gt=0)
    """The gradient is scaled down to this norm where it is larger."""

    @property
    def warmup(self) -> int:
        """Steps of warm-up of a run that may be short."""
        return min(self.warmup_steps, self.steps // 4)


class ExecutionConfig(_Config):
    """Where and how a run executes: nothing here changes the weights it arrives at (on a CPU, one process)."""

    devices: int = Field(default=1, ge=1, le=64)
    """GPUs where there are any, else CPU processes, on each machine."""
    nodes: int = Field(default=1, ge=1, le=1024)
    rdzv_endpoint: str | None = None
    """HOST:PORT of the first machine, where `nodes` is over 1."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each process; None shares the cores among the processes."""
    checkpoint_every: int = Field(default=200, ge=1)
    checkpoints: str | None = None
    """Folder or URI for the checkpoints; None means the run's own folder."""
    preview_every: int = Field(default=200, ge=1)
    on_collapse: Literal["stop", "rollback"] = "stop"
    track: bool = True
    """Log to MLflow."""

    @model_validator(mode="after")
    def _can_be_run(self) -> ExecutionConfig:
        if self.nodes > 1 and not self.rdzv_endpoint:
            raise UserError("`nodes` over 1 needs `rdzv_endpoint` HOST:PORT, the address of the first machine")
        if (self.checkpoints or "").startswith(("http://", "https://")):
            raise UserError(
                f"`checkpoints` {self.checkpoints}: a web address cannot be written to; give a folder or s3://"
            )
        return self


class RunConfig(_Config):
    """One training run: everything `tinystyle train` was asked for."""

    style: str
    """Path or URI of the style image, or `builtin:NAME`."""
    photos: str
    """A shard dataset (folder or URI with a manifest.json)."""
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    execution: ExecutionConfig = ExecutionConfig()
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    init_from: str | None = None
    """Model (.safetensors or .ckpt) whose weights the network starts from."""

    @property
    def style_side(self) -> int:
        """Short side, in pixels, at which the style image is seen."""
        return self.loss.style_side(self.data.size)

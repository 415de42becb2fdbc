"""Configuration of a run: pydantic models, one per concern. Attribute docstrings are the help texts that users read.

A run is one `RunConfig`. Everything in it except `execution` determines the result; `execution` says where and how
often things happen, and may differ between an interrupted run and its resumption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tinystyle import nets
from tinystyle.config.values import (
    AUTO,
    RANDOM,
    Architecture,
    CountOrAll,
    Initial,
    LayerWeights,
    NumberOrAuto,
    PerceptualName,
    Precision,
    Styles,
    as_list,
    named_address,
)
from tinystyle.data import MAX_REDUCTION
from tinystyle.data.addresses import Address
from tinystyle.errors import UserError
from tinystyle.nets import perceptual

__all__ = [
    "STYLE_WEIGHT_START",
    "DataConfig",
    "ExecutionConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "RunConfig",
]

STYLE_WEIGHT_START = 3.0
"""Style weight at which `auto` starts."""
LEAST_TAUGHT = 4
"""Photos per step of a network that imitates a teacher, at least: with fewer it gets worse (benchmarks/teacher.md)."""
_OFTEN_ABSENT = ("styles", "freeze_trunk", "teacher")


class _Config(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


def _field(
    default: Any = ..., *, unit: str = "", choices: Sequence[str] = (), advanced: bool = False, **bounds: Any
) -> Any:
    """Declare a field with the unit, choices and `advanced` flag that commands, flows and catalogs show."""
    extra: dict[str, Any] = {"unit": unit, "choices": list(choices), "advanced": advanced}
    return Field(default, json_schema_extra={key: value for key, value in extra.items() if value}, **bounds)


class NetworkConfig(_Config):
    """Architecture and width of a style network, without its weights."""

    model_config = ConfigDict(title="Network")

    architecture: Architecture = _field("small", choices=sorted(nets.ARCHITECTURES))
    """Architecture of the style network; `tinystyle networks` lists what each costs."""
    alpha: float = _field(0.3, gt=0, le=4)
    """Width multiplier: a layer of base width b has int(alpha * b) filters."""


class LossConfig(_Config):
    """Terms of the loss that the network is trained to minimize (`tinystyle.nets.perceptual.losses`)."""

    model_config = ConfigDict(title="Losses")

    perceptual: PerceptualName = _field("vgg16", choices=sorted(perceptual.PERCEPTUAL_NETWORKS))
    """Loss network, on whose features the losses are computed. narrow is VGG16 distilled into 2 MB, which needs no
    download and a third of the time, and paints a little less well."""
    perceptual_weights: Address | None = None
    """Weights of the loss network: path or URI, .pth or .safetensors. By default its own; those of vgg16 are
    downloaded once."""
    style_scale: float = _field(2.0, gt=0, le=16)
    """Short side to which the style image is resized, in multiples of the crop's side. Larger gives larger strokes."""
    style_size: int | None = _field(None, unit="px", ge=32, le=4096, advanced=True)
    """Short side to which the style image is resized, in pixels; overrides the style scale."""
    content_weight: float = _field(1.0, ge=0, advanced=True)
    """Weight of the content loss. Higher keeps more of the photo."""
    style_weight: NumberOrAuto = "auto"
    """Weight of the style loss: a number, where higher gives more style and less photo, or auto, which adjusts it
    during training so that the content loss approaches the content target."""
    content_target: float | None = _field(None, gt=0)
    """Content loss that a style weight of auto aims at. Higher gives more style and less photo. By default it is
    computed from the contrast of the style image."""
    style_layer_weights: LayerWeights | None = _field(None, advanced=True)
    """Relative weights of the loss network's style layers, from fine texture to large shapes, such as 3,3,1,0.5. By
    default those that the loss network defines."""
    sliced_share: float = _field(0.25, ge=0, le=1, advanced=True)
    """Fraction of the style loss that is sliced Wasserstein distances; the rest is distances between Gram matrices."""
    tv_weight: float = _field(0.0, ge=0, advanced=True)
    """Weight of the total variation loss. Higher gives smoother output."""
    saturation_weight: float = _field(10.0, ge=0, advanced=True)
    """Weight of the penalty on output close to 0 or 255, which prevents black and white patches."""
    checkerboard_weight: float = _field(0.05, ge=0, advanced=True)
    """Weight of the penalty on checkerboard artifacts, the fine grid that upsampling leaves in the output."""

    @model_validator(mode="after")
    def _a_weight_for_each_layer(self) -> LossConfig:
        layers, weights = perceptual.PERCEPTUAL_NETWORKS[self.perceptual].style_layers, self.style_layer_weights
        if weights is not None and (len(weights) != len(layers) or not any(weights)):
            raise UserError(
                f"`style_layer_weights` {','.join(f'{weight:g}' for weight in weights)}: give {len(layers)} weights, not all "
                f"0, for {', '.join(layers)}"
            )
        return self

    @property
    def style_weight_at_first(self) -> float:
        """Weight of the style loss at step 0, and in the total loss on held-out photos.

        For `auto`, it is 3; training then starts higher for a style image of low contrast, see `StyleWeight`.
        """
        return STYLE_WEIGHT_START if self.style_weight == "auto" else self.style_weight

    def style_side(self, crop: int) -> int:
        """Return the short side, in pixels, to which the style image is resized for crops of side `crop`, in pixels.

        It is `style_size` if that is set, otherwise `style_scale` times `crop` but at least 32.
        """
        return self.style_size or max(32, round(self.style_scale * crop))


class DataConfig(_Config):
    """How the training photos are cropped and batched."""

    model_config = ConfigDict(title="Data")

    size: int = _field(256, unit="px", ge=32, le=2048)
    """Side of the square training crops, in pixels."""
    zoom: float = _field(1.0, ge=1, le=8, advanced=True)
    """Largest factor by which crops are enlarged. A network trained with enlarged crops paints strokes on large photos
    too, but learns more slowly."""
    batch_size: int = _field(4, unit="photos", ge=1, le=1024)
    """Photos per training step, over all processes together."""

    @property
    def photo_side(self) -> int:
        """Short side, in pixels, of photos ingested for a run: twice the crops' side, so that crops differ in scale."""
        return MAX_REDUCTION * self.size


class OptimizerConfig(_Config):
    """Parameters of the Adam optimizer and its learning rate, which has a quadratic warm-up and a cosine decay."""

    model_config = ConfigDict(title="Optimizer")

    steps: int = _field(4000, ge=1, le=10_000_000)
    """Number of training steps."""
    learning_rate: float = _field(6e-3, gt=0, le=1)
    """Peak learning rate, reached after the warm-up."""
    warmup_steps: int = _field(100, ge=0, advanced=True)
    """Number of steps in which the learning rate rises to its peak; limited to a quarter of all steps."""
    final_rate: float = _field(0.02, gt=0, le=1, advanced=True)
    """Learning rate at the last step, as a fraction of the peak."""
    clip_norm: float = _field(1.0, gt=0, advanced=True)
    """Gradients with a larger norm are scaled down to this norm."""

    @property
    def warmup(self) -> int:
        """Number of warm-up steps that this run uses: `warmup_steps`, but at most a quarter of `steps`."""
        return min(self.warmup_steps, self.steps // 4)


class ExecutionConfig(_Config):
    """Where and how a run executes. Nothing here changes the resulting weights (on a CPU, with one process)."""

    model_config = ConfigDict(title="Execution")

    devices: CountOrAll = 1
    """Number of GPUs per machine, or of CPU processes where there is no GPU; or all, for all GPUs of the machine. The
    batch is split among them."""
    nodes: int = _field(1, ge=1, le=1024, advanced=True)
    """Number of machines; start the same command on each of them."""
    rdzv_endpoint: str | None = _field(None, advanced=True)
    """HOST:PORT on the first machine where the machines of a run meet (torchrun's rendezvous endpoint); required for
    several machines."""
    threads: int | None = _field(None, ge=1, advanced=True)
    """CPU threads per process. By default OMP_NUM_THREADS if set, otherwise the number of cores divided by the number
    of devices."""
    checkpoint_every: int = _field(200, unit="steps", ge=1)
    """Number of steps between checkpoints."""
    checkpoints: Address | None = None
    """Folder or URI for checkpoints. By default the folder of the run."""
    preview_every: int = _field(200, unit="steps", ge=1)
    """Number of steps between previews, pictures of stylized held-out photos."""
    on_collapse: Literal["stop", "rollback"] = _field("stop", choices=("stop", "rollback"))
    """What to do when the network collapses (its output turns black, white or flat): stop, or roll back to the last
    checkpoint and continue at half the learning rate."""
    track: bool = True
    """Log the run to MLflow (at MLFLOW_TRACKING_URI, by default ./mlflow.db)."""

    @property
    def processes(self) -> int:
        """Number of training processes on each machine; `devices` is a number once a run is resolved."""
        assert isinstance(self.devices, int)
        return self.devices

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
    """One training run: everything that `tinystyle train` needs to know."""

    model_config = ConfigDict(title="Run")

    style: Address
    """Style image: path, URI, or builtin:NAME (mosaic, starry-sky, wave). For one network of many, see styles."""
    photos: Address
    """Training photos: a dataset made by `tinystyle ingest` (folder or URI), or a folder of photographs."""
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    execution: ExecutionConfig = ExecutionConfig()
    precision: Precision = _field("auto", choices=("auto", "32", "bf16"), advanced=True)
    """Number format of the style network's computations; auto chooses bf16 where the hardware supports it."""
    seed: int = _field(0, ge=0, lt=2**63)
    """Random seed of the initial weights, the order of the photos and their augmentation."""
    init_from: Initial = AUTO
    """Weights to start from: auto, those that come with tinystyle for the network, or random ones if none do; random; or
    those of a model, .safetensors, .ckpt or pretrained:NAME."""
    styles: Styles = _field((), advanced=True)
    """Style images of one network of many styles, instead of a style: A,B,C. NAME=A names a style in the network; by
    default it has the name of its image."""
    freeze_trunk: bool = _field(False, advanced=True)
    """Train no convolution, only the norms: a new style for the network of the initial weights, which keeps the styles
    that it has."""

    teacher: Address | None = None
    """Model of the same style, such as a larger network, whose pictures the network imitates before it learns from the
    losses: .safetensors or pretrained:NAME. It does so with at least four photos per step."""
    teacher_share: float = _field(0.5, gt=0, lt=1, advanced=True)
    """Fraction of the steps that imitate the teacher."""

    @model_validator(mode="before")
    @classmethod
    def _first_style(cls, values: Any) -> Any:
        """Let `style` be the first of `styles`."""
        if not isinstance(values, dict) or not values.get("styles"):
            return values
        styles = as_list(values["styles"])
        if not isinstance(styles, list | tuple) or not isinstance(styles[0], str):
            return values  # which a later check reports
        first = named_address(styles[0])[1]
        if values.get("style", first) != first:
            raise UserError("give `style`, for a network of one style, or `styles`, not both")
        return {**values, "style": first}

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what only networks of many styles, or with a teacher, have: run keys and records are older than it."""
        values: dict[str, Any] = handler(self)
        if not self.teacher:
            del values["teacher_share"]
        return {name: value for name, value in values.items() if value or name not in _OFTEN_ABSENT}

    @model_validator(mode="after")
    def _can_freeze(self) -> RunConfig:
        if self.freeze_trunk and self.init_from in (AUTO, RANDOM):
            raise UserError("`freeze_trunk` needs `init_from`, the network that gets a new style")
        return self

    @model_validator(mode="after")
    def _can_be_taught(self) -> RunConfig:
        if self.teacher and (len(self.styles) > 1 or self.freeze_trunk):
            raise UserError("`teacher` is for a network of one style; train one of many without it")
        if self.teacher and not 0 < self.taught_steps < self.optimizer.steps:
            raise UserError(f"`teacher` with `steps` {self.optimizer.steps}: either part of the run needs a step")
        return self

    @property
    def taught_steps(self) -> int:
        """Number of steps, the first ones, that imitate the teacher; 0 without one."""
        return round(self.teacher_share * self.optimizer.steps) if self.teacher else 0

    @property
    def taught_batch(self) -> int:
        """Photos per step that imitates the teacher: the batch size, or the multiple of it that is large enough."""
        return self.data.batch_size * math.ceil(LEAST_TAUGHT / self.data.batch_size)

    def photos_after(self, steps: int) -> int:
        """Return the number of photos in the first `steps` steps, over all processes together."""
        taught = min(steps, self.taught_steps)
        return taught * self.taught_batch + (steps - taught) * self.data.batch_size

    @property
    def style_side(self) -> int:
        """Short side, in pixels, to which the style image is resized; see `LossConfig.style_side`."""
        return self.loss.style_side(self.data.size)

    @property
    def initial_model(self) -> str | None:
        """Path or URI of the model whose weights the run starts from; None for random weights."""
        if self.init_from == RANDOM:
            return None
        if self.init_from != AUTO:
            return self.init_from
        start = nets.start_of(self.network.architecture, self.network.alpha, self.loss.perceptual)
        return str(start) if start else None

    def with_checkpoints(self, place: str) -> RunConfig:
        """Return the same run, with its checkpoints in the folder or at the URI `place`."""
        return self.model_copy(update={"execution": self.execution.model_copy(update={"checkpoints": place})})

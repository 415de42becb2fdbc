"""A trained network in Python: `load` or `train` one, then stylize, export, evaluate, and verify what was exported.

model = load("pretrained:starry-night")
picture = model.stylize("cat.jpg")
file = model.export("starry-night.mlmodel", bits=8)
assert verify(file, against=model, photos="photos/").passed
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tinystyle.config import NetworkConfig, run_config
from tinystyle.data.images import open_rgb, to_rgb
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model, save_model
from tinystyle.training.run_folder import RunFolder

if TYPE_CHECKING:
    from tinystyle.coreml.verification.verify import Verification
    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["Model", "load", "train", "verify"]


class Model:
    """A trained style network. Make one with `load` or `train`.

    Attributes:
        source: where it was loaded from.
        loaded: the torch module, its configuration and its lineage.
    """

    def __init__(self, loaded: LoadedModel, source: str) -> None:
        self.loaded = loaded
        self.source = source

    def __repr__(self) -> str:
        return f"<tinystyle.Model {self.config.architecture} alpha {self.config.alpha:g} from {self.source}>"

    @property
    def config(self) -> NetworkConfig:
        """Architecture and width multiplier."""
        return self.loaded.config

    @property
    def lineage(self) -> Mapping[str, str]:
        """What the network was trained from: hashes of style, dataset and settings, and more."""
        return dict(self.loaded.lineage)

    def stylize(
        self,
        image: Any,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        stroke_size: float = 1.0,
    ) -> Any:
        """Stylize an image, at its own size.

        Args:
            image: a PIL image of any mode; a NumPy array of uint8, (height, width), (height, width, 3) or
                (height, width, 4); or the path of an image file, a str or a Path.
            strength: 0 is the photo, 1 the stylized image, between them their linear blend.
            keep_colors: take the luminance from the stylized image and the colors from the photo.
            stroke_size: factor on the size of strokes, from 0.25 to 16.

        Returns:
            A PIL image for a PIL image or a path, a NumPy array for an array. An alpha channel is kept; all else is RGB.

        Raises:
            UserError: the image cannot be read, has another type or shape, or an argument is out of range.
        """
        from tinystyle.stylize import stylize_image

        if not isinstance(strength, int | float) or not 0 <= strength <= 1:
            raise UserError(f"`strength` {strength!r}: give a number from 0, the photo, to 1, the stylized image")
        photo, alpha = _read(image)
        picture = stylize_image(self.loaded, photo, keep_colors=keep_colors, strength=strength, stroke_size=stroke_size)
        if alpha is not None:
            picture.putalpha(alpha)
        return np.array(picture) if isinstance(image, np.ndarray) else picture

    def save(self, path: str | Path) -> None:
        """Write the network as .safetensors, to a path or URI."""
        save_model(self.loaded.network, path, self.loaded.config, self.loaded.lineage)

    def export(
        self,
        path: str | Path,
        *,
        bits: int = 8,
        size: str | tuple[int, int] = (640, 480),
        ios: int = 16,
        compute: str | None = None,
    ) -> Path:
        """Write a Core ML file; its format follows from the name.

        Args:
            path: ends in .mlmodel (iOS 13, the smallest) or .mlpackage (iOS 16).
            bits: bits per convolution weight: 32, 16, 8, 6 or 4.
            size: image size, (width, height) in pixels; or text such as "640x480,480x640" or "256x256..1024x1024".
            ios: oldest iOS that must run the file, 16 or 18.
            compute: "float16" or "float32", for an .mlpackage.

        Returns:
            The path.

        Raises:
            UserError: some of these are not possible, alone or together.
        """
        from tinystyle.coreml.exporter.convert import export_model
        from tinystyle.coreml.sizes import ImageSizes

        path = Path(path)
        sizes = ImageSizes.parse(size) if isinstance(size, str) else size
        export_model(self.loaded, format=path.suffix[1:], bits=bits, size=sizes, out=path, ios=ios, compute=compute)
        return path

    def evaluate(self, *, style: str, photos: str, exports: bool = False, **parameters: Any) -> ModelReport:
        """Evaluate the network on held-out photos against two baselines, as `tinystyle evaluate` does.

        Args:
            style: style image: path, URI or builtin:NAME.
            photos: a dataset made by `tinystyle ingest`, or a folder of photographs.
            exports: also convert to every Core ML format, for the bytes.
            parameters: others of `tinystyle.config.PARAMETERS`, such as perceptual_weights.

        Raises:
            UserError: something is missing or not possible.
        """
        from tinystyle.evaluation.model_report import evaluate_model

        config = run_config({"style": style, "photos": photos, **parameters})
        return evaluate_model(
            self.source, photos=photos, style=style, loss=config.loss, size=config.data.size, exports=exports
        )


def load(source: str | Path) -> Model:
    """Load a trained network.

    Args:
        source: model.safetensors or a checkpoint, path or URI; the folder of a run; or `pretrained:NAME`, see
            `tinystyle styles`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    if not isinstance(source, str | Path):
        raise UserError(f"`source` is a {type(source).__name__}; give the path, URI or name of a model as text")
    inside = RunFolder(Path(source)).model
    place = str(inside if inside.is_file() else source)
    return Model(load_model(place), place)


def train(*, style: str, photos: str, out: str | Path, resume: bool = True, **parameters: Any) -> Model:
    """Train a network on one style, in child processes, and load it.

    An interrupted run resumes from its last checkpoint; a completed one is loaded.

    Args:
        style: style image: path, URI or builtin:NAME.
        photos: a dataset made by `tinystyle ingest`, or a folder of photographs.
        out: folder for the model, the checkpoints and the record of the run.
        resume: False replaces what `out` holds.
        parameters: others of `tinystyle.config.PARAMETERS`, such as alpha, steps or style_weight.

    Raises:
        UserError: something is missing or not possible, or the run did not complete; the message says why.
    """
    from tinystyle.training.launch import launch, prepare

    folder = Path(out)
    record = prepare(run_config({"style": style, "photos": photos, **parameters}), folder, resume=resume)
    if record.state != "completed":
        record = launch(record, folder)
    if record.state != "completed":
        raise UserError(f"{folder}: {record.message}")
    return load(folder)


def verify(
    file: str | Path,
    *,
    against: Model | str | Path,
    photos: str | Path,
    max_photos: int = 16,
    min_psnr: float | None = None,
) -> Verification:
    """Prove that a Core ML file is the trained network: every weight, then every photo, on any machine.

    Args:
        file: .mlmodel or .mlpackage.
        against: the trained network.
        photos: a dataset, of which held-out photos are used, or a folder of photographs.
        max_photos: largest number of photos to use, evenly spaced.
        min_psnr: PSNR in dB that every photo must reach; by default it depends on the bits.

    Returns:
        The result; `passed` says whether the file is the network, `sentence()` why.

    Raises:
        UserError: something cannot be read.
    """
    from tinystyle.coreml.verification.verify import verify as compare
    from tinystyle.stylize.sample_photos import verification_photos

    model = against if isinstance(against, Model) else load(against)
    images = verification_photos(str(photos), max_photos)
    return compare(Path(file), model.loaded, images, against=model.source, min_psnr=min_psnr)


def _read(image: Any) -> tuple[Image.Image, Image.Image | None]:
    """The RGB image, and its alpha channel if it has one."""
    if isinstance(image, str | Path):
        path = Path(image).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror or error}); give an image file") from error
        return open_rgb(data, str(path)), None
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
            raise UserError(
                f"`image` is an array of {image.dtype}, {image.shape}; give uint8, (height, width) or (height, width, 3 or 4)"
            )
        image = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    if not isinstance(image, Image.Image):
        raise UserError(f"`image` is a {type(image).__name__}; give a PIL image, a NumPy array, or the path of a file")
    if 0 in image.size:
        raise UserError(f"`image` is {image.width}x{image.height}; give one with pixels")
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    return to_rgb(image), alpha

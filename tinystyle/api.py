"""The Python API: `load` or `train` a network, then stylize, export, evaluate, and verify exported files.

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
from tinystyle.coreml.verification import MAX_PHOTOS
from tinystyle.data.images import open_rgb, to_rgb
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model, save_model
from tinystyle.training.run_folder import RunFolder

if TYPE_CHECKING:
    from tinystyle.coreml.verification.verify import Verification
    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["Model", "load", "train", "verify"]


class Model:
    """A trained style network. Use `load` or `train` to create one.

    Attributes:
        source: path, URI or `pretrained:NAME` that the network was loaded from.
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
        """Hashes of everything that the network was trained from: style image, dataset, settings and more."""
        return dict(self.loaded.lineage)

    def stylize(
        self,
        image: Any,
        *,
        strength: float = 1.0,
        keep_colors: bool = False,
        stroke_size: float = 1.0,
    ) -> Any:
        """Stylize an image at its own size.

        Args:
            image: a PIL image of any mode; a NumPy array of uint8 with shape (height, width), (height, width, 3) or
                (height, width, 4); or the path of an image file, as str or Path.
            strength: strength of the style, from 0 (the photo) to 1 (the stylized image); in between, their linear
                blend.
            keep_colors: take only the luminance from the stylized image, and the colors from the photo.
            stroke_size: size of the strokes relative to training, from 0.25 to 16; above 1, the photo's edges are added
                back.

        Returns:
            A PIL image for a PIL image or a path, and a NumPy array for an array. RGB, plus the alpha channel if there
                is one.

        Raises:
            UserError: the image cannot be read or has an unsupported type or shape, or an argument is out of range.
        """
        from tinystyle.stylize import stylize_image

        if not isinstance(strength, int | float) or not 0 <= strength <= 1:
            raise UserError(f"`strength` {strength!r}: give a number from 0 (the photo) to 1 (the stylized image)")
        photo, alpha = _read(image)
        picture = stylize_image(self.loaded, photo, keep_colors=keep_colors, strength=strength, stroke_size=stroke_size)
        if alpha is not None:
            picture.putalpha(alpha)
        return np.array(picture) if isinstance(image, np.ndarray) else picture

    def save(self, path: str | Path) -> None:
        """Write the network as .safetensors to a path or URI."""
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
        """Write a Core ML file in the format given by the suffix of `path`.

        Args:
            path: a path that ends in .mlmodel (iOS 13, smallest file) or .mlpackage (iOS 16).
            bits: bits per convolution weight: 32, 16, 8, 6 or 4.
            size: image size, (width, height) in pixels; or text such as "640x480,480x640" or "256x256..1024x1024".
            ios: oldest iOS version that must run the file, 16 or 18.
            compute: precision that an .mlpackage computes in, "float16" or "float32"; by default "float32" at 32 bits,
                otherwise "float16".

        Returns:
            The path.

        Raises:
            UserError: an argument or a combination of arguments is not supported.
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
            photos: a dataset made by `tinystyle ingest`, or a folder of photos.
            exports: also convert to every Core ML format, to report the file sizes.
            parameters: other parameters from `tinystyle.config.PARAMETERS`, such as perceptual_weights.

        Raises:
            UserError: a parameter is invalid, no photo is held out, or the style image, the photos or the weights of
                the loss network are missing or damaged.
        """
        from tinystyle.evaluation.model_report import evaluate_model

        config = run_config({"style": style, "photos": photos, **parameters})
        return evaluate_model(
            self.source, photos=photos, style=style, loss=config.loss, size=config.data.size, exports=exports
        )


def load(source: str | Path) -> Model:
    """Load a trained network.

    Args:
        source: path or URI of a model.safetensors or a checkpoint, the folder of a run, or `pretrained:NAME` (listed by
            `tinystyle styles`).

    Raises:
        UserError: the model does not exist or is damaged.
    """
    if not isinstance(source, str | Path):
        raise UserError(f"`source` is a {type(source).__name__}; give the path, URI or name of a model as text")
    inside = RunFolder(Path(source)).model
    place = str(inside if inside.is_file() else source)
    return Model(load_model(place), place)


def train(*, style: str, photos: str, out: str | Path, resume: bool = True, **parameters: Any) -> Model:
    """Train a network on one style in child processes, and load it.

    An interrupted run resumes from its last checkpoint; a completed run is loaded without training.

    Args:
        style: style image: path, URI or builtin:NAME.
        photos: a dataset made by `tinystyle ingest`, or a folder of photos.
        out: folder for the model, the checkpoints and the run record.
        resume: whether to resume an earlier run in `out`; False replaces it.
        parameters: other parameters from `tinystyle.config.PARAMETERS`, such as alpha, steps or style_weight.

    Raises:
        UserError: a parameter is invalid, the style image, the photos or the weights of the loss network are missing or
            damaged, or the run did not complete; the message says why.
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
    max_photos: int = MAX_PHOTOS,
    min_psnr: float | None = None,
) -> Verification:
    """Prove on any machine that a Core ML file is the trained network: compare all weights, and the output for photos.

    Args:
        file: .mlmodel or .mlpackage file.
        against: the trained network.
        photos: a dataset, whose held-out photos are used, or a folder of photos.
        max_photos: maximum number of photos, evenly spaced.
        min_psnr: minimum PSNR, in dB, of the file's output against the network's, for every photo; by default 50 at 32
            and 16 bits, 40 at 8, 35 at 6, none at 4.

    Returns:
        The result; `passed` says whether the file is the network, and `sentence()` says why.

    Raises:
        UserError: the file, the network or the photos cannot be read, or there are no photos.
    """
    from tinystyle.coreml.verification.verify import verify as compare
    from tinystyle.stylize.sample_photos import verification_photos

    model = against if isinstance(against, Model) else load(against)
    images = verification_photos(str(photos), max_photos)
    return compare(Path(file), model.loaded, images, against=model.source, min_psnr=min_psnr)


def _read(image: Any) -> tuple[Image.Image, Image.Image | None]:
    """Return the RGB image, and its alpha channel if it has one.

    Raises:
        UserError: the image cannot be read or has an unsupported type or shape.
    """
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

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
from tinystyle.data import storage
from tinystyle.data.addresses import local_only, shown
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel, load_model, save_model
from tinystyle.training.run_model import model_of, trained_with
from tinystyle.training.style_list import addresses

if TYPE_CHECKING:
    from tinystyle.coreml.verification.verify import Verification
    from tinystyle.evaluation.model_report import ModelReport
    from tinystyle.stylize.picture import Picture

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
        tile: str | int = "auto",
    ) -> Any:
        """Stylize an image at its own size.

        Args:
            image: a PIL image of any mode, converted to sRGB by its ICC profile if it has one; a NumPy array of uint8
                with shape (height, width), (height, width, 3) or (height, width, 4); or the path or URI of an image
                file, as str or Path.
            strength: strength of the style, from 0 (the photo) to 1 (the stylized image); in between, their linear
                blend.
            keep_colors: take only the luminance from the stylized image, and the colors from the photo.
            stroke_size: size of the strokes relative to training, from 0.25 to 16; above 1, the photo's edges are added
                back.
            tile: "auto" to compute images in tiles that would otherwise take over 4 GB of memory, or more than there is;
                "off"; or the side of a tile in pixels. The result is the same; the image itself is in memory.

        Returns:
            A PIL image for a PIL image or a path, and a NumPy array for an array. RGB, plus the alpha channel if there
                is one. A PIL image has what the file said in its `info`: exif, xmp, dpi, comment, icc_profile. What is
                read from a path is upright.

        Raises:
            UserError: the image cannot be read or has an unsupported type or shape, or an argument is out of range.
        """
        from tinystyle.stylize.single import stylize_picture

        if not isinstance(strength, int | float) or not 0 <= strength <= 1:
            raise UserError(f"`strength` {strength!r}: give a number from 0 (the photo) to 1 (the stylized image)")
        stylized = stylize_picture(
            self.loaded, _read(image), keep_colors=keep_colors, strength=strength, stroke_size=stroke_size, tile=tile
        )
        return np.array(stylized) if isinstance(image, np.ndarray) else stylized

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
        """Write a file for phones or other runtimes, in the format given by the suffix of `path`.

        Args:
            path: a path that ends in .mlmodel (iOS 13, smallest file), .mlpackage (iOS 16), .aimodel (Core AI, iOS 27, with the
                extra `tinystyle[coreai]`) or .onnx (ONNX Runtime, with the extra `tinystyle[onnx]`).
            bits: bits per convolution weight: 32, 16, 8, 6 or 4; an .onnx has 32, 16 or 8.
            size: image size, (width, height) in pixels; or text such as "640x480,480x640" or "256x256..1024x1024".
            ios: oldest iOS version that must run the file, 16 or 18.
            compute: precision that the file computes in, except an .mlmodel: "float16" or "float32"; by default "float32"
                at 32 bits, otherwise "float16", except that an .onnx of 8 bits computes in "float32".

        Returns:
            The path.

        Raises:
            UserError: an argument or a combination of arguments is not supported.
        """
        from tinystyle.coreml.sizes import ImageSizes
        from tinystyle.exports.export import export_model

        path = local_only(path, "`path`")
        sizes = ImageSizes.parse(size) if isinstance(size, str) else size
        export_model(self.loaded, bits=bits, size=sizes, out=path, ios=ios, compute=compute)
        return path

    def evaluate(
        self, *, style: str | None = None, photos: str | None = None, exports: bool = False, **parameters: Any
    ) -> ModelReport:
        """Evaluate the network on held-out photos against two baselines, as `tinystyle evaluate` does.

        Args:
            style: style image: path, URI or builtin:NAME. By default that of the run whose run.json is beside the model.
            photos: a dataset made by `tinystyle ingest`, or a folder of photos; by default those of that run.
            exports: also convert to every Core ML format, to report the file sizes.
            parameters: other parameters from `tinystyle.config.PARAMETERS`, such as perceptual_weights; by default those
                of that run.

        Raises:
            UserError: a parameter is invalid, no photo is held out, or the style image, the photos or the weights of
                the loss network are missing or damaged.
        """
        from tinystyle.evaluation.model_report import evaluate_model

        given = {name: value for name, value in {"style": style, "photos": photos}.items() if value is not None}
        config = run_config(trained_with(self.source, self.lineage, {**given, **parameters}))
        return evaluate_model(
            self.source,
            photos=config.photos,
            style=config.style,
            loss=config.loss,
            size=config.data.size,
            exports=exports,
        )


def load(source: str | Path, style: str | Mapping[str, float] | None = None) -> Model:
    """Load a trained network, or a style of a network of many.

    Args:
        source: path or URI of a model.safetensors or a checkpoint, the folder of a run (its model.safetensors, or
            best.ckpt while it is not completed), or `pretrained:NAME` (listed by `tinystyle styles`).
        style: for a network of many styles, the name of one; or the shares of several, by name, to blend them, such as
            {"wave": 0.5, "mosaic": 0.5}.

    Raises:
        UserError: the model does not exist or is damaged, or has many styles and not the one that is asked for.
    """
    if not isinstance(source, str | Path):
        raise UserError(f"`source` is a {type(source).__name__}; give the path, URI or name of a model as text")
    if isinstance(style, Mapping):
        style = ",".join(f"{name}={share}" for name, share in style.items())
    place = model_of(source, style)
    return Model(load_model(place), place)


def train(*, photos: str, out: str | Path, style: str | None = None, resume: bool = True, **parameters: Any) -> Model:
    """Train a network on one style in child processes, and load it.

    With `styles`, a list of style images in place of `style`, it is a network of many, and the first of them is loaded.

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

    folder = local_only(out, "`out`", "`checkpoints` takes s3://")
    given = {} if style is None else {"style": style}
    config = run_config({**given, "photos": photos, **parameters})
    record = prepare(config, folder, resume=resume)
    if record.state != "completed":
        record = launch(record, folder)
    if record.state != "completed":
        raise UserError(f"{folder}: {record.message}")
    return load(folder, next(iter(addresses(config))) if len(config.styles) > 1 or config.freeze_trunk else None)


def verify(
    file: str | Path,
    *,
    against: Model | str | Path,
    photos: str | Path,
    max_photos: int = MAX_PHOTOS,
    min_psnr: float | None = None,
) -> Verification:
    """Prove on any machine that an exported file is the trained network: compare all weights, and the output for photos.

    Args:
        file: .mlmodel, .mlpackage, .aimodel or .onnx.
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
    from tinystyle.exports.verify import verify as compare
    from tinystyle.stylize.sample_photos import verification_photos

    model = against if isinstance(against, Model) else load(against)
    images = verification_photos(str(photos), max_photos)
    return compare(local_only(file, "`file`"), model.loaded, images, against=model.source, min_psnr=min_psnr)


def _read(image: Any) -> Picture:
    """Return the image as a picture in sRGB.

    Raises:
        UserError: the image cannot be read or has an unsupported type or shape.
    """
    from tinystyle.stylize.picture import picture_of, read_picture

    if isinstance(image, str | Path):
        place = shown(image)
        try:
            data = storage.read_bytes(image)
        except OSError as error:
            raise UserError(f"{place}: cannot be read ({error.strerror or error}); give an image file") from error
        return read_picture(data, place)
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
    return picture_of(image, "`image`")

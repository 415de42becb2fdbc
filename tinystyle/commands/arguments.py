"""What a command's arguments name, by their names alone: finds exchanged arguments before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tinystyle.errors import UserError
from tinystyle.exports import FORMATS

__all__ = [
    "IMAGES",
    "MODEL_HELP",
    "STYLE_HELP",
    "check_core_ml",
    "check_exported",
    "check_network",
    "check_photos",
    "check_video",
]

MODEL_HELP = "Trained network: the folder of a run, model.safetensors, a checkpoint, or pretrained:NAME."
STYLE_HELP = (
    "Style of a network of many: its name, or shares of several, such as wave=0.5,mosaic=0.5. "
    "MODEL#STYLE means the same."
)
_CORE_ML = (".mlmodel", ".mlpackage")
_EXPORTED = tuple(f".{name}" for name in FORMATS)
_NETWORKS = (".safetensors", ".ckpt")
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".avif")
"""How the names of photos end, in lower case."""


def check_core_ml(file: str | Path, against: str | Path | None = None) -> None:
    """Raise UserError if `file`, which should be a Core ML file, is named like a network; `against` may be one then."""
    if _suffix(file) in _CORE_ML:
        if not Path(file).exists():
            raise UserError(f"{file}: no such Core ML file; give a .mlmodel or an .mlpackage")
        return
    if against is not None and _suffix(against) in _CORE_ML:
        raise UserError(f"{against} is the Core ML file, and {file} is not; are FILE and --against swapped?")
    if _is_network(file):
        name = PurePosixPath(str(file)).stem if _suffix(file) else PurePosixPath(str(file)).name
        raise UserError(
            f"{file} is a trained network, not a Core ML file; "
            f"`tinystyle export {file} --out {name.removeprefix('pretrained:')}.mlmodel` writes one of it"
        )


def check_exported(file: str | Path, against: str | Path) -> None:
    """Raise UserError if `file`, which should be a file that was exported, is missing or named like a network."""
    if _suffix(file) not in _EXPORTED:
        if _suffix(against) in _EXPORTED and _suffix(against) not in _CORE_ML:
            raise UserError(f"{against} is the exported file, and {file} is not; are FILE and --against swapped?")
        check_core_ml(file, against)
    elif not Path(file).exists():
        check_core_ml(file, against)
        raise UserError(f"{file}: no such file; `tinystyle export MODEL --out {Path(file).name}` writes one")


def check_network(model: str, what: str) -> None:
    """Raise UserError if `model`, which should be a trained network, is named like a Core ML file or a photo."""
    if _suffix(model) in _CORE_ML:
        raise UserError(
            f"{model} is a Core ML file; {what} needs the network it was exported from: the folder of the run, "
            "model.safetensors, a checkpoint, or pretrained:NAME"
        )
    if _suffix(model) in _EXPORTED:
        raise UserError(f"{model} was exported from a network; {what} needs that network")
    if _suffix(model) in IMAGES:
        raise UserError(f"{model} is an image; {what} needs a trained network")


def check_photos(model: str, photos: Sequence[str]) -> None:
    """Raise UserError if a model is among the photos, or an image is where the model should be."""
    other = next((photo for photo in photos if _suffix(photo) in _CORE_ML + _NETWORKS or _is_named(photo)), None)
    if _suffix(model) in IMAGES:
        hint = "are MODEL and PHOTOS swapped?" if other else "give a trained network or a Core ML file first"
        raise UserError(f"{model} is an image, not a model; {hint}")
    if other:
        raise UserError(f"{other} is a model, not a photo; one command takes one model, and it comes first")


def check_video(model: str, video: str) -> None:
    """Raise UserError if a model or an image is where the video should be, or an image where the model should be."""
    if _suffix(model) in IMAGES:
        raise UserError(f"{model} is an image, not a model; give a trained network or a Core ML file first")
    if _suffix(video) in _CORE_ML + _NETWORKS or _is_named(video):
        raise UserError(f"{video} is a model, not a video; the model comes first, then the video")
    if _suffix(video) in IMAGES and _suffix(video) != ".gif":
        raise UserError(f"{video} is an image; `tinystyle stylize {model} {video}` takes it")


def _is_network(place: str | Path) -> bool:
    return _suffix(place) in _NETWORKS or _is_named(place) or (Path(place) / "run.json").is_file()


def _is_named(place: str | Path) -> bool:
    return str(place).startswith("pretrained:")


def _suffix(place: str | Path) -> str:
    return PurePosixPath(str(place).rstrip("/")).suffix.lower()

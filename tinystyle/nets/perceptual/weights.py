"""Finds, checks and reads the weights of loss networks. No pickle is executed."""

from __future__ import annotations

import pickle
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tinystyle.data import storage
from tinystyle.data.addresses import shown
from tinystyle.data.downloads import fetch
from tinystyle.data.placeholders import HEAD, placeholder
from tinystyle.errors import UserError

__all__ = ["OfficialWeights", "find_weights", "load_weights"]


@dataclass(frozen=True)
class OfficialWeights:
    """A file on the web whose SHA-256 begins with `sha256_prefix`."""

    url: str
    sha256_prefix: str


def load_weights(name: str, source: str | OfficialWeights) -> tuple[dict[str, Tensor], str]:
    """Read a state dict from a path or URI (.pth or .safetensors), or from an official file, fetched once into the cache.

    Returns:
        The tensors by name, and the SHA-256 of the file.

    Raises:
        UserError: the file is not available, differs from the official one, or contains other objects than tensors.
    """
    path, uri, digest = find_weights(name, source)
    return _read(path, uri), digest


def find_weights(name: str, source: str | OfficialWeights) -> tuple[Path, str, str]:
    """Find the file that `load_weights` reads: its local path, its URI and its SHA-256.

    Raises:
        UserError: it is not available, or is not the official one.
    """
    official = source if isinstance(source, OfficialWeights) else None
    uri = official.url if official else str(source)
    try:
        path = fetch(uri, subfolder="weights", fixed=official is not None)
    except OSError as error:
        raise storage.unreadable(
            uri,
            error,
            f"no weights for {name}: {shown(uri)} cannot be read ({error.strerror or error}); give a local or S3 file "
            "with `perceptual_weights`, or `perceptual` narrow, whose weights come with tinystyle",
        ) from error
    digest = storage.sha256(path)
    if official and not digest.startswith(official.sha256_prefix):
        path.unlink()
        raise UserError(
            f"{uri} arrived with SHA-256 {digest[:8]}..., expected {official.sha256_prefix}...; try again, "
            "or give a file of your own with `perceptual_weights`"
        )
    return path, uri, digest


def _read(path: Path, source: str) -> dict[str, Tensor]:
    with path.open("rb") as opened:
        if found := placeholder(opened.read(HEAD)):
            raise UserError(f"{source} is {found}")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            with warnings.catch_warnings():  # about uncommon pickle protocols
                warnings.simplefilter("ignore", UserWarning)
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        struct.error,
    ) as error:
        raise UserError(f"{source} is not a .safetensors or .pth file of plain tensors, or is damaged") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{source} does not hold a dictionary of tensors")
    return state

"""Finding, checking and reading the weights of perceptual networks. No pickle is executed."""

from __future__ import annotations

import hashlib
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tinystyle import storage

__all__ = ["OfficialWeights", "load_weights"]


@dataclass(frozen=True)
class OfficialWeights:
    """A file on the web whose SHA-256 begins with `sha256_prefix`."""

    url: str
    sha256_prefix: str


def load_weights(name: str, uri: str | None, official: OfficialWeights) -> dict[str, Tensor]:
    """Read a state dict from `uri` (path or URI, .pth or .safetensors), or from the official file, fetched once into the cache.

    Raises:
        ValueError: the file cannot be had, is not the official one, or holds something else than tensors.
    """
    source = uri or official.url
    try:
        path = storage.fetch(source, subfolder="weights")
    except OSError as error:
        raise ValueError(
            f"no weights for {name}: {source} cannot be read ({error}); give a local or S3 file with --perceptual-weights, "
            "or train with --perceptual efficientnet-lite0, whose weights come as a package"
        ) from error
    if uri is None:
        _check_hash(path, official)
    return _read(path, source)


def _check_hash(path: Path, official: OfficialWeights) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(official.sha256_prefix):
        path.unlink()
        raise ValueError(
            f"{official.url} arrived with SHA-256 {digest[:8]}..., expected {official.sha256_prefix}...; try again, "
            "or give a file of your own with --perceptual-weights"
        )


def _read(path: Path, source: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, struct.error) as error:
        raise ValueError(f"{source} is not a .safetensors or .pth file of plain tensors: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{source} does not hold a dictionary of tensors")
    return state

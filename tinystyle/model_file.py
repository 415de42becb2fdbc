"""Reads and writes trained networks: .safetensors files with configuration and lineage. Also reads checkpoints (.ckpt).

Does not depend on training, datasets or Core ML.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from torch import Tensor

from tinystyle.config import NetworkConfig
from tinystyle.data import storage
from tinystyle.data.addresses import public
from tinystyle.data.placeholders import placeholder
from tinystyle.errors import UserError
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.styles import pretrained

__all__ = ["LoadedModel", "load_model", "read_model_bytes", "save_model"]

# One metadata entry, not several: safetensors writes entries in no fixed order, and equal models must give equal bytes.
_METADATA_KEY = "tinystyle"
_CHECKPOINT_PREFIX = "network."


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights (float32, on the CPU, evaluation mode), its configuration and its lineage."""

    network: StyleNetwork
    config: NetworkConfig
    lineage: dict[str, str]


def save_model(
    network: StyleNetwork,
    path_or_uri: str | Path,
    config: NetworkConfig,
    lineage: dict[str, str],
    *,
    record: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the weights, `config` and `lineage` to a .safetensors file, atomically.

    Equal arguments give bit-identical files.

    Args:
        network: the network.
        path_or_uri: path or URI of the file, which is replaced if it exists.
        config: architecture and width multiplier of the network.
        lineage: hashes of everything that the network was made from; see `tinystyle.training.lineage`.
        record: record of a style that ships with the package; see `tinystyle.styles.pretrained`.
        dtype: number format of the weights in the file: float32, or float16 at half the size. Both load as float32.
    """
    # clone: safetensors rejects tensors that share memory or are not contiguous (channels_last).
    weights = {
        name: tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    facts: dict[str, Any] = {"lineage": lineage, "network": config.model_dump(mode="json")}
    metadata = json.dumps(facts | ({pretrained.RECORD_KEY: record} if record else {}), sort_keys=True)
    storage.write_bytes(path_or_uri, safetensors.torch.save(weights, {_METADATA_KEY: metadata}))


def load_model(uri: str | Path) -> LoadedModel:
    """Load a file that `save_model` wrote, or the network in a training checkpoint (`.ckpt`).

    Args:
        uri: path, URI, or `pretrained:NAME` for a style that ships with the package.

    Raises:
        UserError: the file is missing or is not a tinystyle model, or its weights do not fit the network that it names.
    """
    try:
        data = read_model_bytes(uri)
    except FileNotFoundError as error:
        raise pretrained.not_found(uri) from error
    except OSError as error:
        raise storage.unreadable(uri, error, f"{uri}: cannot be read ({error.strerror or error})") from error
    if found := placeholder(data):
        raise UserError(f"{uri}: is {found}")
    weights, config_json, lineage = (_checkpoint if public(uri).endswith(".ckpt") else _safetensors)(data, uri)
    try:
        config = NetworkConfig.model_validate_json(config_json)
        network = build_network(config.architecture, config.alpha)
    except ValidationError as error:
        raise UserError(f"{uri}: names a network that cannot be built: {error.errors()[0]['msg']}") from error
    except UserError as error:
        raise UserError(f"{uri}: names a network that cannot be built: {error}") from error
    _check_weights(weights, network, f"{uri}: the weights do not fit {config.architecture} at alpha {config.alpha}")
    network.load_state_dict(weights)
    return LoadedModel(network.eval(), config, lineage)


def read_model_bytes(uri: str | Path) -> bytes:
    """Return the content of a model file.

    Args:
        uri: as in `load_model`.

    Raises:
        UserError: no style of that name ships with the package.
        OSError: the file cannot be read.
    """
    return storage.read_bytes(pretrained.path_of(str(uri)) if pretrained.is_pretrained(uri) else uri)


def _safetensors(data: bytes, uri: str | Path) -> tuple[dict[str, Tensor], str, dict[str, str]]:
    try:
        weights = safetensors.torch.load(data)
        header: Any = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"][_METADATA_KEY])
        return weights, json.dumps(metadata["network"]), _lineage(metadata["lineage"])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{uri}: not a model that tinystyle saved; give a model.safetensors or a .ckpt") from error


def _checkpoint(data: bytes, uri: str | Path) -> tuple[dict[str, Tensor], str, dict[str, str]]:
    try:
        checkpoint: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix(_CHECKPOINT_PREFIX): tensor
            for name, tensor in checkpoint["state_dict"].items()
            if name.startswith(_CHECKPOINT_PREFIX)
        }
        return weights, checkpoint["network_config"], _lineage(json.loads(checkpoint.get("lineage", "{}")))
    except Exception as error:  # torch.load can raise almost any exception on foreign data
        raise UserError(f"{uri}: not a checkpoint that tinystyle saved") from error


def _lineage(value: Any) -> dict[str, str]:
    return {str(key): str(entry) for key, entry in value.items()}


def _check_weights(weights: dict[str, Tensor], network: StyleNetwork, problem: str) -> None:
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise UserError(f"{problem}: {name} is missing")
        if name not in expected:
            raise UserError(f"{problem}: {name} is unexpected")
        if not isinstance(weights[name], Tensor) or weights[name].shape != expected[name].shape:
            raise UserError(f"{problem}: {name} does not have shape {tuple(expected[name].shape)}")
        if not weights[name].isfinite().all():
            raise UserError(f"{problem}: {name} holds values that are not finite; train it again")

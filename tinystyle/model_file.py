"""A trained network as a file: .safetensors that holds its configuration and lineage, or a checkpoint (.ckpt).

Knows nothing of training, data or Core ML.
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
from tinystyle.errors import UserError
from tinystyle.nets import build_network
from tinystyle.nets.blocks import StyleNetwork
from tinystyle.styles import pretrained

__all__ = ["LoadedModel", "load_model", "read_model_bytes", "save_model"]

# One metadata entry, not several: safetensors writes entries in no fixed order, and equal models are to be equal bytes.
_METADATA_KEY = "tinystyle"
_CHECKPOINT_PREFIX = "network."


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights (float32, on the CPU, in eval mode), what built it and where it comes from."""

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
    """Write the weights, with `config` and `lineage`, as .safetensors; whole or not at all.

    Equal arguments give equal bytes.

    Args:
        record: of a style that ships with the package, see `tinystyle.styles.pretrained`.
        dtype: of the weights in the file: float32, or float16 at half the bytes; they are read back as float32.
    """
    # clone: safetensors refuses tensors that share memory or are not laid out plainly (channels_last).
    weights = {
        name: tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    facts: dict[str, Any] = {"lineage": lineage, "network": config.model_dump(mode="json")}
    metadata = json.dumps(facts | ({pretrained.RECORD_KEY: record} if record else {}), sort_keys=True)
    storage.write_bytes(path_or_uri, safetensors.torch.save(weights, {_METADATA_KEY: metadata}))


def load_model(uri: str | Path) -> LoadedModel:
    """Read what `save_model` wrote, or the network inside a training checkpoint (`.ckpt`).

    Args:
        uri: path, URI, or `pretrained:NAME` of a style that ships with the package.

    Raises:
        ValueError: the file is missing, is no model of this project, or its weights do not fit the network it names.
    """
    try:
        data = read_model_bytes(uri)
    except FileNotFoundError as error:
        raise UserError(f"{uri}: no such file; give a model.safetensors or a .ckpt") from error
    except OSError as error:
        raise UserError(f"{uri}: cannot be read ({error.strerror or error})") from error
    weights, config_json, lineage = (_checkpoint if str(uri).endswith(".ckpt") else _safetensors)(data, uri)
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
    """The bytes of a model's file.

    Args:
        uri: as for `load_model`.

    Raises:
        ValueError: no style of that name ships with the package.
        OSError: it cannot be read.
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
    except Exception as error:  # what torch.load raises on foreign bytes is open-ended
        raise UserError(f"{uri}: not a checkpoint that tinystyle saved") from error


def _lineage(value: Any) -> dict[str, str]:
    return {str(key): str(entry) for key, entry in value.items()}


def _check_weights(weights: dict[str, Tensor], network: StyleNetwork, problem: str) -> None:
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise UserError(f"{problem}: {name} is missing")
        if name not in expected:
            raise UserError(f"{problem}: {name} has no place in it")
        if not isinstance(weights[name], Tensor) or weights[name].shape != expected[name].shape:
            raise UserError(f"{problem}: {name} does not have shape {tuple(expected[name].shape)}")
        if not weights[name].isfinite().all():
            raise UserError(f"{problem}: {name} holds values that are not finite; train it again")

"""Reads and writes trained networks: .safetensors files with configuration and lineage. Also reads checkpoints (.ckpt).

A file holds one style, or a trunk and a table of styles. Does not depend on training, datasets or Core ML.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from tinystyle.nets.styled import BlendingNetwork, StyledNetwork, norm_shapes
from tinystyle.styles import pretrained, selection

__all__ = [
    "LoadedModel", "LoadedStyles", "NamedStyle", "load_any", "load_model", "load_styles", "read_model_bytes", "save_model",
    "save_styles",
]  # fmt: skip

# One metadata entry, not several: safetensors writes entries in no fixed order, and equal models must give equal bytes.
_METADATA_KEY = "tinystyle"
_CHECKPOINT_PREFIX = "network."
_TABLE = "styles"
"""Name of the table of style vectors among the weights of a file of many styles."""


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights (float32, on the CPU, evaluation mode), its configuration and its lineage."""

    network: StyleNetwork
    config: NetworkConfig
    lineage: dict[str, str]
    names: ClassVar[tuple[str, ...]] = ()
    """As of `LoadedStyles`: it has one style only."""

    @property
    def in_file(self) -> StyleNetwork:
        """The network as a file for apps holds it."""
        return self.network


@dataclass(frozen=True)
class NamedStyle:
    """A style of a network of many."""

    name: str
    sha256: str
    """SHA-256 of the pixels of the style image."""


@dataclass(frozen=True)
class LoadedStyles:
    """A network of many styles, with its configuration, its lineage and the names of its styles."""

    network: StyledNetwork
    config: NetworkConfig
    lineage: dict[str, str]
    styles: tuple[NamedStyle, ...]
    """The styles, in the order of the rows of `network.styles`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the styles."""
        return tuple(style.name for style in self.styles)

    @property
    def in_file(self) -> BlendingNetwork:
        """The network as a file for apps holds it: with the styles inside, and the share of each as a second input."""
        return BlendingNetwork(self.network).eval()

    def select(self, text: str) -> LoadedModel:
        """Return the ordinary network of a style, or of a mixture.

        Args:
            text: the name of a style, or names with shares, such as wave=0.5,mosaic=0.5.

        Raises:
            UserError: there is no such style, or a share is no positive number.
        """
        shares = selection.parse(text, self.names)
        rows = {self.names.index(name): share for name, share in shares.items()}
        parts = {self.styles[row].sha256: share for row, share in rows.items()}
        mixed = json.dumps(parts, sort_keys=True).encode()
        lineage = self.lineage | {
            "style": next(iter(parts)) if len(parts) == 1 else hashlib.sha256(mixed).hexdigest(),
            "style_name": selection.title(shares),
        }
        return LoadedModel(self.network.plain(self.network.mixed(rows)).eval(), self.config, lineage)


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
    _write(path_or_uri, network.state_dict(), config, lineage, {pretrained.RECORD_KEY: record} if record else {}, dtype)


def save_styles(
    network: StyledNetwork,
    path_or_uri: str | Path,
    config: NetworkConfig,
    lineage: dict[str, str],
    styles: Sequence[NamedStyle],
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a network of many styles to a .safetensors file, atomically: the trunk, the table, and the styles' names.

    Args:
        network: the network.
        path_or_uri: path or URI of the file, which is replaced if it exists.
        config: architecture and width multiplier of the network.
        lineage: as in `save_model`.
        styles: the styles, in the order of the rows of the table.
        dtype: number format of the weights in the file, as in `save_model`.
    """
    assert len(styles) == len(network.styles)
    weights = {**dict(network.shared()), _TABLE: network.styles}
    _write(path_or_uri, weights, config, lineage, {_TABLE: [asdict(style) for style in styles]}, dtype)


def _write(
    path_or_uri: str | Path,
    weights: dict[str, Tensor],
    config: NetworkConfig,
    lineage: dict[str, str],
    more: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    # clone: safetensors rejects tensors that share memory or are not contiguous (channels_last).
    stored = {
        name: tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    metadata = json.dumps({"lineage": lineage, "network": config.model_dump(mode="json"), **more}, sort_keys=True)
    storage.write_bytes(path_or_uri, safetensors.torch.save(stored, {_METADATA_KEY: metadata}))


def load_model(uri: str | Path) -> LoadedModel:
    """Load a file that `save_model` wrote, or the network in a training checkpoint (`.ckpt`), or one of many styles.

    Args:
        uri: path, URI, or `pretrained:NAME` for a style that ships with the package. `FILE#STYLE` is a style of a file of
            many, `FILE#ONE=0.5,OTHER=0.5` a mixture.

    Raises:
        UserError: the file is missing or is not a tinystyle model, or its weights do not fit the network that it names;
            or it has many styles and `uri` selects none, or one that it has not.
    """
    place, style = selection.split(uri)
    model = load_any(place)
    if isinstance(model, LoadedStyles):
        if style is None:
            raise UserError(
                f"{place}: holds the styles {', '.join(model.names)}; choose one with `style`, or as {place}#{model.names[0]}"
            )
        return model.select(style)
    if style not in (None, model.lineage.get("style_name")):
        raise UserError(f"{place}: is a network of one style; leave out `style` {style}")
    return model


def load_styles(uri: str | Path) -> LoadedStyles | None:
    """Load a network of many styles; None if the file is of one style, or `uri` selects one, as in `load_model`."""
    place, style = selection.split(uri)
    model = load_any(place) if style is None else None
    return model if isinstance(model, LoadedStyles) else None


def load_any(uri: str | Path) -> LoadedModel | LoadedStyles:
    """Load a file that `save_model` or `save_styles` wrote, or a training checkpoint (`.ckpt`).

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
    weights, config_json, lineage, styles = (_checkpoint if public(uri).endswith(".ckpt") else _safetensors)(data, uri)
    try:
        config = NetworkConfig.model_validate_json(config_json)
        network = build_network(config.architecture, config.alpha)
    except ValidationError as error:
        raise UserError(f"{uri}: names a network that cannot be built: {error.errors()[0]['msg']}") from error
    except UserError as error:
        raise UserError(f"{uri}: names a network that cannot be built: {error}") from error
    problem = f"{uri}: the weights do not fit {config.architecture} at alpha {config.alpha}"
    if styles:
        vectors_sk = weights.pop(_TABLE, torch.zeros(0))
        shape = (len(styles), sum(norm_shapes(network).values()))
        _check_weights({_TABLE: vectors_sk}, {_TABLE: torch.empty(shape)}, problem)
        norms = {name: network.get_parameter(name) for name in norm_shapes(network)}
        weights = {**{name: value for name, value in weights.items() if name not in norms}, **norms}
    _check_weights(weights, network.state_dict(), problem)
    network.load_state_dict(weights)
    if styles:
        return LoadedStyles(StyledNetwork(network, vectors_sk).eval(), config, lineage, styles)
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


_Parts = tuple[dict[str, Tensor], str, dict[str, str], tuple[NamedStyle, ...]]
"""Weights, network configuration as JSON, lineage, and the styles of a file of many."""


def _safetensors(data: bytes, uri: str | Path) -> _Parts:
    try:
        weights = safetensors.torch.load(data)
        header: Any = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = json.loads(header["__metadata__"][_METADATA_KEY])
        styles = _styles(metadata.get(_TABLE, []))
        return weights, json.dumps(metadata["network"]), _lineage(metadata["lineage"]), styles
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{uri}: not a model that tinystyle saved; give a model.safetensors or a .ckpt") from error


def _checkpoint(data: bytes, uri: str | Path) -> _Parts:
    try:
        checkpoint: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        styles = _styles(json.loads(checkpoint.get(_TABLE, "[]")))
        weights = {
            name.removeprefix(_CHECKPOINT_PREFIX).removeprefix("trunk." if styles else ""): tensor
            for name, tensor in checkpoint["state_dict"].items()
            if name.startswith(_CHECKPOINT_PREFIX)
        }
        return weights, checkpoint["network_config"], _lineage(json.loads(checkpoint.get("lineage", "{}"))), styles
    except Exception as error:  # torch.load can raise almost any exception on foreign data
        raise UserError(f"{uri}: not a checkpoint that tinystyle saved") from error


def _lineage(value: Any) -> dict[str, str]:
    return {str(key): str(entry) for key, entry in value.items()}


def _styles(value: Any) -> tuple[NamedStyle, ...]:
    return tuple(NamedStyle(str(each["name"]), str(each["sha256"])) for each in value)


def _check_weights(weights: dict[str, Tensor], expected: dict[str, Tensor], problem: str) -> None:
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise UserError(f"{problem}: {name} is missing")
        if name not in expected:
            raise UserError(f"{problem}: {name} is unexpected")
        if not isinstance(weights[name], Tensor) or weights[name].shape != expected[name].shape:
            raise UserError(f"{problem}: {name} does not have shape {tuple(expected[name].shape)}")
        if not weights[name].isfinite().all():
            raise UserError(f"{problem}: {name} holds values that are not finite; train it again")

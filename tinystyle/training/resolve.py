"""Resolves a requested run into one that can start: machine settings, dataset, hashes and run key. Writes no run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tinystyle.config import AUTO, ExecutionConfig, RunConfig
from tinystyle.data.ingest import Progress, check_large_enough, dataset_for_training, is_dataset
from tinystyle.data.manifest import Manifest
from tinystyle.data.processes import bf16_pays, cpu_count
from tinystyle.errors import UserError, shortened
from tinystyle.nets.perceptual import load_perceptual_network, perceptual_sha256
from tinystyle.styles import selection
from tinystyle.training.lineage import lineage_of
from tinystyle.training.standby import Standby
from tinystyle.training.style_list import StyleList, load_styles, sha256_of

__all__ = ["Resolved", "check", "resolve", "run_keys"]

_LOG = logging.getLogger(__name__)
_MOST_THREADS = 1024
"""OpenMP ends the process if it cannot start all threads."""


@dataclass(frozen=True)
class Resolved:
    """A validated run, with the hashes of everything that determines its weights."""

    config: RunConfig
    dataset: Path
    """Folder of the dataset on this machine."""
    lineage: dict[str, str]

    @property
    def key(self) -> str:
        """The run key; runs with the same key have the same weights."""
        return self.lineage["key"]


def check(config: RunConfig, standby: Standby | None = None) -> tuple[RunConfig, StyleList]:
    """Validate what can be validated quickly, and load the style images.

    Args:
        config: the run.
        standby: started before torch is imported.

    Returns:
        The run with `precision` "auto" and `threads` None replaced by the values for this machine, and the style images.

    Raises:
        UserError: this machine cannot execute the run as configured, or the style image cannot be used.
    """
    styles = _usable_styles(config)
    if is_dataset(config.photos):
        check_large_enough(config.photos, config.data.size)
    if standby:
        standby.start(config.execution)
    return _settle(config), styles  # last: it imports torch


def resolve(
    config: RunConfig, checked: tuple[RunConfig, StyleList] | None = None, progress: Progress | None = None
) -> Resolved:
    """Find and validate everything a run needs. Photos that are not a dataset yet are ingested into the cache.

    Args:
        config: the run.
        checked: what `check` returned for it, if it was called before.
        progress: called after each ingested photo.

    Raises:
        UserError: this machine cannot execute the run as configured, or the style image, the photos, the weights of the
            loss network or the initial weights are missing or damaged.
        OSError: the photos cannot be read.
    """
    config, styles = checked or check(config)
    dataset = dataset_for_training(config.photos, config.data.size, progress, ingest_size=config.data.photo_side)
    # Built, not only hashed: a file of other weights is to be known before a training starts.
    perceptual = load_perceptual_network(config.loss.perceptual, config.loss.perceptual_weights).weights_sha256
    return Resolved(config, dataset, _lineage(config, Manifest.read(str(dataset)).sha256(), styles, perceptual))


def run_keys(config: RunConfig) -> dict[str, str]:
    """Return the run key for each possible precision, "32" and "bf16", without downloading the photos.

    The training machine decides what precision "auto" means, so a run is already known if either key is.

    Raises:
        UserError: the style image, the dataset or weights are missing or damaged.
        OSError: one of them cannot be read.
    """
    styles = _usable_styles(config)
    dataset = Manifest.read(config.photos).sha256()
    perceptual = perceptual_sha256(config.loss.perceptual, config.loss.perceptual_weights)
    precisions = ("32", "bf16") if config.precision == "auto" else (config.precision,)
    return {
        precision: _lineage(config.model_copy(update={"precision": precision}), dataset, styles, perceptual)["key"]
        for precision in precisions
    }


def _usable_styles(config: RunConfig) -> StyleList:
    """Load the style images, and raise UserError if one cannot be resized to the size that the run needs."""
    styles = load_styles(config)
    for style in styles.values():
        style.at(config.style_side)
    return styles


def _settle(config: RunConfig) -> RunConfig:
    """Replace settings that depend on this machine (precision "auto", devices "all", threads None) with its values.

    Raises:
        UserError: this machine cannot execute the run as configured.
    """
    import torch

    from tinystyle.nets import build_network

    with torch.device("meta"):
        build_network(config.network.architecture, config.network.alpha)
    execution = config.execution
    _check_endpoint(execution)
    cuda = torch.cuda.is_available()
    devices = execution.devices
    if devices == "all":
        devices = torch.cuda.device_count() if cuda else 1
    if config.data.batch_size % (devices * execution.nodes):
        raise UserError(
            f"`batch_size` {config.data.batch_size} must be a multiple of the {devices * execution.nodes} processes"
        )
    if cuda and devices > torch.cuda.device_count():
        raise UserError(f"`devices` {devices}: this machine has {torch.cuda.device_count()} GPUs")
    threads = execution.threads or _threads_of_environment() or max(1, cpu_count() // devices)
    settled = {"devices": devices, "threads": threads}
    config = config.model_copy(update={"execution": execution.model_copy(update=settled)})
    if config.precision != "auto":
        return config
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else bf16_pays(torch.cpu.get_capabilities())
    return config.model_copy(update={"precision": "bf16" if bf16 else "32"})


def _threads_of_environment() -> int | None:
    """Return the number in OMP_NUM_THREADS, the first if it is a list; None if it is not set, or no positive number.

    It is read before training because torchrun sets it for its workers, and only the user's value counts.
    """
    text = os.environ.get("OMP_NUM_THREADS", "").strip()
    first = text.partition(",")[0].strip()
    if first.isascii() and first.isdecimal() and 0 < (number := int(first[:9])) <= _MOST_THREADS:
        return number
    if text not in ("", "0"):
        _LOG.warning("OMP_NUM_THREADS is %r, no number of threads; it is ignored", shortened(text, 40))
    return None


def _lineage(config: RunConfig, dataset_sha256: str, styles: StyleList, perceptual_sha256: str) -> dict[str, str]:
    initial = _initial_sha256(config, config.initial_model, styles) if config.initial_model else None
    teacher = _teacher_sha256(config.teacher) if config.teacher else None
    return lineage_of(config, dataset_sha256, sha256_of(styles), perceptual_sha256, initial, teacher)


def _teacher_sha256(model: str) -> str:
    """Return the SHA-256 of the teacher, and load it first, to know that it is one network of one style."""
    from tinystyle.model_file import load_model

    load_model(model)
    return _sha256_of_model(model)


def _initial_sha256(config: RunConfig, model: str, styles: StyleList) -> str:
    """Return the SHA-256 of the model that a run starts from; one of the user's is loaded first, to know that it fits.

    With `auto`, it is that of "auto" and the file: the same file as a model of the user's is not matched to the style.
    """
    if config.init_from == AUTO:
        return hashlib.sha256(AUTO.encode() + Path(model).read_bytes()).hexdigest()
    from tinystyle.training.initial import check_initial

    check_initial(config, styles)
    return _sha256_of_model(model)


def _sha256_of_model(model: str) -> str:
    from tinystyle.model_file import read_model_bytes

    place, style = selection.split(model)
    return hashlib.sha256(read_model_bytes(place) + (style or "").encode()).hexdigest()


def _check_endpoint(execution: ExecutionConfig) -> None:
    endpoint = execution.rdzv_endpoint
    if execution.nodes == 1 or endpoint is None:
        return
    host, _, port = endpoint.rpartition(":")
    if not (host and re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 2**16):
        raise UserError(f"`rdzv_endpoint` {endpoint}: give HOST:PORT of the first machine, such as 10.0.0.1:29400")

"""Refuses a run that would write among its own inputs: into the photos, or over the files that it starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tinystyle.config import RunConfig, named_address
from tinystyle.data import addresses, storage
from tinystyle.data.ingest import is_dataset
from tinystyle.errors import UserError
from tinystyle.training.run_folder import RunFolder

__all__ = ["check_outputs"]


def check_outputs(config: RunConfig, folder: Path) -> None:
    """Check that nothing that a run writes would change what it reads, nor be read as a photo by the next run.

    Raises:
        UserError: it would.
    """
    for uri, said in _written(config, folder):
        if _is_inside(uri, config.photos):
            raise UserError(f"{said}, inside the photos {config.photos}, which must stay as they are")
    replaced = [*RunFolder(folder).written, *(_checkpoint_files(config, folder))]
    for name, source in _read(config):
        if not storage.is_remote(source) and _real(source) in [_real(file) for file in replaced]:
            raise UserError(f"`{name}` {source} is a file that this run would replace; choose another `out`")


def _written(config: RunConfig, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the places that a run writes to, each with a sentence's beginning that says what to do about it."""
    files, execution = RunFolder(folder), config.execution
    for place in (folder, files.previews):
        yield str(place), f"choose another `out`: {folder} lies"
    if execution.checkpoints:
        yield execution.checkpoints, f"choose other `checkpoints`: {execution.checkpoints} lie"
    if execution.track:
        for place in _tracking_files():
            yield (
                str(place),
                (f"set MLFLOW_TRACKING_URI, work in another folder, or switch `track` off: MLflow's {place} lies"),
            )
    if not storage.is_remote(config.photos) and not is_dataset(config.photos):
        yield str(storage.cache_root()), f"set TINYSTYLE_CACHE to another folder: the cache {storage.cache_root()} lies"


def _tracking_files() -> Iterator[Path]:
    """Yield what MLflow writes on this machine: its database, or its folder, and its artifacts beside a database."""
    from tinystyle.tracking.connection import tracking_uri

    uri = tracking_uri()
    if uri.startswith("sqlite:"):
        yield Path(urlsplit(uri).path[1:])
        yield Path("mlruns")
    elif not addresses.is_remote(uri) and ":" not in uri.partition("/")[0]:
        yield Path(uri)
    elif uri.startswith("file:"):
        yield storage.local_path(uri)


def _read(config: RunConfig) -> Iterator[tuple[str, str]]:
    for name, source in (
        *(("styles", named_address(style)[1]) for style in config.styles),
        ("style", config.style),
        ("init_from", config.initial_model),
        ("teacher", config.teacher),
        ("perceptual_weights", config.loss.perceptual_weights),
    ):
        if source:
            yield name, source


def _checkpoint_files(config: RunConfig, folder: Path) -> list[Path]:
    files = RunFolder(folder)
    uris = (files.last(config.execution), files.best(config.execution))
    return [storage.local_path(uri) for uri in uris if not storage.is_remote(uri)]


def _is_inside(uri: str, photos: str) -> bool:
    if storage.is_remote(uri) or storage.is_remote(photos):
        return f"{uri.rstrip('/')}/".startswith(f"{photos.rstrip('/')}/")
    return _real(uri).is_relative_to(_real(photos))


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(storage.local_path(path)))

"""What `train-style` finds out before anything is spent: can this be trained, and has it been trained already?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.runtime import flow_run

from flows.catalog import Training
from flows.faults import NETWORK
from tinystyle.data import storage
from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.tracking.registry import ModelVersion

__all__ = ["check", "registered"]


@task(name="check", **NETWORK)
def check(training: Training, checkpoints: str) -> ModelVersion | None:
    """Validate the inputs before the expensive steps, and look for an earlier run with the same run key.

    Args:
        training: the network to train.
        checkpoints: folder or URI under which the run keeps its checkpoints; must be writable.

    Returns:
        The version that the earlier run registered; None if there is none.

    Raises:
        UserError: `export_size` is not possible for a file, the packages of its format are not installed, the dataset
            has too small or no held-out photos, or the style image, the dataset or the weights of the loss network are
            missing or damaged.
        OSError: one of them or the registry cannot be reached, or `checkpoints` cannot be written to.
    """
    from tinystyle.coreml.sizes import ImageSizes
    from tinystyle.data.manifest import Manifest
    from tinystyle.exports import check_installed, check_sizes
    from tinystyle.nets import build_network
    from tinystyle.release.bundle import check_files

    config = training.run
    stride = build_network(config.network.architecture, config.network.alpha).stride
    for format, _, _ in check_files(training.files):
        check_installed(format)
        check_sizes(format, ImageSizes.parse(training.export_size), stride)
    manifest = Manifest.read(config.photos)
    if manifest.size < config.data.size:
        raise UserError(
            f"`photos` {config.photos}: their short side has {manifest.size} pixels, less than the `size` "
            f"{config.data.size}"
        )
    if not manifest.held_out or manifest.count == len(manifest.held_out):
        raise UserError(
            f"`photos` {config.photos}: {manifest.count} photos, {len(manifest.held_out)} held out; ingest more"
        )
    if f"{checkpoints.rstrip('/')}/".startswith(f"{config.photos.rstrip('/')}/"):
        raise UserError(f"`checkpoints` {checkpoints}: inside the photos {config.photos}; give another place")
    probe = storage.join(checkpoints, f".write-test-{flow_run.id or 'here'}")
    storage.write_bytes(probe, b"")
    storage.remove(probe)
    return registered(training)


def registered(training: Training) -> ModelVersion | None:
    """Return the newest version with the run key of `training`, at any precision; None if there is none.

    Raises:
        UserError: the style image, the dataset or the weights of the loss network are missing or damaged.
        OSError: one of them, or the registry, cannot be reached.
    """
    from tinystyle.tracking import registry
    from tinystyle.training.resolve import run_keys

    there = registry.versions(training.name)  # first, because a missing registry is detected within seconds
    keys = run_keys(training.run).values()
    return next((version for version in there if version.tags.get("key") in keys), None)

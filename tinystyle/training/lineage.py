"""What a run is made from, as hashes; and its key, the hash of these. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path

from tinystyle import __version__, styles
from tinystyle.config import RunConfig
from tinystyle.training import TRAINING_REVISION

__all__ = ["lineage_of", "run_key"]


def lineage_of(
    config: RunConfig, dataset_sha256: str, style_sha256: str, perceptual_sha256: str, init_sha256: str | None
) -> dict[str, str]:
    """Everything that decides a run's weights, by hash, and for the record the style's name, the commit and the
    version.

    Args:
        config: the run, its precision resolved.
        dataset_sha256: of the dataset's manifest.
        style_sha256: of the style image's pixels.
        perceptual_sha256: of the file of the perceptual network's weights.
        init_sha256: of the file of initial weights, if there is one.
    """
    recipe = config.model_dump(mode="json", exclude={"style", "photos", "init_from", "execution"})
    # The same image, photos or weights at another place are the same run.
    recipe["loss"].pop("perceptual_weights")
    facts = {
        "recipe": _digest(recipe),
        "dataset": dataset_sha256,
        "style": style_sha256,
        "perceptual": perceptual_sha256,
        "training_revision": str(TRAINING_REVISION),
    }
    if init_sha256:
        facts["init_from"] = init_sha256
    # Beside the key, not in it: the same image under another name is the same style.
    crop = str(config.data.size)  # in the recipe too, but a hash does not tell
    return {
        **facts,
        "key": run_key(facts),
        "crop": crop,
        "style_name": styles.image_name(config.style),
        "version": __version__,
        "commit": _commit(),
    }


def run_key(facts: dict[str, str]) -> str:
    """Sixteen hexadecimal digits that name everything in `facts`."""
    return _digest(facts)[:16]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _commit() -> str:
    """The commit of the checkout this package runs from, with "-dirty" where files differ from it; "" outside one."""
    # Installed into somebody else's checkout, it is no part of that one's commits.
    is_tracked = ("ls-files", "--error-unmatch", __file__)
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        for arguments in (is_tracked, describe):
            command = ["git", "-C", str(Path(__file__).parent), *arguments]
            result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()

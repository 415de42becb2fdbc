"""Hashes of everything a run is made from, and the run key, the hash of these hashes. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path

from tinystyle import __version__
from tinystyle.config import RunConfig
from tinystyle.training import TRAINING_REVISION
from tinystyle.training.style_list import style_title

__all__ = ["NOT_IN_RECIPE", "lineage_of", "run_key"]

NOT_IN_RECIPE = {"style", "styles", "photos", "init_from", "teacher", "execution"}
"""Fields of a run that say where something lies, whose content decides, or how the run executes."""


def lineage_of(
    config: RunConfig,
    dataset_sha256: str,
    style_sha256: str,
    perceptual_sha256: str,
    init_sha256: str | None,
    teacher_sha256: str | None = None,
) -> dict[str, str]:
    """Return the lineage of a run: the hashes of everything that determines its weights, and the run key.

    It also has, for information only, the side of the crops, the style's name, and the version and commit of tinystyle.

    Args:
        config: the run, with its precision resolved.
        dataset_sha256: SHA-256 of the dataset's manifest.
        style_sha256: SHA-256 of the style image's pixels; of several, `style_list.sha256_of`.
        perceptual_sha256: SHA-256 of the weights file of the loss network.
        init_sha256: SHA-256 of the file of initial weights, if any.
        teacher_sha256: SHA-256 of the file of the teacher, if any.
    """
    recipe = config.model_dump(mode="json", exclude=NOT_IN_RECIPE)
    # The location of the image, the photos or the weights does not matter, only their content.
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
    if teacher_sha256:
        facts["teacher"] = teacher_sha256
    # Stored beside the key, not in it: the same image under another name is the same style.
    crop = str(config.data.size)  # also in the recipe, but cannot be read from its hash
    return {
        **facts,
        "key": run_key(facts),
        "crop": crop,
        "style_name": style_title(config),
        "version": __version__,
        "commit": _commit(),
    }


def run_key(facts: dict[str, str]) -> str:
    """Return the run key: the first 16 hexadecimal digits of the SHA-256 of `facts`, as JSON with sorted keys.

    Args:
        facts: the hashes of everything that determines the weights of a run, by name.
    """
    return _digest(facts)[:16]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _commit() -> str:
    """Return the commit of this package's checkout, with "-dirty" if files were modified, or "" outside a checkout."""
    # A package that is merely installed inside another project's checkout is not part of its commits.
    is_tracked = ("ls-files", "--error-unmatch", __file__)
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        for arguments in (is_tracked, describe):
            command = ["git", "-C", str(Path(__file__).parent), *arguments]
            result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()

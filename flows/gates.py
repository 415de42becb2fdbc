"""The gates: conditions that a new version of a network must meet. Measures and decides, but changes nothing.

Challenger (the new version) and champion are measured at the same time, on the same photos, with the same code and loss
network, because metrics recorded at training time may come from other photos and other code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.catalog import StyleEntry, Training
from tinystyle.release.bundle import Bundle

if TYPE_CHECKING:
    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["Decision", "Evidence", "evaluate", "judge", "measure"]

QUALITIES = ("content", "paint3", "paint4")
"""Metrics in which a new version may not be worse than the champion by more than the margin."""
PHOTOS = 64
"""Maximum number of held-out photos to evaluate; a comparison needs no more, and a large dataset has thousands."""


@dataclass(frozen=True)
class Evidence:
    """Current measurements of a version."""

    label: str
    """Name of the version, used in the reasons."""
    content: float
    paint3: float
    paint4: float
    """content, paint3 and paint4 are means over held-out photos."""
    collapsed: str | None
    """Why the network counts as collapsed; None if it does not."""
    unverified: str | None
    """Why a Core ML file is not verified to be the network; None if all files are."""
    bytes: int
    """Size of the largest Core ML file, in bytes."""


@dataclass(frozen=True)
class Decision:
    """Whether a new version passes the gates, and why."""

    accepted: bool
    reasons: list[str]
    """One reason for every gate, failed gates first."""

    def sentence(self) -> str:
        """Return the decision and all reasons in one line."""
        return f"{'accepted' if self.accepted else 'refused'}: {'; '.join(self.reasons)}"


def judge(challenger: Evidence, champion: Evidence | None, entry: StyleEntry) -> Decision:
    """Decide whether `challenger` passes the gates and may get the alias candidate.

    Its files must be verified and within the byte budget, the network must not have collapsed, and content, paint3 and
    paint4 must each be at most (1 + margin) times the champion's. A limit on their sum would allow a gain in one to
    hide a loss in another.

    Args:
        challenger: measurements of the new version.
        champion: measurements of the current champion; None if there is none.
        entry: the style in the catalog, with the byte budget and the margin.
    """
    passed = [
        (challenger.unverified is None, challenger.unverified or "every Core ML file is verified"),
        _budget(challenger, entry),
        (challenger.collapsed is None, challenger.collapsed or "no collapse on held-out photos"),
        *(_quality(name, challenger, champion, entry) for name in QUALITIES),
    ]
    reasons = [reason for _, reason in sorted(passed, key=lambda gate: gate[0])]
    return Decision(all(ok for ok, _ in passed), reasons)


def _budget(challenger: Evidence, entry: StyleEntry) -> tuple[bool, str]:
    if entry.budget_bytes is None:
        return True, f"{challenger.bytes:,} bytes, no budget is set"
    within = challenger.bytes <= entry.budget_bytes
    return within, f"{challenger.bytes:,} bytes {'of' if within else 'exceed'} a budget of {entry.budget_bytes:,}"


def _quality(name: str, challenger: Evidence, champion: Evidence | None, entry: StyleEntry) -> tuple[bool, str]:
    value: float = getattr(challenger, name)
    if champion is None:
        return math.isfinite(value), f"{name} {value:.4f}, no champion to compare with"
    theirs: float = getattr(champion, name)
    change = value / theirs - 1 if theirs else math.inf
    text = f"{name} {value:.4f} against {theirs:.4f} of {champion.label} ({change:+.1%}, at most {entry.margin:+.1%})"
    return value <= theirs * (1 + entry.margin), text


def evaluate(model: Path, training: Training, photos: str | None = None) -> ModelReport:
    """Evaluate a network on held-out photos, with the style and the loss of `training`.

    Args:
        model: file of the network.
        training: determines photos, style and losses, but not the network.
        photos: a local copy of the dataset `training.run.photos`, if available.

    Raises:
        UserError: the network, the style image, the photos or the weights of the loss network are missing or damaged.
        OSError: the photos cannot be read.
    """
    from tinystyle.evaluation.model_report import evaluate_model

    config = training.run
    return evaluate_model(
        str(model),
        photos=photos or training.run.photos,
        style=training.run.style,
        loss=config.loss,
        size=config.data.size,
        max_photos=PHOTOS,
        exports=False,
    )


def measure(label: str, folder: Path, training: Training) -> Evidence:
    """Measure a version on the held-out photos of `training.run.photos`, with the style and the loss of `training`.

    Args:
        label: name of the version.
        folder: its files as `registry.fetch` writes them: model/ and coreml/.
        training: determines photos, style and losses; the network is the one in `folder`.

    Raises:
        UserError: a file of the version, the style image, the photos or the weights of the loss network are missing or
            damaged.
        OSError: the photos cannot be read.
    """
    bundle = Bundle(folder)
    row = evaluate(bundle.model, training).rows[-1]
    return Evidence(
        label=label,
        content=row.content,
        paint3=row.paint3,
        paint4=row.paint4,
        collapsed=_collapse(bundle.model, training),
        unverified=_unverified(bundle),
        bytes=max(entry.bytes for entry in bundle.entries()),
    )


def _collapse(model: Path, training: Training) -> str | None:
    """Return why the network counts as collapsed on the held-out photos that training checks; None if it does not."""
    import torch

    from tinystyle import styles
    from tinystyle.data.ingest import dataset_for_training
    from tinystyle.data.photos import evenly_spaced, photo_tensor
    from tinystyle.data.shards import ShardDataset
    from tinystyle.evaluation import collapse, color_match
    from tinystyle.evaluation.collapsed import EVALUATION_PHOTOS
    from tinystyle.model_file import load_model

    config = training.run
    shards = ShardDataset(
        dataset_for_training(training.run.photos, config.data.size, ingest_size=config.data.photo_side)
    )
    recolor = color_match(photo_tensor(styles.load_style(training.run.style, config.style_side)))
    photos = [photo_tensor(shards.read(index)) for index in evenly_spaced(shards.held_out, EVALUATION_PHOTOS)]
    network = load_model(model).network
    with torch.inference_mode():
        outputs = [network(photo) for photo in photos]
    return collapse(outputs, photos, [recolor(photo) for photo in photos])


def _unverified(bundle: Bundle) -> str | None:
    """Return which Core ML file has changed since its verification, or has too low a PSNR; None if there is none."""
    from tinystyle.coreml.verification.verify import MIN_PSNR
    from tinystyle.data import storage

    for file in bundle.entries():
        least = MIN_PSNR[file.bits]
        if storage.sha256(bundle.file(file)) != file.sha256:
            return f"{file.name} is not the file that was verified"
        if least is not None and file.psnr < least:
            return f"{file.name} reached {file.psnr:.1f} dB, but {least:g} dB are required"
    return None

"""The gates: conditions that a new version of a network must meet. Measures and decides, but changes nothing.

Challenger (the new version) and champion are measured at the same time, on the same photos, with the same code and loss
network, because metrics recorded at training time may come from other photos and other code. They are compared photo by
photo, and the challenger is refused where it is worse by more than the margin with confidence
(`tinystyle.evaluation.comparison`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from flows.catalog import StyleEntry, Training
from tinystyle.evaluation.comparison import CONFIDENCE, MIN_PHOTOS, Change, paired_change
from tinystyle.release.bundle import Bundle

if TYPE_CHECKING:
    from PIL import Image

    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["Comparison", "Decision", "Evidence", "evaluate", "judge", "measure"]

QUALITIES = ("content", "paint3", "paint4")
"""Metrics in which a new version may not be worse than the champion by more than the margin."""
PHOTOS = 64
"""Maximum number of held-out photos to evaluate; a comparison needs no more, and a large dataset has thousands."""
SHOWN, SHOWN_SIDE = 4, 360
"""Number of pictures to look at, and their longer side in pixels."""


@dataclass(frozen=True)
class Evidence:
    """Current measurements of a version."""

    label: str
    """Name of the version, used in the reasons."""
    content: Sequence[float]
    paint3: Sequence[float]
    paint4: Sequence[float]
    """content, paint3 and paint4 of each held-out photo, in the same order for every version."""
    collapsed: str | None
    """Why the network counts as collapsed; None if it does not."""
    unverified: str | None
    """Why an exported file is not verified to be the network; None if all files are."""
    bytes: int
    """Size of the largest exported file, in bytes."""
    pictures: list[tuple[Image.Image, Image.Image]] = field(default_factory=list, repr=False)
    """Some of the photos, each with its stylized version."""


@dataclass(frozen=True)
class Comparison:
    """One measure of a challenger, and of the champion if there is one."""

    measure: str
    challenger: float
    champion: float | None
    change: Change | None
    """From the champion to the challenger; None if there is no champion."""
    margin: float
    """Largest acceptable change."""

    @property
    def passed(self) -> bool:
        """Whether the challenger is not worse by more than the margin with confidence."""
        return not self.change.surely_over(self.margin) if self.change else math.isfinite(self.challenger)

    def interval(self) -> str:
        """Return the change as text."""
        change = self.change
        if change is None:
            return "no champion to compare with"
        if change.photos < MIN_PHOTOS:
            return f"{change.mean:+.1%} on {change.photos} photos, too few for an interval"
        interval = f"{CONFIDENCE:.0%} interval {change.low:+.1%} to {change.high:+.1%}"
        return f"{change.mean:+.1%}, {interval} over {change.photos} photos"


@dataclass(frozen=True)
class Decision:
    """Whether a new version passes the gates, and why."""

    accepted: bool
    reasons: list[str]
    """One reason for every gate, failed gates first."""
    failed: int = 0
    """Number of failed gates."""
    comparisons: list[Comparison] = field(default_factory=list)
    """content, paint3 and paint4."""

    def headline(self) -> str:
        """Return the decision and what decided it, in one sentence."""
        if self.accepted:
            return f"accepted: passed all {len(self.reasons)} gates"
        return f"refused: {'; '.join(self.reasons[: self.failed])}"

    def sentence(self) -> str:
        """Return the decision and all reasons in one line."""
        return f"{'accepted' if self.accepted else 'refused'}: {'; '.join(self.reasons)}"


def judge(challenger: Evidence, champion: Evidence | None, entry: StyleEntry) -> Decision:
    """Decide whether `challenger` passes the gates and may get the alias candidate.

    Its files must be verified and within the byte budget, and the network must not have collapsed. In content, paint3
    and paint4 each, the 95% interval of the change from the champion must not lie above the margin; with fewer than
    MIN_PHOTOS photos, the change itself must not. A limit on their sum would allow a gain in one to hide a loss in
    another.

    Args:
        challenger: measurements of the new version.
        champion: measurements of the current champion; None if there is none.
        entry: the style in the catalog, with the byte budget and the margin.
    """
    comparisons = [_compare(name, challenger, champion, entry) for name in QUALITIES]
    passed = [
        (challenger.unverified is None, challenger.unverified or "every exported file is verified"),
        _budget(challenger, entry),
        (challenger.collapsed is None, challenger.collapsed or "no collapse on held-out photos"),
        *((found.passed, _words(found, champion)) for found in comparisons),
    ]
    reasons = [reason for _, reason in sorted(passed, key=lambda gate: gate[0])]
    failed = sum(not ok for ok, _ in passed)
    return Decision(not failed, reasons, failed, comparisons)


def _budget(challenger: Evidence, entry: StyleEntry) -> tuple[bool, str]:
    if entry.budget_bytes is None:
        return True, f"{challenger.bytes:,} bytes, no budget is set"
    within = challenger.bytes <= entry.budget_bytes
    return within, f"{challenger.bytes:,} bytes {'of' if within else 'exceed'} a budget of {entry.budget_bytes:,}"


def _compare(name: str, challenger: Evidence, champion: Evidence | None, entry: StyleEntry) -> Comparison:
    mine: Sequence[float] = getattr(challenger, name)
    if champion is None:
        return Comparison(name, fmean(mine), None, None, entry.margin)
    theirs: Sequence[float] = getattr(champion, name)
    return Comparison(name, fmean(mine), fmean(theirs), paired_change(mine, theirs), entry.margin)


def _words(found: Comparison, champion: Evidence | None) -> str:
    if champion is None:
        return f"{found.measure} {found.challenger:.4f}, {found.interval()}"
    against = f"{found.measure} {found.challenger:.4f} against {found.champion:.4f} of {champion.label}"
    return f"{against} ({found.interval()}; at most {found.margin:+.1%})"


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
        folder: its files as `registry.fetch` writes them: model/ and exports/.
        training: determines photos, style and losses; the network is the one in `folder`.

    Raises:
        UserError: a file of the version, the style image, the photos or the weights of the loss network are missing or
            damaged.
        OSError: the photos cannot be read.
    """
    from tinystyle.stylize.sample_photos import verification_photos

    bundle = Bundle(folder)
    photos = list(verification_photos(training.run.photos, SHOWN))
    scores = evaluate(bundle.model, training).scores
    return Evidence(
        label=label,
        content=[each.content for each in scores],
        paint3=[each.paint3 for each in scores],
        paint4=[each.paint4 for each in scores],
        collapsed=_collapse(bundle.model, training),
        unverified=_unverified(bundle, photos),
        bytes=max(entry.bytes for entry in bundle.entries()),
        pictures=_pictures(bundle.model, photos),
    )


def _pictures(model: Path, photos: list[tuple[str, Image.Image]]) -> list[tuple[Image.Image, Image.Image]]:
    from tinystyle.model_file import load_model
    from tinystyle.stylize import stylize_image

    network, found = load_model(model), []
    for _, whole in photos:
        photo = whole.copy()
        photo.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        found.append((photo, stylize_image(network, photo)))
    return found


def _collapse(model: Path, training: Training) -> str | None:
    """Return why the network counts as collapsed on the held-out photos that training checks; None if it does not."""
    import torch

    from tinystyle import styles
    from tinystyle.data.ingest import dataset_for_training
    from tinystyle.data.photos import photo_tensor
    from tinystyle.data.shards import ShardDataset, evenly_spaced
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


def _unverified(bundle: Bundle, photos: list[tuple[str, Image.Image]]) -> str | None:
    """Verify every exported file anew, each by its runtime; return what is wrong with one, or None.

    What is verified is the file to download.
    """
    import tempfile

    from tinystyle.data import storage
    from tinystyle.errors import UserError
    from tinystyle.exports.verify import verify
    from tinystyle.model_file import load_model
    from tinystyle.release.package_zip import unpacked

    network = load_model(bundle.model)
    for file in bundle.entries():
        if storage.sha256(bundle.file(file)) != file.sha256:
            return f"{file.name} is not the file that was verified"
        with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
            try:
                found = verify(unpacked(bundle.file(file), Path(scratch)), network, photos)
            except UserError as error:  # damaged, or its runtime is not installed here
                return f"{file.name} cannot be verified: {error}"
        if not found.passed:
            return f"{file.name} is {found.sentence().replace(f'{found.file}: ', '')}"
    return None

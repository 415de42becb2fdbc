"""The page of a gate decision: the reason in one sentence, the figures, and the pictures of both versions side by side."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.artifacts import create_markdown_artifact

from flows.pictures import embedded
from flows.results import run_link
from tinystyle.evaluation.comparison import MIN_PHOTOS

if TYPE_CHECKING:
    from PIL import Image

    from flows.gates import Comparison, Decision, Evidence
    from tinystyle.tracking.registry import ModelVersion

__all__ = ["FOLDER", "show_decision"]

FOLDER = "gates"
"""Artifact folder of the challenger's MLflow run: comparison.png, and decision.json with the figures."""


def show_decision(version: ModelVersion, decision: Decision, challenger: Evidence, champion: Evidence | None) -> None:
    """Create the artifact of the flow run, and attach picture and figures to the version's MLflow run.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    from tinystyle.tracking.model_files import attach

    sheet = side_by_side(challenger, champion)
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
        figures, picture = Path(scratch) / "decision.json", Path(scratch) / "comparison.png"
        sheet.save(picture)
        figures.write_text(json.dumps(asdict(decision), indent=2) + "\n")
        attach(version.run_id, [figures, picture], FOLDER)
    page = markdown(version, decision) + "\n" + embedded(sheet, "photos, champion and challenger") + "\n"
    create_markdown_artifact(page, key=f"gates-{version.style}", description=decision.headline()[:200])


def side_by_side(challenger: Evidence, champion: Evidence | None) -> Image.Image:
    """Draw one line per photo: the photo, the champion's picture if there is a champion, the challenger's picture."""
    from tinystyle.data.contact_sheet import style_sheet

    columns = {
        f"{each.label}, {role}": each for role, each in (("champion", champion), ("challenger", challenger)) if each
    }
    photos = [photo for photo, _ in challenger.pictures]
    return style_sheet(photos, {head: [picture for _, picture in each.pictures] for head, each in columns.items()})


def markdown(version: ModelVersion, decision: Decision) -> str:
    """Return the page without its picture."""
    lines = [f"# {version.style} version {version.version}: {'accepted' if decision.accepted else 'refused'}", ""]
    lines += [f"{decision.headline()}.", "", run_link(version.run_id), ""]
    lines += ["| | | challenger | champion | change | 95% interval | at most |", "|---|---|---:|---:|---:|---|---:|"]
    for found in decision.comparisons:
        verdict = "passed" if found.passed else "**refused**"
        cells = [found.measure, verdict, f"{found.challenger:.4f}", *_cells(found), f"{found.margin:+.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    measures = tuple(found.measure for found in decision.comparisons)
    lines += ["", *(f"- {reason}" for reason in decision.reasons if not reason.startswith(measures))]
    return "\n".join(lines) + "\n"


def _cells(found: Comparison) -> tuple[str, str, str]:
    """Return champion, change and interval as text; empty where there is none."""
    change = found.change
    if change is None:
        return "", "", ""
    narrow = change.photos < MIN_PHOTOS
    interval = f"too few photos ({change.photos})" if narrow else f"{change.low:+.1%} to {change.high:+.1%}"
    return f"{found.champion:.4f}", f"{change.mean:+.1%}", interval

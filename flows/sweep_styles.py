"""The flow `sweep-styles`: trains and compares every combination of styles, alphas and architectures."""

from __future__ import annotations

import itertools
import json
import math
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.catalog import PHOTOS, Training, style_name
from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE
from flows.outside import LONGEST_LIST, READ, admit, admit_run
from flows.parameters import run_parameters
from flows.results import run_link
from flows.trainings import Outcome, run_trainings
from infra.tracked_runs import FLOW_RUN_TAG
from tinystyle.errors import USER_ERRORS, UnavailableError, UserError, sentence

if TYPE_CHECKING:
    from PIL import Image

    from tinystyle.tracking.run import Tracker

__all__ = ["sweep_styles"]

EXPERIMENT = "sweeps"
JUDGED_PHOTOS = 16
"""Number of held-out photos on which the networks are measured for the frontier page."""
FIGURES = ("weights", "bytes", "psnr", "content", "paint3", "paint4")
"""Tags of a version that are columns of the table."""


@flow(name="sweep-styles", **ON_FAILURE)
@run_parameters(leave_out=("style", "alpha", "architecture"), photos=PHOTOS)
def sweep_styles(
    styles: list[str],
    alphas: list[float] = [0.3],  # noqa: B006  Prefect shows them in the form
    architectures: list[str] = ["small"],  # noqa: B006
    sweep: dict[str, list[Any]] = {},  # noqa: B006
    files: list[str] = ["mlmodel-8"],  # noqa: B006
    export_size: str = "640x480",
    checkpoints: str = "s3://checkpoints",
    force: bool = False,
    spread: bool = True,
    *,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Train every combination of styles, alphas, architectures and swept parameters, and compare the networks.

    The comparison is a table, a gallery and a page of quality against cost. A failed run does not stop the others; the
    report says what is missing and why. Networks that are already registered are not trained again.

    Args:
        styles: Style images: URIs, images in the checkout, or builtin:NAME (mosaic, starry-sky, wave).
        alphas: Width multipliers of the networks.
        architectures: Architectures of the networks: small, johnson.
        sweep: Values of any other parameters to combine, by name, such as {"learning_rate": [0.003, 0.006]}.
        files: Files to export, such as mlmodel-8, mlpackage-int4, aimodel-16, onnx-8.
        export_size: Image size of these files, WIDTHxHEIGHT in pixels.
        checkpoints: Folder or URI under which the runs keep their checkpoints.
        force: Train even networks that are already registered.
        spread: Train in flow runs of their own on the work pool; otherwise one after the other in this flow run.
    """
    common = {**parameters, "files": files, "export_size": export_size}
    try:
        swept: dict[str, list[Any]] = {"style": styles, "architecture": architectures, "alpha": alphas, **sweep}
        admit_swept(swept, common, checkpoints)
        trainings = combinations(swept, common)
        tracker = begin({"styles": styles, "alphas": alphas, "architectures": architectures, "sweep": sweep, **common})
        asked = [
            {**training.values(), "checkpoints": checkpoints, "parent_run": tracker.run_id, "force": force}
            for training in trainings
        ]
        try:
            outcomes = run_trainings(asked, spread=spread)
        except BaseException:
            tracker.finish("KILLED")
            raise
        report = report_on(outcomes, tracker, trainings[0])
    except FLOW_ERRORS as error:
        return failed(error)  # type: ignore[return-value]
    message = f"{report['registered']} of {len(outcomes)} registered"
    if report["missing"]:
        message += f"; missing: {'; '.join(report['missing'])}"
    # Completed if at least one network is registered: the result is the report, which says what is missing.
    return Completed(message=message, data=report) if report["registered"] else Failed(message=message)  # type: ignore[return-value]


def admit_swept(swept: dict[str, list[Any]], common: dict[str, Any], checkpoints: str) -> None:
    """Check the number of networks, and what the parameters name.

    Raises:
        UserError: there are too many, or as in `flows.outside.admit_run`.
    """
    networks = math.prod(len(values) for values in swept.values())
    if networks > LONGEST_LIST:
        raise UserError(f"{networks:,} networks are asked for; a sweep trains at most {LONGEST_LIST}")
    admit_run(common, checkpoints, files=common["files"])
    for name in READ:
        for value in swept.get(name, ()):
            admit({_PLURAL.get(name, name): str(value)}, {})


def combinations(swept: dict[str, list[Any]], common: dict[str, Any]) -> list[Training]:
    """List the networks to train.

    Args:
        swept: values to combine, by parameter name. If a parameter has several values, they become part of the name of
            the registered model, because networks of different sizes are not versions of one model.
        common: values of the other parameters.

    Raises:
        UserError: a value is invalid, a list is empty or has duplicates, or two networks would have the same name.
    """
    for name, values in swept.items():
        if not values or any(value in values[:index] for index, value in enumerate(values)):
            raise UserError(f"`{_PLURAL.get(name, name)}`: give at least one value, and each once")
    several = [name for name, values in swept.items() if len(values) > 1 and name != "style"]
    trainings = []
    for combination in itertools.product(*swept.values()):
        chosen = dict(zip(swept, combination, strict=True))
        parts = [style_name(str(chosen["style"])), *(_name_part(name, chosen[name]) for name in several)]
        trainings.append(Training.of({**common, **chosen, "name": "-".join(parts)}))
    names = [training.name for training in trainings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"`styles`: two networks would both be called {twice[0]}; rename an image")
    return trainings


_OF_FILES = ("name", "runtime", "runs_on", "bytes", "psnr", "verified_by")
"""What the report says of each exported file."""
_PLURAL = {"style": "styles", "alpha": "alphas", "architecture": "architectures"}


def _name_part(name: str, value: Any) -> str:
    """Return a swept value as part of a name: alphas as in the catalog, others after their parameter's name."""
    if name == "alpha":
        return f"{round(100 * value)}"
    text = re.sub(r"[^a-z0-9]+", "-", f"{value:g}".lower() if isinstance(value, float) else str(value).lower()).strip(
        "-"
    )
    return text if name == "architecture" else f"{name.replace('_', '-')}-{text}"


@task(name="begin", **NETWORK)
def begin(parameters: dict[str, Any]) -> Tracker:
    """Start the MLflow run that is the parent of the runs of the networks.

    Raises:
        UnavailableError: MLflow does not accept the run.
    """
    from tinystyle.tracking.run import Tracker

    tags = {FLOW_RUN_TAG: str(flow_run.id or ""), "prefect.url": flow_run.ui_url or ""}
    tracker = Tracker(EXPERIMENT, str(flow_run.name or "sweep"), None, parameters, tags, lambda _: None)
    if tracker.run_id is None:
        raise UnavailableError("MLflow does not accept the run; check the log of its server, and try again")
    return tracker


@task(name="report", **NETWORK)
def report_on(outcomes: list[Outcome], tracker: Tracker, training: Training) -> dict[str, Any]:
    """Compare the networks in an artifact and, in MLflow, sweep.json, sweep.md, gallery.png and the frontier page.

    Args:
        outcomes: outcomes of all runs of the sweep.
        tracker: MLflow run of the sweep.
        training: any run of the sweep; all networks are measured on its photos, with its loss network.
    """
    rows = [_row(outcome) for outcome in outcomes]
    missing = [f"{_label(row)}: {row['message']}" for row in rows if row["version"] is None]
    report = {
        "run_id": tracker.run_id,
        "registered": sum(row["version"] is not None for row in rows),
        "missing": missing,
        "rows": rows,
    }
    link = run_link(str(tracker.run_id))
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
        folder = Path(scratch)
        fetched = _fetch(rows, outcomes, folder / "runs")
        page = markdown(rows, missing) + f"\nTable, gallery, and frontier.html, quality against cost: {link}\n"
        (folder / "sweep.json").write_text(json.dumps(report, indent=2) + "\n")
        (folder / "sweep.md").write_text(page)
        if fetched:
            _gallery(fetched, training.run.photos).save(folder / "gallery.png")
            _frontier([run for _, run in fetched], training, folder)
        files = (folder / name for name in ("sweep.json", "sweep.md", "gallery.png", "frontier.html", "frontier.csv"))
        tracker.finish("FINISHED" if report["registered"] else "FAILED", tuple(file for file in files if file.exists()))
    create_markdown_artifact(page, key="sweep", description=f"{report['registered']} of {len(rows)} registered")
    return report


def _row(outcome: Outcome) -> dict[str, Any]:
    asked, version = outcome.parameters, outcome.version
    return {
        "style": asked["name"],
        "image": asked["style"],
        "alpha": asked["alpha"],
        "architecture": asked["architecture"],
        "version": version.version if version else None,
        "run_id": version.run_id if version else None,
        **{name: _number(version.tags.get(name, "")) if version else None for name in FIGURES},
        "files": [],
        "state": outcome.state,
        "skipped": outcome.skipped,
        "message": outcome.message,
    }


def _number(text: str) -> float | int | None:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return None


def _label(row: dict[str, Any]) -> str:
    return f"{row['style']} {row['architecture']} {row['alpha']:g}"


def markdown(rows: list[dict[str, Any]], missing: list[str]) -> str:
    """Return the table in Markdown, and a list of what is missing from it."""
    lines = [
        "| style | architecture | alpha | version | " + " | ".join(name.replace("_", " ") for name in FIGURES) + " |"
    ]
    lines.append("|---|---|---:|---:|" + "---:|" * len(FIGURES))
    for row in rows:
        figures = [f"{row[name]:,}" if row[name] is not None else "" for name in FIGURES]
        version = row["version"] if row["version"] is not None else row["state"].lower()
        cells = [row["style"], row["architecture"], f"{row['alpha']:g}", str(version), *figures]
        lines.append("| " + " | ".join(cells) + " |")
    files = [file for row in rows for file in row["files"]]
    if files:
        lines += ["", "| file | runs on | bytes | PSNR, dB | verified by |", "|---|---|---:|---:|---|"]
    for file in files:
        psnr = f"{file['psnr']:.1f}"
        lines.append(f"| {file['name']} | {file['runs_on']} | {file['bytes']:,} | {psnr} | {file['verified_by']} |")
    if missing:
        lines += ["", f"Missing, {len(missing)} of {len(rows)}:", "", *(f"- {what}" for what in missing)]
    return "\n".join(lines) + "\n"


def _fetch(rows: list[dict[str, Any]], outcomes: list[Outcome], scratch: Path) -> list[tuple[dict[str, Any], Path]]:
    """Download the registered networks, and add their files to their rows.

    Returns:
        Each row that was fetched, with the folder of its model.safetensors and run.json.
    """
    from tinystyle.release.bundle import Bundle
    from tinystyle.tracking import registry

    fetched = []
    for index, (row, outcome) in enumerate(zip(rows, outcomes, strict=True)):
        if outcome.version is None:
            continue
        try:
            bundle = Bundle(registry.fetch(outcome.version, scratch / str(index)))
        except USER_ERRORS as error:
            get_run_logger().warning("neither in the gallery nor on the page: %s", sentence(error))
            continue
        row["files"] = [{name: getattr(file, name) for name in _OF_FILES} for file in bundle.entries()]
        fetched.append((row, bundle.model.parent))
    return fetched


def _gallery(fetched: list[tuple[dict[str, Any], Path]], photos: str) -> Image.Image:
    """Stylize one held-out photo with every network."""
    from tinystyle.data.contact_sheet import GalleryRow, gallery
    from tinystyle.model_file import load_model
    from tinystyle.stylize import stylize_image
    from tinystyle.stylize.sample_photos import verification_photos
    from tinystyle.training.run_folder import RunFolder

    _, photo = next(iter(verification_photos(photos, 1)))
    pairs = [
        GalleryRow(
            photo=photo,
            stylized=stylize_image(load_model(RunFolder(folder).model), photo),
            caption=f"{_label(row)}\n{'' if row['bytes'] is None else row['bytes']} bytes",
        )
        for row, folder in fetched
    ]
    return gallery(pairs, None, f"{len(pairs)} networks, one held-out photo")


def _frontier(runs: list[Path], training: Training, folder: Path) -> None:
    """Write frontier.html and frontier.csv for finished runs; on errors, only log a warning."""
    from tinystyle.training.frontier.experiment import Options, run_frontier

    options = Options(out=folder, recipe=training.run, collect=runs, max_photos=JUDGED_PHOTOS)
    try:
        run_frontier(options)
    except USER_ERRORS as error:
        get_run_logger().warning("no page of quality against cost: %s", sentence(error))


if __name__ == "__main__":
    print(json.dumps(sweep_styles(styles=["builtin:starry-sky", "builtin:wave"], alphas=[0.2, 0.3]), indent=2))

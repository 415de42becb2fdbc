"""The flow `train-style`: from a style image to a registered network with verified files for apps."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.accelerator import hold_gpus, visible_gpus
from flows.catalog import PHOTOS, Training, style_name
from flows.checks import check, registered
from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE
from flows.outside import admit_run, title
from flows.parameters import run_parameters
from flows.products import Products
from flows.progress import shown
from flows.results import result_of, show_result, skipped_state, taken_over_state, unfinished_state
from infra.tracked_runs import FLOW_RUN_TAG
from tinystyle.data import storage
from tinystyle.errors import UnavailableError

if TYPE_CHECKING:
    from tinystyle.evaluation.model_report import ModelReport
    from tinystyle.release.bundle import ReleaseFile
    from tinystyle.tracking.registry import ModelVersion
    from tinystyle.training.lease import Lease
    from tinystyle.training.record import RunRecord
    from tinystyle.training.resolve import Resolved

__all__ = ["train_style"]

VERIFICATION_PHOTOS = 8


def _run_name() -> str:
    """Return the name of the flow run in Prefect's UI; never fails."""
    given = flow_run.parameters
    try:
        return title(given.get("name") or style_name(given["style"]), given["architecture"], f"{given['alpha']:g}")
    except (KeyError, TypeError, ValueError):
        return "train-style"


@flow(name="train-style", flow_run_name=_run_name, **ON_FAILURE)
@run_parameters(photos=PHOTOS)
def train_style(
    name: str | None = None,
    files: list[str] = ["mlmodel-8"],  # noqa: B006  Prefect shows it in the form
    export_size: str = "640x480",
    checkpoints: str = "s3://checkpoints",
    parent_run: str | None = None,
    force: bool = False,
    *,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """Train a network on one style, verify its exported files, log everything to MLflow and register a version.

    An interrupted run resumes from its last checkpoint when it is retried or started again. A network that is already
    registered is not trained again.

    Args:
        name: Name of the registered model: a-z, 0-9 and dashes. By default it is derived from the name of the style
            image.
        files: Files to export, such as mlmodel-8, mlpackage-int4, aimodel-16, onnx-8.
        export_size: Image size of these files, WIDTHxHEIGHT in pixels.
        checkpoints: Folder or URI under which the run keeps its checkpoints.
        parent_run: ID of the MLflow run that this run is a part of.
        force: Train even if the same network is already registered.
    """
    try:
        admit_run(parameters, checkpoints, parent_run, files)
        training = Training.of({**parameters, "name": name, "files": files, "export_size": export_size})
        standing = check(training, checkpoints)
        if standing and not force:
            return skipped_state(standing)  # type: ignore[return-value]
        sync_dataset(training)
        with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
            return _train(training, checkpoints, parent_run, force, Path(scratch))  # type: ignore[return-value]
    except FLOW_ERRORS as error:
        return failed(error)  # type: ignore[return-value]


def _train(training: Training, checkpoints: str, parent_run: str | None, force: bool, scratch: Path) -> State[Any]:
    """Run the expensive steps as the only owner of this run key, and return the final state of the flow run."""
    from tinystyle.evaluation.model_report import ModelReport
    from tinystyle.release.bundle import ReleaseFile
    from tinystyle.training.lease import owned
    from tinystyle.training.resolve import resolve

    log = get_run_logger()
    found = resolve(training.run)
    place = storage.join(checkpoints, found.key)
    attempt = str(flow_run.id or uuid4())

    def waiting(owner: str) -> None:
        log.info("the same network is being trained by %s; waiting for it", owner)

    with owned(place, attempt, waiting=waiting) as lease:
        standing = registered(training)  # perhaps since the check, by the owner before
        if standing and not force:
            return skipped_state(standing)
        products = Products(storage.join(place, "products", attempt) if flow_run.id else None)
        found = replace(found, config=found.config.with_checkpoints(lease.folder))
        run, model = scratch / "run", scratch / "model"
        run.mkdir()
        record = train(training, found, run, parent_run, force and flow_run.run_count <= 1, lease)
        if lease.lost.is_set():
            return taken_over_state(lease)
        if record.state != "completed":
            return unfinished_state(record)
        report = products.once("evaluation", ModelReport, lambda: evaluate(training, run))
        files = products.once(
            "core-ml", list[ReleaseFile], lambda: assemble_files(training, run, report, model), folder=model
        )
        version = log_and_register(training, run, model, report, files)
        products.discard()
    show_result(version, report, files, run, model)
    row = report.rows[-1]
    quality = f"content {row.content:.3f}, paint3 {row.paint3:.3f}, paint4 {row.paint4:.3f}"
    message = f"{training.name} version {version.version}: {quality}, {files[0].bytes:,} bytes"
    return Completed(message=message, data=result_of(version, skipped=False))


@task(name="sync-dataset", **NETWORK)
def sync_dataset(training: Training) -> Path:
    """Copy the dataset to the cache of this machine, which all runs share, and return its folder there."""
    from tinystyle.data.ingest import dataset_for_training

    config = training.run
    folder = dataset_for_training(config.photos, config.data.size, ingest_size=config.data.photo_side)
    get_run_logger().info("%s is at %s", config.photos, folder)
    return folder


@task(name="train", cache_policy=NO_CACHE)
def train(
    training: Training, found: Resolved, run: Path, parent_run: str | None, begin_anew: bool, lease: Lease
) -> RunRecord:
    """Train in child processes, from the last checkpoint if there is one, with exclusive use of the GPUs."""
    from tinystyle.training.launch import begin, launch

    log = get_run_logger()
    with hold_gpus(found.config.execution.processes, visible_gpus(), log) as environment:
        record = begin(found, run, resume=not begin_anew, leased=True)
        if record.step:
            log.info("resuming from step %d", record.step)
        _track(training, record, run, parent_run)
        with shown(run, training.run.optimizer.steps, log):
            record = launch(record, run, environment=environment, stop=lease.lost, leased=True)
    record.write_beside_checkpoints()  # with the final step, so that another machine can resume it
    return record


def _track(training: Training, record: RunRecord, run: Path, parent_run: str | None) -> None:
    """Start the MLflow run, or resume that of the interrupted run; the training processes log to it.

    Raises:
        UnavailableError: MLflow does not accept the run.
    """
    from tinystyle.tracking.run import Tracker, flatten, run_tags

    parameters = flatten(record.config.model_dump(mode="json"))
    tags = run_tags(record.lineage) | {FLOW_RUN_TAG: str(flow_run.id or ""), "prefect.url": flow_run.ui_url or ""}
    title = f"{training.label()} {record.lineage['key'][:6]}"
    tracker = Tracker(training.name, title, record.tracking_run, parameters, tags, lambda _: None, parent_run)
    if tracker.run_id is None:
        raise UnavailableError("MLflow does not accept the run; check the log of its server, and try again")
    record.update(run, tracking_run=tracker.run_id)
    record.write_beside_checkpoints()


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate(training: Training, run: Path) -> ModelReport:
    """Evaluate the network on held-out photos, against two baselines (identity and color matching)."""
    from flows import gates
    from tinystyle.training.record import RunRecord
    from tinystyle.training.run_folder import RunFolder

    report = gates.evaluate(RunFolder(run).model, training, photos=RunRecord.read(run).dataset)
    return replace(report, model="model.safetensors", photos=training.run.photos)


@task(name="export-and-verify", cache_policy=NO_CACHE)
def assemble_files(training: Training, run: Path, report: ModelReport, model: Path) -> list[ReleaseFile]:
    """Write the folder `model`: verified files with model cards and previews, and the Swift file."""
    from tinystyle.model_file import load_model
    from tinystyle.release.assemble import assemble
    from tinystyle.release.card import newest_preview
    from tinystyle.stylize.sample_photos import verification_photos
    from tinystyle.training.record import RunRecord
    from tinystyle.training.run_folder import RunFolder

    network = RunFolder(run).model
    return assemble(
        load_model(network),
        model,
        style=training.name,
        files=training.files,
        size=training.export_size,
        photos=verification_photos(RunRecord.read(run).dataset, VERIFICATION_PHOTOS),
        preview=newest_preview(str(network)),
        run_record=RunFolder(run).record,
        report=report,
    )


@task(name="log-and-register", **NETWORK)
def log_and_register(
    training: Training, run: Path, model: Path, report: ModelReport, files: list[ReleaseFile]
) -> ModelVersion:
    """Upload the folder `model` to the MLflow run and register a version; a repeated call creates no second version."""
    from tinystyle.tracking import registry
    from tinystyle.training.progress import complete_tracking
    from tinystyle.training.record import RunRecord

    record = RunRecord.read(run)
    assert record.tracking_run is not None
    if complete_tracking(record, run):
        get_run_logger().info("MLflow was away when the training ended; its run is complete now")
    registry.log_model(record.tracking_run, model)
    return registry.register(training.name, record.tracking_run, _tags(training, record, report, files))


def _tags(training: Training, record: RunRecord, report: ModelReport, files: list[ReleaseFile]) -> dict[str, str]:
    """Return the tags that `tinystyle models` shows for a version; bytes, bits and PSNR are those of the first file."""
    row, first, lineage = report.rows[-1], files[0], record.lineage
    return {
        "architecture": training.run.network.architecture,
        "alpha": f"{training.run.network.alpha:g}",
        "weights": str(report.weights),
        "bytes": str(first.bytes),
        "bits": str(first.bits),
        "psnr": f"{first.psnr:.2f}",
        "content": f"{row.content:.4f}",
        "style_loss": f"{row.style:.4f}",
        "total": f"{row.total:.4f}",
        "paint3": f"{row.paint3:.4f}",
        "paint4": f"{row.paint4:.4f}",
        "bad_blocks": f"{row.bad_blocks:.4f}",
        "steps": str(training.run.optimizer.steps),
        "precision": record.config.precision,
        **{fact: lineage[fact] for fact in ("key", "dataset", "perceptual", "commit")},
    }


if __name__ == "__main__":
    print(json.dumps(train_style(style="builtin:starry-sky", photos="dataset", checkpoints="checkpoints")))

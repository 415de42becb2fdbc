"""`tinystyle ingest` and `tinystyle train`: from photos to a trained network."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tinystyle.commands.options import run_options
from tinystyle.commands.terminal import FAILED, STOPPED, photo_progress, resumable, say, screen
from tinystyle.config import RunConfig, run_config
from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.training.record import RunRecord

__all__ = ["ingest", "train", "train_run"]


def ingest(
    source: Annotated[
        str, typer.Argument(help="Source of the photos: a folder, .zip, s3:// prefix or .zip, or https:// .zip.")
    ],
    destination: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the dataset.")],
    size: Annotated[int, typer.Option(help="Short side of the stored photos, in pixels.", min=16, max=4096)] = 256,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync", help="Also replace photos that have changed at the source, and drop those that have vanished."
        ),
    ] = False,
) -> None:
    """Convert photos into a dataset of Arrow shards and a manifest.

    Unusable files are skipped and listed in manifest.json with the reason. Rerun an interrupted command to resume it.
    Rerun a completed one to add what is new.
    """
    from tinystyle.data import storage
    from tinystyle.data.ingest import ingest as run
    from tinystyle.data.syncing import sync_dataset

    if not storage.is_remote(destination):
        storage.check_can_be_made(storage.local_path(destination))
    with resumable(), photo_progress() as progress:
        if sync:
            manifest, changes = sync_dataset(source, destination, size=size, progress=progress)
            say(f"{destination}: {changes}")
        else:
            manifest = run(source, destination, size=size, progress=progress)
    screen.print(
        f"{manifest.count} photos in {len(manifest.shards)} shards at {destination}: {len(manifest.held_out)} held out, "
        f"{len(manifest.quarantined)} could not be used"
        + (" (manifest.json names each with its reason)" if manifest.quarantined else ""),
        soft_wrap=True,
    )


@run_options()
def train(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the model, the checkpoints and the run record (run.json).")
    ],
    config: Annotated[
        str | None,
        typer.Option(
            help="YAML or JSON file with values of the parameters below, or the run.json of a run. Options override it."
        ),
    ] = None,
    resume: Annotated[
        Literal["auto", "never"],
        typer.Option(
            help="Resume from the last checkpoint, if there is one (auto), or start over and replace what OUT holds (never)."
        ),
    ] = "auto",
    export: Annotated[
        Path | None,
        typer.Option(
            help="Core ML file to write when the training is complete, and to prove on eight held-out photos: "
            "NAME.mlmodel or NAME.mlpackage, as `tinystyle export` and `tinystyle verify` do by default."
        ),
    ] = None,
    *,
    parameters: dict[str, Any],
) -> None:
    """Train a network on one style, or on many.

    Writes OUT/model.safetensors, OUT/run.json, OUT/previews/ and checkpoints. When stopped by SIGTERM or Ctrl-C, it
    saves a checkpoint and exits with code 75; rerun the same command to resume. On a CPU with one process, this gives
    the same weights as a run without interruption.
    """
    from tinystyle.commands.config_file import read_config
    from tinystyle.commands.coreml import check_export, export_verified
    from tinystyle.training.run_folder import RunFolder

    run = run_config({**(read_config(config) if config else {}), **parameters})
    with resumable():
        if export and (len(run.styles) > 1 or run.freeze_trunk):
            raise UserError(
                "`export` takes a network of one style; export each of many with `tinystyle export --style`"
            )
        if export:
            check_export(export)
        say(f"Reading the style image{'s' if len(run.styles) > 1 else ''}, the photos and {run.loss.perceptual} ...")
        record = train_run(run, out, resume == "auto")
        if export:
            export_verified(str(RunFolder(out).model), export, record.dataset)


def train_run(run: RunConfig, out: Path, resume: bool) -> RunRecord:
    """Train, or find that this has been done; return the record of the completed run."""
    from tinystyle.tracking.connection import run_page
    from tinystyle.training.launch import launch, prepare
    from tinystyle.training.run_folder import RunFolder
    from tinystyle.training.standby import Standby
    from tinystyle.training.style_list import addresses

    with Standby() as standby:
        with photo_progress() as progress:
            record = prepare(run, out, resume=resume, progress=progress, standby=standby)
        if record.state == "completed":
            _complete_tracking(record, out)
            again = "use --resume never to train it again"
            screen.print(f"{out} already contains this completed run; {again}", soft_wrap=True)
            return record
        say(_beginning(record))
        record = launch(record, out, standby=standby)
    if record.state == "stopped":
        say(f"{record.message}; resume with: {_resume_command()}")
        raise typer.Exit(STOPPED)
    if record.state != "completed":
        remedy = "; run the same command again to resume" if record.state == "killed" else ""
        say(f"Error: {record.message}{remedy}")
        raise typer.Exit(FAILED)
    if record.config.loss.style_weight == "auto":
        screen.print(f"Final style weight: {record.results['style_weight']:.3g}", soft_wrap=True)
    losses = ", ".join(f"{name} {record.results[f'held_out_{name}']:.3f}" for name in ("content", "paint3", "paint4"))
    files = RunFolder(out)
    screen.print(f"{files.model}: {record.step} steps; on held-out photos {losses}", soft_wrap=True)
    screen.print(f"Previews: {files.previews}; as a page: tinystyle report {shlex.quote(str(out))}", soft_wrap=True)
    if record.config.execution.track and record.tracking_run:
        page = record.tracking_page or run_page(record.tracking_run)
        screen.print(f"MLflow run {record.tracking_run}: {page}", soft_wrap=True)
    chosen = list(addresses(run))[-1] if len(run.styles) > 1 or run.freeze_trunk else None
    style = f" --style {shlex.quote(chosen)}" if chosen else ""
    screen.print(f"Next: tinystyle stylize {shlex.quote(str(files.model))} PHOTO{style} --out stylized", soft_wrap=True)
    return record


def _complete_tracking(record: RunRecord, out: Path) -> None:
    """Bring MLflow up to date if it was away when the training ended; if it still is, say nothing."""
    if record.config.execution.track and record.tracking_run:
        from tinystyle.training.progress import complete_tracking

        with suppress(UserError):
            if complete_tracking(record, out):
                say(f"MLflow run {record.tracking_run} is complete now; MLflow was away when the training ended")


def _beginning(record: RunRecord) -> str:
    """Return what is trained on what, before the first step is."""
    from tinystyle.data.manifest import Manifest

    run, execution = record.config, record.config.execution
    manifest = Manifest.read(record.dataset)
    processes = f"{execution.processes} process{'es' if execution.processes > 1 else ''}"
    step = f" from step {record.step}" if record.step else ""
    number = "bfloat16" if run.precision == "bf16" else "float32"
    return (
        f"Training {run.network.architecture} {run.network.alpha:g}{step} to step {run.optimizer.steps}: {processes} in "
        f"{number}, {manifest.count - len(manifest.held_out)} photos, {len(manifest.held_out)} held out"
    )


def _resume_command() -> str:
    """Return this command line with --resume auto."""
    arguments, skip = [], False
    for argument in sys.argv[1:]:
        if skip or argument.startswith("--resume="):
            skip = False
        elif argument == "--resume":
            skip = True
        else:
            arguments.append(argument)
    return shlex.join(["tinystyle", *arguments, "--resume", "auto"])

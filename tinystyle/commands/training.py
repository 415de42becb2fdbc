"""`tinystyle ingest` and `tinystyle train`: from photographs to a trained network."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tinystyle.commands.terminal import FAILED, STOPPED, photo_progress, resumable, say, screen
from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig

__all__ = ["ingest", "train"]

_NETWORK = NetworkConfig()
_LOSS = LossConfig()
_DATA = DataConfig()
_OPTIMIZER = OptimizerConfig()
_EXECUTION = ExecutionConfig()


def ingest(
    source: Annotated[str, typer.Argument(help="Folder, .zip, s3:// prefix or .zip, or https:// .zip of photographs.")],
    destination: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the dataset.")],
    size: Annotated[int, typer.Option(help="Short side of the stored photos in pixels.", min=16, max=4096)] = 256,
) -> None:
    """Turn photographs into a dataset of Arrow shards and a manifest.

    What cannot be used is left out and named in manifest.json with the reason. Run again, it goes on where it stopped.
    """
    from tinystyle.data.ingest import ingest as run

    with resumable(), photo_progress() as progress:
        manifest = run(source, destination, size=size, progress=progress)
    screen.print(
        f"{manifest.count} photos in {len(manifest.shards)} shards at {destination}: {len(manifest.held_out)} held out, "
        f"{len(manifest.quarantined)} could not be used"
        + (" (manifest.json names each with its reason)" if manifest.quarantined else ""),
        soft_wrap=True,
    )


def train(
    style: Annotated[str, typer.Option(help="Style image: path, URI or builtin:NAME.")],
    photos: Annotated[str, typer.Option(help="Dataset made by `tinystyle ingest`, or a folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, the checkpoints and the record of the run.")],
    architecture: Annotated[str, typer.Option(help="See `tinystyle networks`.")] = _NETWORK.architecture,
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = _NETWORK.alpha,
    steps: Annotated[int, typer.Option(help="Training steps.")] = _OPTIMIZER.steps,
    batch_size: Annotated[int, typer.Option(help="Photos per step, over all devices.")] = _DATA.batch_size,
    size: Annotated[int, typer.Option(help="Side of the training crops in pixels.")] = _DATA.size,
    zoom: Annotated[
        float,
        typer.Option(help="Crops show parts of a photo enlarged up to so many times, for strokes on large photos."),
    ] = _DATA.zoom,
    seed: Annotated[int, typer.Option(help="Of initial weights, data order and augmentation.")] = 0,
    perceptual: Annotated[str, typer.Option(help="vgg16 or efficientnet-lite0.")] = _LOSS.perceptual,
    perceptual_weights: Annotated[
        str | None, typer.Option(help="Its weights: path or URI, .pth or .safetensors. [default: the official file]")
    ] = None,
    style_scale: Annotated[
        float, typer.Option(help="Short side at which the style is seen, in crop sides: larger gives larger strokes.")
    ] = _LOSS.style_scale,
    style_size: Annotated[int | None, typer.Option(help="The same in pixels, in place of --style-scale.")] = None,
    content_weight: Annotated[float, typer.Option(help="Of the photo's content.")] = _LOSS.content_weight,
    style_weight: Annotated[
        str, typer.Option(help="Of the style: a number, or auto, which holds --content-target.")
    ] = "auto",
    content_target: Annotated[
        float | None,
        typer.Option(help="Content loss that auto holds: higher gives more style. [default: by the style's contrast]"),
    ] = None,
    style_layer_weights: Annotated[
        str | None, typer.Option(help="Of its style layers, finest first, such as 3,3,1,0.5. [default: its own]")
    ] = None,
    sliced_share: Annotated[
        float, typer.Option(help="Of sliced Wasserstein distances in the style loss; the rest is Gram matrices.")
    ] = _LOSS.sliced_share,
    tv_weight: Annotated[float, typer.Option(help="Of total variation: smoother.")] = _LOSS.tv_weight,
    saturation_weight: Annotated[float, typer.Option(help="Against black holes.")] = _LOSS.saturation_weight,
    checkerboard_weight: Annotated[float, typer.Option(help="Against a fine grid.")] = _LOSS.checkerboard_weight,
    learning_rate: Annotated[float, typer.Option(help="The highest, after the warm-up.")] = _OPTIMIZER.learning_rate,
    devices: Annotated[int, typer.Option(help="GPUs, or CPU processes where there is no GPU.")] = _EXECUTION.devices,
    nodes: Annotated[int, typer.Option(help="Machines; start the same command on each.")] = _EXECUTION.nodes,
    rdzv_endpoint: Annotated[str | None, typer.Option(help="HOST:PORT of the first machine.")] = None,
    precision: Annotated[
        Literal["auto", "32", "bf16"], typer.Option(help="auto: bf16 where the hardware has it.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads per process. [default: OMP_NUM_THREADS, or cores / devices]")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = _EXECUTION.checkpoint_every,
    checkpoints: Annotated[str | None, typer.Option(help="Folder or URI for checkpoints. [default: --out]")] = None,
    preview_every: Annotated[int, typer.Option(help="Steps between preview strips.")] = _EXECUTION.preview_every,
    resume: Annotated[Literal["auto", "never"], typer.Option(help="auto: go on from the last checkpoint.")] = "auto",
    init_from: Annotated[str | None, typer.Option(help="Model whose weights to start from.")] = None,
    on_collapse: Annotated[
        Literal["stop", "rollback"],
        typer.Option(help="rollback: back to the last checkpoint with half the learning rate."),
    ] = _EXECUTION.on_collapse,
    track: Annotated[bool, typer.Option(help="Log to MLflow (MLFLOW_TRACKING_URI, default ./mlflow.db).")] = True,
) -> None:
    """Train a network on one style.

    Writes OUT/model.safetensors, OUT/run.json, OUT/previews/ and checkpoints. Stopped by SIGTERM or Ctrl-C it saves, and
    exits with code 75; the same command goes on from there, to the same weights.
    """
    config = RunConfig(
        style=style,
        photos=photos,
        network=NetworkConfig(architecture=architecture, alpha=alpha),
        loss=LossConfig(
            perceptual=perceptual,
            perceptual_weights=perceptual_weights,
            style_scale=style_scale,
            style_size=style_size,
            content_weight=content_weight,
            style_weight=style_weight,  # type: ignore[arg-type] # its validator reads text
            content_target=content_target,
            style_layer_weights=style_layer_weights,  # type: ignore[arg-type] # its validator reads text
            sliced_share=sliced_share,
            tv_weight=tv_weight,
            saturation_weight=saturation_weight,
            checkerboard_weight=checkerboard_weight,
        ),
        data=DataConfig(size=size, zoom=zoom, batch_size=batch_size),
        optimizer=OptimizerConfig(steps=steps, learning_rate=learning_rate),
        execution=ExecutionConfig(
            devices=devices,
            nodes=nodes,
            rdzv_endpoint=rdzv_endpoint,
            threads=threads,
            checkpoint_every=checkpoint_every,
            checkpoints=checkpoints,
            preview_every=preview_every,
            on_collapse=on_collapse,
            track=track,
        ),
        precision=precision,
        seed=seed,
        init_from=init_from,
    )
    from tinystyle.training.launch import launch, prepare

    with resumable(), photo_progress() as progress:
        record = prepare(config, out, resume=resume == "auto", progress=progress)
    if record.state == "completed":
        screen.print(f"{out} holds this run already, completed; train it anew with --resume never", soft_wrap=True)
        return
    record = launch(record, out)
    if record.state == "stopped":
        say(f"{record.message}; resume with: {_resume_command()}")
        raise typer.Exit(STOPPED)
    if record.state != "completed":
        say(f"Error: {record.message}")
        raise typer.Exit(FAILED)
    if record.config.loss.style_weight == "auto":
        screen.print(f"The style weight came to {record.results['style_weight']:.3g}", soft_wrap=True)
    losses = ", ".join(f"{name} {record.results[f'held_out_{name}']:.3f}" for name in ("content", "paint3", "paint4"))
    screen.print(f"{out / 'model.safetensors'}: {record.step} steps; on held-out photos {losses}", soft_wrap=True)


def _resume_command() -> str:
    """This command line, resuming."""
    arguments, skip = [], False
    for argument in sys.argv[1:]:
        if skip or argument.startswith("--resume="):
            skip = False
        elif argument == "--resume":
            skip = True
        else:
            arguments.append(argument)
    return shlex.join(["tinystyle", *arguments, "--resume", "auto"])

"""`tinystyle ...`: thin, one function per command. What is slow to import is imported inside the functions."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinystyle import __version__
from tinystyle.config import DataConfig, ExecutionConfig, LossConfig, NetworkConfig, OptimizerConfig, RunConfig
from tinystyle.user_errors import errors, one_sentence, refuse_empty, resumable

__all__ = ["app", "main"]

FAILED, STOPPED = 1, 75  # 75 is EX_TEMPFAIL of sysexits.h: run it again
app = typer.Typer(
    name="tinystyle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Trains style-transfer networks small enough for an iOS app to carry dozens.",
)
screen = Console(highlight=False, markup=False)  # paths may hold brackets

_NETWORK, _LOSS, _DATA = NetworkConfig(), LossConfig(), DataConfig()
_OPTIMIZER, _EXECUTION = OptimizerConfig(), ExecutionConfig()


def main() -> None:
    """The console script: a user's mistake is one sentence and exit code 2, never a traceback."""
    with one_sentence():
        refuse_empty(sys.argv[1:])
        app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        screen.print(__version__)
        raise typer.Exit


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="Folder, .zip, s3:// prefix or .zip, or https:// .zip of photographs.")],
    destination: Annotated[str, typer.Argument(help="Folder or s3:// prefix for the dataset.")],
    size: Annotated[int, typer.Option(help="Short side of the stored photos in pixels.", min=16, max=4096)] = 256,
) -> None:
    """Turn photographs into a dataset of Arrow shards and a manifest.

    What cannot be used is left out and named in manifest.json with the reason. Run again, it goes on where it stopped.
    """
    from tinystyle.data.ingest import ingest as run

    with resumable(), _photo_progress() as progress:
        manifest = run(source, destination, size=size, progress=progress)
    screen.print(
        f"{manifest.count} photos in {len(manifest.shards)} shards at {destination}: {len(manifest.held_out)} held out, "
        f"{len(manifest.quarantined)} could not be used"
        + (" (manifest.json names each with its reason)" if manifest.quarantined else ""),
        soft_wrap=True,
    )


@contextmanager
def _photo_progress() -> Iterator[Callable[[int, int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; yields a function of (done, total, quarantined)."""
    columns = (
        TextColumn("{task.completed}/{task.total} photos, {task.fields[bad]} unusable"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task("", total=None, bad=0, visible=False)  # until there is something to count
        yield lambda done, total, bad: bar.update(task, completed=done, total=total, bad=bad, visible=True)


@app.command()
def train(
    style: Annotated[str, typer.Option(help="Style image: path, URI or builtin:NAME.")],
    photos: Annotated[str, typer.Option(help="Dataset made by `tinystyle ingest`, or a folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, the checkpoints and the record of the run.")],
    architecture: Annotated[str, typer.Option(help="See `tinystyle networks`.")] = _NETWORK.architecture,
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = _NETWORK.alpha,
    steps: Annotated[int, typer.Option(help="Training steps.")] = _OPTIMIZER.steps,
    batch_size: Annotated[int, typer.Option(help="Photos per step, over all devices.")] = _DATA.batch_size,
    size: Annotated[int, typer.Option(help="Side of the training crops in pixels.")] = _DATA.size,
    seed: Annotated[int, typer.Option(help="Of initial weights, data order and augmentation.")] = 0,
    perceptual: Annotated[str, typer.Option(help="vgg16 or efficientnet-lite0.")] = _LOSS.perceptual,
    perceptual_weights: Annotated[
        str | None, typer.Option(help="Its weights: path or URI, .pth or .safetensors. [default: the official file]")
    ] = None,
    style_size: Annotated[
        int, typer.Option(help="Short side at which the style is seen, in pixels.")
    ] = _LOSS.style_size,
    content_weight: Annotated[float, typer.Option(help="Of the photo's content.")] = _LOSS.content_weight,
    style_weight: Annotated[float, typer.Option(help="Of the style.")] = _LOSS.style_weight,
    tv_weight: Annotated[float, typer.Option(help="Of total variation: smoother.")] = _LOSS.tv_weight,
    saturation_weight: Annotated[float, typer.Option(help="Against black holes.")] = _LOSS.saturation_weight,
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
            style_size=style_size,
            content_weight=content_weight,
            style_weight=style_weight,
            tv_weight=tv_weight,
            saturation_weight=saturation_weight,
        ),
        data=DataConfig(size=size, batch_size=batch_size),
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

    with resumable(), _photo_progress() as progress:
        record = prepare(config, out, resume=resume == "auto", progress=progress)
    if record.state == "completed":
        screen.print(f"{out} holds this run already, completed; train it anew with --resume never", soft_wrap=True)
        return
    record = launch(record, out, say=lambda sentence: errors.print(sentence, soft_wrap=True))
    if record.state == "stopped":
        errors.print(f"{record.message}; resume with: {_resume_command()}", soft_wrap=True)
        raise typer.Exit(STOPPED)
    if record.state != "completed":
        errors.print(f"Error: {record.message}", soft_wrap=True)
        raise typer.Exit(FAILED)
    losses = ", ".join(f"{name} {record.results[f'held_out_{name}']:.3f}" for name in ("content", "style", "total"))
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


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="model.safetensors or a checkpoint.")],
    format: Annotated[str, typer.Option(help="mlmodel (smallest) or mlpackage (ML Program).")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    bits: Annotated[int, typer.Option(help="Per weight: 32, 16, 8, 6 or 4.")] = 8,
    size: Annotated[str, typer.Option(help="Image size, WIDTHxHEIGHT.")] = "640x480",
) -> None:
    """Write a Core ML file that takes an image and returns one."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
    if not match:
        raise ValueError(f"--size {size}: give WIDTHxHEIGHT in pixels, such as 640x480")
    from tinystyle.coreml.convert import export_model
    from tinystyle.model_file import load_model
    from tinystyle.storage import check_writable

    check_writable(out.parent)
    result = export_model(load_model(model), format=format, bits=bits, size=(int(match[1]), int(match[2])), out=out)
    screen.print(f"{result.path}: {result.bytes:,} bytes", soft_wrap=True)


@app.command()
def stylize(
    model: Annotated[str, typer.Argument(help="model.safetensors or a checkpoint.")],
    photos: Annotated[list[str], typer.Argument(help="Photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the PNGs, named like the photos.")],
) -> None:
    """Stylise photographs at their own size."""
    from tinystyle.model_file import load_model
    from tinystyle.storage import check_writable
    from tinystyle.stylize import stylize_photos

    check_writable(out)
    for path in stylize_photos(load_model(model), photos, out):
        screen.print(str(path), soft_wrap=True)


@app.command()
def networks(
    architecture: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Only this width multiplier.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A row for every operation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Print what each network costs: weights, multiply-accumulates and activation bytes moved for a 640x480 image."""
    from tinystyle import nets

    names = [nets.check_architecture(architecture)] if architecture else list(nets.ARCHITECTURES)
    alphas = (1.0, 0.5, 0.3) if alpha is None else (alpha,)
    configs = [NetworkConfig(architecture=name, alpha=value) for name in names for value in alphas]
    from dataclasses import asdict

    from tinystyle.nets.cost import network_cost

    costs = [(config, network_cost(nets.build_network(config))) for config in configs]
    if as_json:
        rows: list[dict[str, Any]] = [{**config.model_dump(), **asdict(cost)} for config, cost in costs]
        screen.print_json(data=[row if layers else {k: v for k, v in row.items() if k != "layers"} for row in rows])
        return
    for config, cost in costs if layers else []:
        table = Table("layer", "output", title=f"{config.architecture} {config.alpha:g}")
        for name in ("weights", "MACs", "bytes moved"):
            table.add_column(name, justify="right")
        for layer in cost.layers:
            shape = "x".join(map(str, layer.output_shape))
            numbers = (f"{n:,}" for n in (layer.weights, layer.macs, layer.activation_bytes))
            table.add_row(f"{layer.module or 'network'} {layer.operation}", shape, *numbers)
        screen.print(table)
    table = Table("architecture", title="At 640x480, activations in float16")
    for name in ("alpha", "weights", "MACs", "activation bytes moved"):
        table.add_column(name, justify="right")
    for config, cost in costs:
        numbers = (f"{n:,}" for n in (cost.weights, cost.macs, cost.activation_bytes))
        table.add_row(config.architecture, f"{config.alpha:g}", *numbers)
    screen.print(table)


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for everything the demo writes.")] = Path("demo")) -> None:
    """Train, export and show a style in under five minutes on two cores, with nothing but installed packages."""
    from tinystyle.demo import run_demo
    from tinystyle.storage import check_writable

    check_writable(out)
    run_demo(out, screen)


if __name__ == "__main__":
    main()

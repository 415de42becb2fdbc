"""`tinystyle evaluate`, `stylize` and `networks`: the quality, use and cost of a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tinystyle.commands.arguments import MODEL_HELP, STYLE_HELP, check_network, check_photos
from tinystyle.commands.options import run_options
from tinystyle.commands.terminal import photo_progress, say, screen
from tinystyle.config import PARAMETERS, STYLE_WEIGHT_START, NetworkConfig, run_config
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError

if TYPE_CHECKING:
    from tinystyle.evaluation.model_report import ModelReport

__all__ = ["evaluate", "networks", "stylize"]


@run_options(
    *("perceptual", "perceptual_weights", "size", "style_size", "content_weight", "style_weight"),
    help={
        "size": "Short side, in pixels, that photos of a folder are scaled to. Those of a dataset are used as stored, and "
        "must be at least as large.",
        "content_weight": "Weight of the content loss in the total.",
        "style_weight": f"Weight of the style loss in the total; auto means {STYLE_WEIGHT_START:g}.",
    },
)
def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    photos: Annotated[
        str | None,
        typer.Option(
            "--photos",
            "-p",
            help="Photos to measure on: a dataset made by `tinystyle ingest` (folder or URI), or a folder of photographs. "
            "[default: those of the training run]",
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option("--style", "-s", help=f"{PARAMETERS['style'].help} [default: that of the training run]"),
    ] = None,
    all_photos: Annotated[
        bool, typer.Option("--all-photos", help="Use all photos instead of only the held-out ones.")
    ] = False,
    max_photos: Annotated[
        int | None, typer.Option(help="Maximum number of photos, evenly spaced. [default: all]", min=1)
    ] = None,
    export: Annotated[bool, typer.Option(help="Convert to every Core ML format and report the file sizes.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    *,
    parameters: dict[str, Any],
) -> None:
    """Measure the quality and cost of a network on held-out photos.

    It is compared with two baselines: the unchanged photo, and the photo with its colors matched to the style image.
    The report has the losses; the distances to the style image (paint3, paint4); black, white or flat blocks,
    checkerboard and border error; the number of weights, multiply-accumulates, latency on this machine and the sizes of
    exported files. What is not given is taken from the run.json of the training run beside the model. Of a network of
    many styles, MODEL#STYLE is one; without, each is measured.
    """
    check_network(model, "evaluate")
    given = {name: value for name, value in {"style": style, "photos": photos}.items() if value is not None}
    run_config({"style": "", "photos": "", **given, **parameters})  # reports a wrong value before anything is loaded
    from tinystyle.training.run_model import model_of

    model = model_of(model)  # before anything imports torch
    from tinystyle.model_file import load_styles
    from tinystyle.styles.selection import join

    many = load_styles(model)
    reports: dict[str, ModelReport] = {}
    for name in many.names if many else ("",):
        chosen = join(model, name or None)
        reports[name] = _evaluate(chosen, {**parameters, **given}, all_photos, max_photos, export)
        if not as_json:
            for table in reports[name].tables():
                screen.print(table)
    if as_json:
        found = {name: report.as_dict() for name, report in reports.items()}
        screen.print_json(data=found if many else found[""])


def _evaluate(model: str, given: dict[str, Any], all_photos: bool, max_photos: int | None, export: bool) -> ModelReport:
    """Evaluate one style, with what is not given taken from its training."""
    from tinystyle.evaluation.model_report import evaluate_model
    from tinystyle.model_file import load_model
    from tinystyle.training.run_model import trained_with

    values = trained_with(model, load_model(model).lineage, given)
    for name in ("style", "photos"):
        if name not in values:
            raise UserError(
                f"`{name}` is missing: {model} has no run.json beside it that says with which it was trained"
            )
    taken = {name: values[name] for name in values.keys() - given.keys()}
    if shown := [f"--{name.replace('_', '-')} {_plain(taken[name])}" for name in PARAMETERS if _is_news(name, taken)]:
        say(f"As in training: {', '.join(shown)}")
    config = run_config(values)
    with photo_progress() as progress:
        return evaluate_model(
            model,
            photos=config.photos,
            style=config.style,
            loss=config.loss,
            size=config.data.size,
            all_photos=all_photos,
            max_photos=max_photos,
            exports=export,
            progress=progress,
        )


def _is_news(name: str, taken: dict[str, Any]) -> bool:
    return name in taken and taken[name] != PARAMETERS[name].default


def _plain(value: Any) -> str:
    return ",".join(f"{each:g}" for each in value) if isinstance(value, list | tuple) else str(value)


def stylize(
    model: Annotated[
        str,
        typer.Argument(
            help="Trained network or Core ML file: the folder of a run, model.safetensors, a checkpoint, .mlmodel, "
            ".mlpackage, or pretrained:NAME."
        ),
    ],
    photos: Annotated[
        list[str], typer.Argument(help="Photos: files, URIs, folders, patterns such as *.jpg, or - for standard input.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the results, each named after its photo; or, for one photo, the file: .png, .jpg, .jpeg, .webp, "
            ".tif or .tiff. - writes one photo to standard output.",
        ),
    ] = "stylized",
    style: Annotated[str | None, typer.Option("--style", "-s", help=STYLE_HELP)] = None,
    max_side: Annotated[
        int | None,
        typer.Option(help="Maximum longer side, in pixels; larger photos are scaled down, and so is their output."),
    ] = None,
    keep_colors: Annotated[
        bool, typer.Option("--keep-colors", help="Stylize only the luminance and keep the photo's colors.")
    ] = False,
    strength: Annotated[
        float, typer.Option(help="Strength of the style, from 0 (the photo) to 1 (the stylized image).")
    ] = 1.0,
    stroke_size: Annotated[
        float,
        typer.Option(
            help="Size of the strokes relative to training, from 0.25 to 16. Above 1, the photo's edges are added back."
        ),
    ] = 1.0,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of the results: png, jpeg, webp or tiff. [default: by the suffix of --out; png in a folder]"
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(help="Quality of JPEG and WebP, from 1 (smallest file) to 100 (best). [default: 92, WebP 90]"),
    ] = None,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Put results on white, without the photo's transparency. JPEG always is.")
    ] = False,
    tile: Annotated[
        str,
        typer.Option(
            help="Side of the tiles, in pixels, in which photos of any size are computed in little memory, with the same "
            "result; auto uses them for photos that would take over 4 GB; off never does."
        ),
    ] = "auto",
    mask: Annotated[
        str | None,
        typer.Option(
            help="Where to stylize: an image for all photos, or a folder of images with the photos' names. White is "
            "stylized, black keeps the photo, gray blends."
        ),
    ] = None,
    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="Stylize where the mask is black, such as around a person.")
    ] = False,
) -> None:
    """Stylize photos with a trained network or a Core ML file.

    Photos keep their size, transparency, EXIF, XMP and resolution, and are written upright, in sRGB. For a folder, only
    the images directly in it are stylized. If a Core ML file does not accept a photo's size, the photo is scaled to the
    nearest size it accepts, even if that changes the proportions, and the output is scaled back.
    """
    if out != "-":
        local_only(out, "`out`")
    check_photos(model, photos)
    from tinystyle.training.run_model import model_of

    model = model_of(model, style)  # before anything imports torch
    from tinystyle.stylize import open_model, stylize_photos

    paths: list[Path] = []
    try:
        with photo_progress() as progress:
            stylize_photos(
                open_model(model),
                photos,
                out,
                max_side=max_side,
                keep_colors=keep_colors,
                strength=strength,
                stroke_size=stroke_size,
                format=format,
                quality=quality,
                flatten=flatten,
                tile=tile,
                mask=mask,
                invert_mask=invert_mask,
                progress=progress,
                written=paths.append,
            )
    finally:  # after the progress bar, which would print them to stderr
        for path in paths:
            screen.print(str(path), soft_wrap=True)


def networks(
    architecture: Annotated[str | None, typer.Option(help="Show only this architecture.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Show only this width multiplier.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also show a table with a row for every operation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the costs as JSON.")] = False,
) -> None:
    """Print what each network costs.

    The costs are weights, and multiply-accumulates and bytes moved by activations for a 640x480 image.
    """
    from tinystyle import nets

    names = [nets.check_architecture(architecture)] if architecture else list(nets.ARCHITECTURES)
    alphas = (1.0, 0.5, 0.3) if alpha is None else (alpha,)
    configs = [NetworkConfig(architecture=name, alpha=value) for name in names for value in alphas]
    from dataclasses import asdict

    from tinystyle.nets.cost import network_cost

    costs = [(config, network_cost(nets.build_network(config.architecture, config.alpha))) for config in configs]
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

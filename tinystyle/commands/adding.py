"""`tinystyle add-style`: one more style for a trained network, whose other styles stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tinystyle.commands.arguments import MODEL_HELP, check_network
from tinystyle.commands.options import run_options
from tinystyle.commands.terminal import resumable, say
from tinystyle.commands.training import train_run
from tinystyle.config import run_config
from tinystyle.errors import UserError

__all__ = ["add_style"]

STEPS, LEARNING_RATE = 150, 0.02
"""Number of steps and learning rate: 204 numbers learn faster than a network (benchmarks/many_styles.md)."""


@run_options(
    *("perceptual", "perceptual_weights", "style_scale", "style_size", "style_weight", "content_target", "size"),
    *("batch_size", "threads", "precision", "seed", "track"),
)
def add_style(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    style: Annotated[
        str, typer.Argument(help="Style image: path, URI, or builtin:NAME; or NAME=IMAGE, to name the style.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the model with the new style, and for the run record.")
    ],
    photos: Annotated[
        str | None, typer.Option("--photos", "-p", help="Training photos. [default: those of the training run]")
    ] = None,
    steps: Annotated[int, typer.Option(help="Number of training steps.", min=1)] = STEPS,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate, reached after the warm-up.", min=1e-6, max=1)
    ] = LEARNING_RATE,
    resume: Annotated[
        Literal["auto", "never"],
        typer.Option(help="Resume from the last checkpoint, if there is one (auto), or start over (never)."),
    ] = "auto",
    *,
    parameters: dict[str, Any],
) -> None:
    """Add a style to a trained network.

    Only the scales and shifts of its norms are trained, on top of what the network has learned: the new model has the
    styles of MODEL, unchanged to the bit, and one more. MODEL itself is not changed. What is not given is taken from the
    run.json of the training run beside the model.
    """
    check_network(model, "add-style")
    given = {**parameters, **({} if photos is None else {"photos": photos})}
    run_config({"styles": [style], "photos": "", **given})  # reports a wrong value before anything is loaded
    from tinystyle.training.run_model import model_of, trained_with

    model = model_of(model)
    with resumable():
        say(f"Reading {model}, the style image and the photos ...")
        from tinystyle.model_file import load_any

        found = load_any(model)
        values = trained_with(model, found.lineage, given)
        values.pop("style", None)
        if "photos" not in values:
            raise UserError(
                f"`photos` is missing: {model} has no run.json beside it that says with which it was trained"
            )
        own = {"steps": steps, "learning_rate": learning_rate, "styles": [style], "init_from": model}
        seldom = {"checkpoint_every": steps, "preview_every": steps}
        run = run_config({**values, **found.config.model_dump(), **seldom, **own, "freeze_trunk": True})
        train_run(run, out, resume == "auto")

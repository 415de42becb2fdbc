"""The `tinystyle` command line, assembled from its commands. Importing it imports neither torch nor coremltools."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tinystyle import __version__
from tinystyle.commands import (
    adding,
    compare,
    coreml,
    doctor,
    frontier,
    models,
    publishing,
    registry,
    report,
    styles,
    training,
    video,
    web,
)
from tinystyle.commands.help import WIDTH, Command, CommandGroup
from tinystyle.commands.terminal import check_current_folder, log_to_stderr, refuse_empty, reporting_errors, screen
from tinystyle.data.streams import settle
from tinystyle.errors import DEBUG_VARIABLE

__all__ = ["app", "main"]

app = typer.Typer(
    name="tinystyle",
    cls=CommandGroup,
    context_settings={"max_content_width": WIDTH, "help_option_names": ["--help", "-h"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train style-transfer networks that are small enough for an iOS app to ship dozens of them.",
)


def main() -> None:
    """Run the console script. A user error exits with one sentence and code 2, a bug with a traceback and code 70."""
    settle()
    log_to_stderr()
    with reporting_errors():
        check_current_folder()
        refuse_empty(sys.argv[1:])
        sys.exit(app(standalone_mode=False, prog_name="tinystyle"))


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Print tracebacks for user errors too, like {DEBUG_VARIABLE}=1.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"  # inherited by training processes
    if version:
        screen.print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        screen.print(context.get_help(), soft_wrap=True)


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for all files that the demo writes.")] = Path("demo"),
) -> None:
    """Train, export and show a style in under five minutes.

    It takes two CPU cores and only packages that are installed, downloads nothing, and needs no server.
    """
    from tinystyle.commands.demo import run_demo
    from tinystyle.data.storage import check_writable

    check_writable(out)
    run_demo(out, screen)


for _section, _commands in {
    "Start here": (demo, styles.styles, models.stylize, video.video, video.live),
    "From photos to an app": (
        training.ingest,
        training.train,
        adding.add_style,
        report.report,
        models.evaluate,
        coreml.export,
        coreml.verify,
        coreml.swift,
        web.web,
    ),
    "Choose a network": (compare.compare, models.networks, frontier.frontier),
    "Register and publish": (
        registry.models,
        registry.promote,
        publishing.publish,
        publishing.published,
        publishing.rollback,
    ),
    "Is everything set up": (doctor.doctor,),
}.items():
    for _command in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name="models", rich_help_panel=_section)
        else:
            app.command(_command.__name__.replace("_", "-"), cls=Command, rich_help_panel=_section)(_command)

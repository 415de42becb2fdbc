"""The `tinystyle` command line, assembled from its commands. Importing it imports neither torch nor coremltools."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tinystyle import __version__
from tinystyle.commands import coreml, frontier, models, publishing, registry, styles, training
from tinystyle.commands.options import GroupedCommand
from tinystyle.commands.terminal import log_to_stderr, refuse_empty, reporting_errors, screen
from tinystyle.errors import DEBUG_VARIABLE

__all__ = ["app", "main"]

app = typer.Typer(
    name="tinystyle",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train style-transfer networks that are small enough for an iOS app to ship dozens of them.",
)


def main() -> None:
    """Run the console script. A user error exits with one sentence and code 2, a bug with a traceback and code 70."""
    log_to_stderr()
    with reporting_errors():
        refuse_empty(sys.argv[1:])
        app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Print tracebacks for user errors too, like {DEBUG_VARIABLE}=1.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"  # inherited by training processes
    if version:
        screen.print(__version__)
        raise typer.Exit


for command in (
    training.ingest,
    training.train,
    coreml.export,
    coreml.verify,
    models.evaluate,
    models.stylize,
    coreml.swift,
    models.networks,
    styles.styles,
    frontier.frontier,
    registry.promote,
    publishing.publish,
    publishing.rollback,
    publishing.published,
):
    app.command(cls=GroupedCommand, context_settings={"max_content_width": 120})(command)
app.add_typer(registry.models, name="models")


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for all files that the demo writes.")] = Path("demo")) -> None:
    """Train, export and show a style in under five minutes on two CPU cores, using only installed packages."""
    from tinystyle.commands.demo import run_demo
    from tinystyle.data.storage import check_writable

    check_writable(out)
    run_demo(out, screen)


if __name__ == "__main__":
    main()

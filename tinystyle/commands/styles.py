"""`tinystyle styles`: the trained styles and style images that come with the package."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tinystyle.commands.terminal import screen

__all__ = ["styles"]

_FIGURES = ("content", "paint3", "paint4")


def styles(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list as JSON, with the complete record of each trained style.")
    ] = False,
) -> None:
    """List the trained styles and the style images in the package.

    `tinystyle stylize pretrained:NAME cat.jpg` works right after installation; `export` and `--init-from` accept these
    names too.
    """
    from tinystyle.styles import BUILTIN, BUILTIN_STYLES, pretrained

    records = {name: pretrained.record_of(name) for name in pretrained.names()}
    images = [f"{BUILTIN}{name}" for name in sorted(BUILTIN_STYLES)]
    if as_json:
        screen.print_json(
            data={
                "pretrained": {pretrained.PREFIX + name: record for name, record in records.items()},
                "images": images,
            }
        )
        return
    table = Table(title="Trained styles", box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("painting")
    for figure in _FIGURES:
        table.add_column(figure, justify="right")
    for name, record in records.items():
        table.add_row(
            pretrained.PREFIX + name, pretrained.painting_of(name), *(record.get(figure, "") for figure in _FIGURES)
        )
    screen.print(table if records else "No trained style ships with this version.")
    screen.print(f"Images to train on: {', '.join(images)}", soft_wrap=True)

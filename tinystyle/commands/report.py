"""`tinystyle report`: one run as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinystyle.commands.terminal import screen
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError

__all__ = ["report"]


def report(
    run: Annotated[str, typer.Argument(help="Folder of a run, complete or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The HTML file. [default: report.html in the run's folder]")
    ] = None,
) -> None:
    """Write a page with a run's pictures, curves, figures and settings.

    The page is one file, which needs no server and no network.
    """
    if out is not None and local_only(out, "`out`").suffix.lower() not in (".html", ".htm"):
        raise UserError(f"`out` {out}: give a file that ends in .html")
    folder = local_only(run, "RUN")
    from tinystyle.training.report import write_report

    path = write_report(
        folder.parent if folder.name == "run.json" else folder, local_only(out, "`out`") if out else None
    )
    screen.print(str(path), soft_wrap=True)

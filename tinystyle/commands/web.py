"""`tinystyle web`: a page on which anyone sees the styles live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinystyle.commands.arguments import MODEL_HELP, check_network
from tinystyle.commands.terminal import screen
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError

__all__ = ["web"]

_MAX_BYTES = 80_000
_LEAST_BYTES = 20_000


def web(
    models: Annotated[list[str], typer.Argument(help=MODEL_HELP + " Several are several styles to choose from.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page: .html.")] = Path("tinystyle.html"),
    max_bytes: Annotated[
        int,
        typer.Option(
            help="Maximum size of the page, in bytes. Weights are stored as finely as fits: more styles, coarser weights.",
            min=_LEAST_BYTES,
        ),
    ] = _MAX_BYTES,
) -> None:
    """Write a web page that stylizes photos and the camera's picture.

    It is one file with the networks inside, to be opened as it is or put on any web server. Everything is computed in the
    visitor's browser, by WebGPU, WebGL 2 or plain JavaScript; nothing is sent anywhere.
    """
    path = local_only(out, "`out`")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"`out` {out}: give a file that ends in .html")
    for model in models:
        check_network(model, "web")
    from tinystyle.training.run_model import model_of

    models = [model_of(model) for model in models]  # before anything imports torch
    from tinystyle.data.storage import check_writable, write_bytes
    from tinystyle.web import build_page

    check_writable(path.parent)
    page = build_page(models, max_bytes)
    write_bytes(path, page.html.encode())
    screen.print(f"{path}: {page.summary()}", soft_wrap=True)

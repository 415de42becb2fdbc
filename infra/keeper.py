"""`python -m infra.keeper`: keeps a platform going. Starts flow runs that died again, and servers of the stack, if told.

Runs beside the servers, one for each platform. On a machine with a stack `infra.stack up` starts it; on Kubernetes it
is a deployment of its own, without --folder.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer

from infra.recovery import Recovery
from tinystyle.commands.terminal import reporting_errors
from tinystyle.errors import UserError

__all__ = ["LOOK_SECONDS"]

LOOK_SECONDS = 5.0
_LOG = logging.getLogger("infra.keeper")

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def keep(
    folder: Annotated[
        Path | None, typer.Option(help="Folder of a stack on this machine, whose servers are also kept running.")
    ] = None,
) -> None:
    """Start what has died again, until this process is stopped. Servers are found by the usual variables."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    missing = [name for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING") if not os.environ.get(name)]
    if missing:
        raise UserError(f"{missing[0]} is not set; source the env file of a stack")
    recovery = Recovery(os.environ, _LOG.info)
    away = False
    while True:
        if folder:
            _keep_servers(folder.absolute())
        try:
            recovery.look()
            away = False
        except httpx.HTTPError as error:
            if not away:
                _LOG.warning("Prefect does not answer: %s", error)
            away = True
        time.sleep(LOOK_SECONDS)


def _keep_servers(folder: Path) -> None:
    from infra import lifecycle
    from infra.settings import StackSettings

    settings = StackSettings.load(folder)
    if settings is None:
        sys.exit(0)  # the stack was deleted
    down = [state.name for state in lifecycle.status(folder) if not state.process and state.name != "keeper"]
    if not down:
        return
    _LOG.warning("not running: %s", ", ".join(down))
    try:
        lifecycle.up(folder, settings, _LOG.info)
    except UserError as error:  # another 'up' or 'down' is at work
        _LOG.info("%s", error)
    except lifecycle.ServerFailedError as error:
        _LOG.error("%s", error)


if __name__ == "__main__":
    with reporting_errors():
        app()

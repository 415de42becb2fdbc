"""What parameters from outside may name. Each flow asks here first, before it reads, writes or logs anything.

Whoever may start a deployment is not the user of the machine that runs it: a flow run of a deployment reads public
servers and s3:// alone, unless the operator's `TINYSTYLE_ALLOW` opens more. A flow that is called in Python keeps the
rights of its caller. The library judges servers when it connects to them; local paths are judged here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from prefect.runtime import deployment

from tinystyle.config import AUTO, PARAMETERS, RANDOM
from tinystyle.data import addresses, storage
from tinystyle.data.permission import ALLOW, Permission
from tinystyle.errors import UserError, shortened
from tinystyle.styles import builtin_name, pretrained

__all__ = ["admit", "admit_run", "title"]

READ = ("style", "photos", "perceptual_weights", "init_from", "teacher")
"""Run parameters that are addresses to read."""
LONGEST_LIST = 256
_STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"
"""Environment variable of processes that run what somebody asked Prefect's server for."""
_CHECKOUT = Path(__file__).resolve().parent.parent
_IMAGES = (".avif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_OF_CHECKOUT = {"catalog": (".yaml", ".yml"), "style": _IMAGES, "styles": _IMAGES}
"""Parameters that may name files of the checkout, which the operator has put there, and their suffixes."""
_LONGEST_NAME = 100
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_PATTERN = re.compile(r"[*?\[\]]")


def admit(reads: Mapping[str, str | None], writes: Mapping[str, str | None]) -> None:
    """Check the addresses among a flow's parameters.

    Args:
        reads: addresses to read, by the name of their parameter; None is one that was not given.
        writes: the same of places to write to.

    Raises:
        UserError: one is malformed, has secrets, or is not open to the caller.
    """
    if deployment.id or os.environ.get(_STARTED_BY_A_WORKER):
        os.environ.setdefault(ALLOW, "")  # for the rest of this process, and for its children
    permission = Permission.given()
    for name, uri in reads.items():
        if uri is not None and builtin_name(uri) is None and not pretrained.is_pretrained(uri):
            _admit(name, uri, permission)
    for name, uri in writes.items():
        if uri is not None:
            if storage.is_web(uri):
                raise UserError(f"`{name}` {addresses.shown(uri)}: a web address cannot be written to; give s3://")
            _admit(name, uri, permission)


def admit_run(
    parameters: Mapping[str, Any],
    checkpoints: str | None = None,
    parent_run: str | None = None,
    files: Collection[str] = (),
) -> None:
    """Check the parameters of a run, by the names of `tinystyle.config.PARAMETERS`, as `admit` does.

    Raises:
        UserError: as in `admit`; or a list is too long, `parent_run` is no ID, or the machines of the run would meet
            where the operator has not said.
    """
    named = {name: parameters.get(name) for name in READ}
    if named["init_from"] in (AUTO, RANDOM):
        named["init_from"] = None
    admit(named, {"checkpoints": checkpoints})
    lists = {"files": files, **{name: value for name, value in parameters.items() if isinstance(value, list | tuple)}}
    for name, values in lists.items():
        if len(values) > LONGEST_LIST:
            raise UserError(f"`{name}`: {len(values):,} values; give at most {LONGEST_LIST}")
    if parent_run is not None and not _IDENTIFIER.fullmatch(parent_run):
        raise UserError(f"`parent_run` {shortened(parent_run, 80)}: is not the ID of an MLflow run")
    _admit_endpoint(parameters.get("rdzv_endpoint"), Permission.given())


def title(*parts: Any) -> str:
    """Return a name for a flow run from parameters that have not been checked: of one line, short, without secrets."""
    return shortened(" ".join(addresses.shown(str(part)) for part in parts), _LONGEST_NAME)


def _admit(name: str, uri: str, permission: Permission) -> None:
    try:
        addresses.check(uri)
    except UserError as error:
        raise UserError(f"`{name}` {error}") from error
    shown = addresses.shown(uri)
    if addresses.has_secrets(uri):
        raise UserError(
            f"`{name}` {shown}: was given with a password or query, which would be stored with the flow run; "
            "put the file into S3 and give its s3:// address"
        )
    if storage.is_remote(uri) and not storage.is_web(uri) and _PATTERN.search(uri):
        raise UserError(f"`{name}` {shown}: has * ? [ or ], which are not names; give the address of one place")
    if not storage.is_remote(uri) and not permission.path(uri) and not _of_checkout(name, uri):
        raise UserError(
            f"`{name}` {shown}: a local path is not open to flow runs from elsewhere; give s3://, or let the operator "
            f"list its folder in {ALLOW}"
        )


def _of_checkout(name: str, uri: str) -> bool:
    path = Path(os.path.realpath(addresses.local_path(uri)))
    if not path.is_relative_to(_CHECKOUT) or path.suffix.lower() not in _OF_CHECKOUT.get(name, ()):
        return False
    return not any(part.startswith(".") for part in path.relative_to(_CHECKOUT).parts)


def _admit_endpoint(endpoint: str | None, permission: Permission) -> None:
    """Refuse a place where the processes of a run would meet: whoever listens there could run code in them."""
    if endpoint is None or not permission.closed:
        return
    host, _, port = endpoint.rpartition(":")
    if not (port.isdecimal() and permission.lists(host, int(port))):
        raise UserError(
            f"`rdzv_endpoint` {addresses.shown(endpoint)}: is not open to flow runs from elsewhere; let the operator list "
            f"it in {ALLOW} as tcp://HOST:PORT"
        )


assert {*READ, "checkpoints", "rdzv_endpoint"} <= PARAMETERS.keys()

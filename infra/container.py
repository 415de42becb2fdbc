"""Runs one part of the platform in a container: `python -m infra.container ROLE`.

Addresses come from the usual variables (PREFECT_API_URL, MLFLOW_TRACKING_URI, AWS_ENDPOINT_URL); secrets come from
files that are mounted in one folder, so that no image, manifest or list of processes holds any. The server replaces
this process, so that it receives the container's signals.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, NoReturn

import httpx
import typer

from infra import programs, seaweedfs, servers, work_pool
from infra.bootstrap import bootstrap as buckets_and_rules
from infra.container_roles import (
    NOTE,
    Role,
    clients,
    coordinator,
    database,
    keeper,
    mlflow,
    prefect,
    store,
    submitter,
    worker,
)
from infra.settings import write_private
from tinystyle.commands.terminal import reporting_errors
from tinystyle.errors import UserError

__all__ = ["app"]

_ROLES = {
    "prefect": prefect,
    "mlflow": mlflow,
    "store": store,
    "coordinator": coordinator,
    "keeper": keeper,
    "worker": worker,
    "submitter": submitter,
}
TRAININGS = ("train-style/default",)
"""Deployments that occupy GPUs; the others wait for them, ingest or publish."""
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def serve(role: Annotated[str, typer.Argument(help=", ".join(_ROLES))]) -> None:
    """Become one of the platform's servers."""
    if role not in _ROLES:
        raise UserError(f"there is no role {role}; give {', '.join(_ROLES)}")
    _become(_ROLES[role]())


@app.command(context_settings={"ignore_unknown_options": True})
def run(command: Annotated[list[str], typer.Argument(help="A program and its arguments.")]) -> None:
    """Become another program, with the addresses and secrets of the platform's clients in its environment."""
    _become(Role(command, clients()))


@app.command()
def databases() -> None:
    """Create the databases of Prefect and MLflow, if PostgreSQL does not have them."""
    from infra.databases import ensure_databases  # its driver is in the image of the servers alone

    ensure_databases(database())


@app.command()
def bootstrap(
    job_template: Annotated[
        Path | None, typer.Option(help="Base job template of a Kubernetes work pool. By default, a pool of processes.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(envvar="TINYSTYLE_TRAINER_IMAGE", help="Image of flow runs, in place of the template's."),
    ] = None,
    training: Annotated[
        str,
        typer.Option(
            envvar="TINYSTYLE_TRAINING_JOB",
            help='Job variables of trainings on Kubernetes, as JSON, such as {"gpus": 1}.',
        ),
    ] = "{}",
) -> None:
    """Create buckets, work pool, queues and deployments. Running it again changes nothing that is right already."""
    variables = _variables(training)
    environment = clients()
    if "AWS_ENDPOINT_URL" in environment:
        for step in buckets_and_rules(seaweedfs.client(environment), environment["AWS_DEFAULT_REGION"]):
            typer.echo(f"{step.what}: {step.outcome}")
    if job_template:
        template = json.loads(job_template.read_bytes())
        if image:
            template["variables"]["properties"]["image"]["default"] = image
        work_pool.ensure_work_pool(environment, "kubernetes", template)
    else:
        work_pool.ensure_work_pool(environment)
    _deploy(environment, "--all")
    for name in TRAININGS if variables else ():
        _deploy(environment, "--name", name, "--job-variable", json.dumps(variables))


def _variables(training: str) -> dict[str, object]:
    try:
        variables = json.loads(training)
    except ValueError as error:
        raise UserError(f"`training` is no JSON: {error}") from error
    if not isinstance(variables, dict):
        raise UserError('`training` is not an object of job variables, such as {"gpus": 1}')
    return variables


def _deploy(environment: dict[str, str], *options: str) -> None:
    command = [str(programs.BIN / "prefect"), "--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml", *options]
    with tempfile.TemporaryDirectory(prefix="prefect-") as home:
        settings = {**os.environ, **environment, "PREFECT_HOME": home}
        subprocess.run(command, env=settings, cwd=servers.REPOSITORY, check=True)


@app.command()
def health() -> None:
    """Fail unless the server of this container answers. A container that runs a single command is always healthy."""
    address = NOTE.read_text() if NOTE.exists() else ""
    if address:
        httpx.get(address, timeout=4, trust_env=False).raise_for_status()


def _become(role: Role) -> NoReturn:
    NOTE.write_text(role.health)
    for path, text in role.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text)
    os.execvpe(role.command[0], role.command, {**os.environ, **role.environment})


if __name__ == "__main__":
    with reporting_errors():
        app()

"""`python -m infra.stack up|down|status|health|worker`: the object store, MLflow, Prefect and its workers on this machine."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Annotated

import typer

from infra import lifecycle, servers
from infra.health import health as check_health
from infra.lifecycle import ServerFailedError
from infra.settings import StackSettings, read_environment
from tinystyle.commands.doctor import report
from tinystyle.commands.terminal import FAILED, errors, reporting_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
NOT_RUNNING = 3
"""Exit code of `status` if a server is down, the same as that of `systemctl status`."""

Folder = Annotated[
    Path, typer.Option(help="Folder of the stack, with its data, logs, secrets and the file env for clients.")
]


@app.command()
def up(
    folder: Folder = Path(".stack"),
    database: Annotated[
        str | None,
        typer.Option(
            help="Database of Prefect and MLflow: sqlite, or postgresql://USER:PASSWORD@HOST:PORT, where the databases "
            "prefect and mlflow are created if absent. [default: sqlite]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of workers, each of which trains one network at a time. [default: 1]"),
    ] = None,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated host names by which a proxy or other containers address Prefect and MLflow, besides "
            "127.0.0.1 and localhost. [default: none]"
        ),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls",
            help="Encrypt Prefect, MLflow and S3, with certificates of the stack's own or those given. [default: no]",
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Certificate for --tls, with those up to its authority (PEM)."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Private key of --tls-certificate (PEM).")
    ] = None,
    tls_authority: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Authority of --tls-certificate (PEM), if clients lack it."),
    ] = None,
    prefect_port: Annotated[int | None, typer.Option(help="Port of Prefect. [default: 4200]")] = None,
    mlflow_port: Annotated[int | None, typer.Option(help="Port of MLflow. [default: 5000]")] = None,
    s3_port: Annotated[
        int | None,
        typer.Option(
            help="Port of S3; the store also uses the eight after it, and one 10,000 above those. [default: 9030]"
        ),
    ] = None,
) -> None:
    """Start all servers that do not run yet, in the background. Options that are not given keep their last values."""
    folder = folder.absolute()
    given = {
        "database": database,
        "workers": workers,
        "allowed_hosts": allowed_hosts,
        "prefect_port": prefect_port,
        "mlflow_port": mlflow_port,
        "s3_port": s3_port,
    }
    files = {"tls_certificate": tls_certificate, "tls_key": tls_key, "tls_authority": tls_authority}
    given |= {name: str(file.absolute()) for name, file in files.items() if file}
    if tls is False:
        given |= dict.fromkeys(files, "")
    before = StackSettings.load(folder)
    settings = StackSettings.model_validate(
        (before.model_dump() if before else {}) | {name: value for name, value in given.items() if value is not None}
    )
    if tls and not settings.tls_certificate:
        settings = settings.with_tls(folder)
    started = time.monotonic()
    try:
        clients = lifecycle.up(folder, settings, typer.echo)
    except ServerFailedError as failed:
        errors.print(f"Error: {failed}. Its last lines:\n{failed.log}", soft_wrap=True)
        raise typer.Exit(1) from failed
    typer.echo(f"The stack runs, after {time.monotonic() - started:.0f} s. Passwords (user admin) are in {folder}/env")
    typer.echo(f"  Prefect  {clients['PREFECT_API_URL'].removesuffix('/api')}")
    typer.echo(f"  MLflow   {clients['MLFLOW_TRACKING_URI']}")
    typer.echo(f"  S3       {clients['AWS_ENDPOINT_URL']}")
    typer.echo(f"For commands in this shell: set -a; . {folder}/env; set +a")


@app.command()
def down(
    folder: Folder = Path(".stack"),
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the folder with all data, runs, models and secrets.")
    ] = False,
) -> None:
    """Stop everything that `up` started, workers first; the data is kept."""
    lifecycle.down(folder.absolute(), purge=purge, say=typer.echo)


@app.command()
def status(folder: Folder = Path(".stack")) -> None:
    """Print which servers run; exit code 3 if any does not."""
    states = lifecycle.status(folder.absolute())
    for state in states:
        runs = f"runs, process {state.process.pid}, {state.memory / 2**20:.0f} MiB" if state.process else "does not run"
        typer.echo(f"{state.name}: {runs}")
    if not all(state.process for state in states):
        raise typer.Exit(NOT_RUNNING)


@app.command()
def health(
    folder: Folder = Path(".stack"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check processes, disk, servers, workers and deployments; exit code 1 if anything does not work."""
    if not report(check_health(folder.absolute()), as_json):
        raise typer.Exit(FAILED)


@app.command()
def worker(
    folder: Folder = Path(".stack"),
    name: Annotated[
        str | None, typer.Option(help="Name of the worker in Prefect's UI. [default: name of this machine]")
    ] = None,
) -> None:
    """Run one more worker in the foreground, here or on another machine that has a copy of the stack's env file."""
    environment = servers.worker_environment(read_environment(folder.absolute() / "env"))
    command = servers.worker_command(name or socket.gethostname())
    os.chdir(servers.REPOSITORY)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    with reporting_errors():
        app()

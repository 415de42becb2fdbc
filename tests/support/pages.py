"""The commands of a page of docs/, by the heading above them; and a shell in a fresh checkout that runs them as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.support.places import REPOSITORY

__all__ = ["Checkout", "commands"]

_FENCE = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> dict[str, list[str]]:
    """Heading to the shell blocks below it, but those that begin with `# elsewhere`: they name other machines."""
    sections = re.split(r"^## +(.*)$", (REPOSITORY / "docs" / page).read_text(), flags=re.MULTILINE)
    found: dict[str, list[str]] = {}
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        blocks = [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in _FENCE.findall(text)]
        found[heading] = [block for block in blocks if not block.startswith("# elsewhere")]
    return {heading: blocks for heading, blocks in found.items() if blocks}


_COMPARED = (
    "pyproject.toml",
    *(f"requirements/{name}" for name in ("dev.txt", "cuda.txt", "torch-cpu.txt", "install.sh")),
)
"""What `make` compares with the environment's age."""


class Checkout:
    """A clone of this repository, with its uncommitted changes and its virtual environment, and a shell in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "AWS_"))
        }
        self.environment = kept | environment
        subprocess.run(["git", "clone", "--quiet", REPOSITORY, folder], check=True)
        # What make compares is older than the environment, so that it installs nothing.
        for name in _COMPARED:
            os.utime(folder / name, (0, 0))
        (folder / ".venv").symlink_to(REPOSITORY / ".venv")
        changed = ["git", "ls-files", "--modified", "--others", "--exclude-standard", "-z"]
        for name in subprocess.check_output(changed, cwd=REPOSITORY, text=True).split("\0"):
            if name and (REPOSITORY / name).is_file() and name not in _COMPARED:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, folder / name)

    def run(self, block: str, timeout: float = 600) -> str:
        """Run a block, which may change the environment of the next; returns what it printed.

        Raises:
            AssertionError: a command of it failed.
        """
        after = self.folder / ".environment"
        script = f"set -euo pipefail\n{block}\nenv -0 > {after}\n"
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, timeout=timeout, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{block}\nended with {ended.returncode}:\n{ended.stdout[-4000:]}"
        self.environment = dict(line.split("=", 1) for line in after.read_text().rstrip("\0").split("\0"))
        after.unlink()
        return ended.stdout

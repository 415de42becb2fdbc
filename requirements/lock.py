"""Writes the locks of this folder: every package with its checksums, at the versions of constraints.txt.

They are for Linux and macOS, and Python 3.11.5 to 3.12. docker/lock.sh runs before: the checksums of torch's CPU build
come from its locks.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
HEADER = "# Written by `make lock`, from constraints.txt and pyproject.toml.\n"
# The plain torch for Linux asks for these packages, and its CPU build does not.
CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|triton")
# Only cyclonedx asks for the first, which needs the second, and does without. jsonschema imports it wherever it is, and it
# parses a grammar for a second and a half: in every process that imports Prefect.
WITHOUT = ("rfc3987-syntax", "lark")
LOCKS = {"library": ("--extra", "efficientnet"), "dev": ("--extra", "dev")}


def main() -> None:
    """Write library.txt, dev.txt, cuda.txt and torch-cpu.txt."""
    _write("torch-cpu", [_entries((HERE.parent / "docker" / "requirements" / "trainer-cpu.txt").read_text())["torch"]])
    for name, extras in LOCKS.items():
        found = _compiled(*extras)
        _write(name, (entry for package, entry in found.items() if not CUDA.match(package)))
    _write("cuda", (entry for package, entry in found.items() if CUDA.match(package)))


def _compiled(*arguments: str) -> dict[str, str]:
    """Return the lines of uv's lock for each package."""
    command = ["uv", "pip", "compile", "--quiet", "--no-config", "--generate-hashes", "--no-annotate", "--no-header"]
    # 3.11.5, because mkdocs-material needs it.
    command += ["--universal", "--python-version", "3.11.5", "--constraint", "../constraints.txt"]
    command += [f"--no-emit-package={package}" for package in WITHOUT]
    command += ["../pyproject.toml", "build.in", *arguments]
    return _entries(subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout)


def _entries(lock: str) -> dict[str, str]:
    return {entry.partition("==")[0]: entry for entry in re.findall(r"^[\w.-]+==.*\n(?: .*\n)*", lock, re.MULTILINE)}


def _write(name: str, entries: Iterable[str]) -> None:
    (HERE / f"{name}.txt").write_text(HEADER + "".join(entries))


if __name__ == "__main__":
    main()

"""The locks of the images agree with constraints.txt, and check every file."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import REPOSITORY

LOCKS = sorted((REPOSITORY / "docker" / "requirements").glob("*.txt"))
CUDA = re.compile(r"nvidia-(?!ml-py)|cuda-|triton")


def locked(text: str) -> dict[str, str]:
    """Canonical name to version, without a local part such as +cpu."""
    found = {}
    for line in text.splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            requirement = Requirement(line.rstrip(" \\"))
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            found[canonicalize_name(requirement.name)] = specifier.version.partition("+")[0]
    return found


@pytest.mark.parametrize("name", [path.name for path in LOCKS])
def test_lock_has_the_pinned_versions_with_checksums(name: str) -> None:
    """`make lock` writes the locks again after a change of constraints.txt."""
    pinned = locked((REPOSITORY / "constraints.txt").read_text())
    text = (REPOSITORY / "docker" / "requirements" / name).read_text()
    found = locked(text)
    ours = {package: version for package, version in found.items() if not CUDA.match(package)}
    assert ours == {package: pinned.get(package) for package in ours}
    assert len(re.findall(r"^[A-Za-z0-9].*\\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) == len(found)
    assert (found != ours) == (name == "trainer-cuda.txt"), "CUDA is in its own image alone"


def test_cpu_images_take_the_cpu_build_of_torch() -> None:
    builds = {path.name: re.search(r"^torch==(\S+)", path.read_text(), re.MULTILINE) for path in LOCKS}
    found = {name: build[1] for name, build in builds.items() if build}
    assert {name: version.endswith("+cpu") for name, version in found.items()} == {
        "server.txt": True,
        "trainer-cpu.txt": True,
        "trainer-cuda.txt": False,
    }

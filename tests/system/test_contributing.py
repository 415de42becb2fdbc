"""CONTRIBUTING.md, followed to the letter in a copy of the repository; and the facts that its neighbors repeat."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tinystyle
from tests.support.places import REPOSITORY

# What the guides change and run. New files count before they are added to git.
SOURCES = ("tinystyle", "flows", "infra", "tests", "pyproject.toml")
_HEADING = re.compile(r"^##+ (.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"# ([\w/.]+)\n")


def guides() -> dict[str, list[tuple[str, str]]]:
    """Heading to the (language, text) of each block below it, of the sections that add something."""
    sections = _HEADING.split((REPOSITORY / "CONTRIBUTING.md").read_text())
    found = zip(sections[1::2], sections[2::2], strict=True)
    return {heading: _BLOCK.findall(text) for heading, text in found if heading.startswith("Add ")}


GUIDES = guides()


class Checkout:
    """A copy of the repository's sources, and a shell in it in which `tinystyle` and `python` run that copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *SOURCES]
        for name in subprocess.check_output(listed, cwd=REPOSITORY, text=True).split("\0"):
            if name and (REPOSITORY / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self.folder / name)
        commands = folder / "bin"
        commands.mkdir()
        for name, arguments in (("python", ""), ("tinystyle", " -m tinystyle")):
            (commands / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
            (commands / name).chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        self.environment = kept | {
            "COLUMNS": "120",
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
        }

    def write(self, text: str) -> None:
        """Write the new file that a block holds; its first line names it, as a comment, and is not part of it."""
        path, content = _named(text)
        assert not (self.folder / path).exists(), f"{path} exists already"
        (self.folder / path).write_text(content)

    def change(self, text: str) -> None:
        """Make the change that a block holds as lines that begin with a space, - or +; its first line names the file."""
        path, content = _named(text)
        lines = [line if line else " " for line in content.splitlines()]
        assert all(line[0] in " -+" for line in lines), text
        before, after = ("".join(f"{line[1:]}\n" for line in lines if line[0] != sign) for sign in "+-")
        current = (self.folder / path).read_text()
        assert current.count(before) == 1, f"{path} holds these lines {current.count(before)} times:\n{before}"
        (self.folder / path).write_text(current.replace(before, after))

    def run(self, text: str) -> str:
        """Run a block of commands, each of which has to succeed; returns what they printed."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=240,
        )  # fmt: skip
        assert ended.returncode == 0, f"{text}\nended with {ended.returncode}:\n{ended.stdout[-4000:]}"
        return ended.stdout


def _named(text: str) -> tuple[str, str]:
    first = _PATH.match(text)
    assert first, f"the first line of this block names no file:\n{text}"
    return first[1], text[first.end() :]


def follow(heading: str, checkout: Checkout) -> str:
    """Do what a guide says, block by block; returns what its commands printed.

    Raises:
        AssertionError: a block cannot be followed, a command failed, or it did not print what the guide shows.
    """
    printed = ""
    for language, text in GUIDES[heading]:
        if language == "python":
            checkout.write(text)
        elif language == "diff":
            checkout.change(text)
        elif language == "sh":
            printed += checkout.run(text)
        elif language == "text":
            assert text in printed, f"{text}is not in what was printed:\n{printed}"
        else:
            raise AssertionError(f"a block in {language}, which nobody can follow")
    return printed


def test_there_are_four_guides() -> None:
    assert len(GUIDES) == 4
    assert all("diff" in dict(blocks) for blocks in GUIDES.values()), "each has a registry"


@pytest.mark.slow
def test_a_network_of_the_guide_is_priced_exported_and_verified(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    printed = follow("Add a network", checkout)
    file = checkout.folder / "tiny" / "tiny.mlmodel"
    assert f"tiny/tiny.mlmodel: {file.stat().st_size:,} bytes" in printed
    # The docstring of the guide's file, the table of costs, and the weights that were found in the Core ML file.
    assert "has 8,880 weights" in (checkout.folder / "tinystyle" / "nets" / "tiny.py").read_text()
    assert printed.count("8,880") >= 2


def test_a_style_image_of_the_guide_is_listed_and_passes_the_tests_of_styles(tmp_path: Path) -> None:
    printed = follow("Add a style image, or an export format", Checkout(tmp_path))
    assert "builtin:rings" in printed
    assert re.search(r"\b[1-9]\d* passed", printed)


def test_a_flow_of_the_guide_can_be_deployed(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    follow("Add a flow", checkout)
    deployments = yaml.safe_load((checkout.folder / "infra" / "prefect.yaml").read_text())["deployments"]
    assert "flows/count_photos.py:count_photos" in [deployment["entrypoint"] for deployment in deployments]


def test_a_loss_network_of_the_guide_is_in_both_registries(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    follow("Add a loss network", checkout)
    code = "from tinystyle.nets.perceptual import *; print(len(PERCEPTUAL_NETWORKS[check_perceptual('vgg19')].style_layers))"
    assert checkout.run(f'python -c "{code}"') == "4\n"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (tinystyle.__version__, "Apache-2.0")


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob(".github/**/*.yml"))
)
def test_what_the_host_reads_is_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((REPOSITORY / path).read_text()), dict)

"""The documentation: links lead somewhere, commands exist, and the site's table of parameters is complete."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml  # type: ignore[import-untyped]
from PIL import Image

from tests.support.places import REPOSITORY
from tinystyle.commands.app import app
from tinystyle.config import PARAMETERS
from tinystyle.data.contact_sheet import CELL
from tinystyle.styles import pretrained

FOLDERS = ("", "docs", "benchmarks", "examples", ".github", "tests", "infra")
PAGES = sorted(page for folder in FOLDERS for page in (REPOSITORY / folder).glob("*.md"))
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures, but those in examples and on the web."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    targets = re.findall(r"\]\(([^()\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Names that a page's headings have in links."""
    headings = re.findall(r"^#+ +(.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert REPOSITORY in (there, *there.parents), f"{target} is outside of the repository"
        if anchor:
            assert anchor in anchors(there), target


def commands(name: str) -> set[str]:
    """What README and the pages in docs/ run or mention as `NAME WORD`."""
    found: set[str] = set()
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        text = page.read_text()
        code = _FENCE.findall(text) + re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
        for piece in code:
            found |= set(re.findall(rf"(?:^|[ `(]){name} ([a-z][a-z0-9-]*)", piece, re.MULTILINE))
    return found


def test_c3_the_readme_begins_with_a_picture_of_every_style_that_ships() -> None:
    beginning = (REPOSITORY / "README.md").read_text().splitlines()[:5]
    (picture,) = re.findall(r"!\[.+\]\((\S+)\)", "\n".join(beginning))
    with Image.open(REPOSITORY / picture) as image:
        columns = 1 + len(pretrained.names())
        assert image.width == 8 + columns * (CELL[0] + 8), "it is drawn anew when a style is added"


def test_commands_of_tinystyle_exist() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    named = commands("tinystyle")
    assert {"train", "export", "verify", "stylize", "models"} <= named
    assert named <= known


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = commands("make")
    assert {"test", "demo", "stack"} <= named
    assert named <= targets


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/hooks.py, which mkdocs loads by its path."""
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("docs_hooks", REPOSITORY / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_parameters_has_every_parameter(hooks: ModuleType) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", hooks.parameters_page(), re.MULTILINE))
    assert rows.keys() == PARAMETERS.keys()
    for name, parameter in PARAMETERS.items():
        assert parameter.help
        assert rows[name].startswith(parameter.help.replace("|", "\\|"))
    assert "`4000`" in rows["steps"]
    assert "`0<x<=4`" in rows["alpha"]


def test_links_are_rewritten_for_the_site(hooks: ModuleType) -> None:
    text = "[a](docs/ios.md#sizes) ![b](docs/images/styles.jpg) [c](LICENSE) [d](benchmarks/bits.md)\n```\n[e](LICENSE)\n```\n"
    assert hooks.rewritten(text, "README.md", "index.md") == (
        "[a](ios.md#sizes) ![b](images/styles.jpg) c [d](benchmarks/bits.md)\n```\n[e](LICENSE)\n```\n"
    )
    text = "[a](../ARCHITECTURE.md) [b](operator.md#start) [c](#here) [d](https://example.org)"
    assert hooks.rewritten(text, "docs/engineer.md", "engineer.md") == (
        "[a](architecture.md) [b](operator.md#start) [c](#here) [d](https://example.org)"
    )
    assert hooks.rewritten("[a](paint.md)", "benchmarks/bits.md", "benchmarks/bits.md") == "[a](paint.md)"


def test_every_page_is_in_the_menu_of_the_site(hooks: ModuleType) -> None:
    """mkdocs only warns of one that is not, when it builds the site."""

    def pages(menu: object) -> set[str]:
        if isinstance(menu, list):
            return {page for entry in menu for page in pages(entry)}
        return {page for entry in menu.values() for page in pages(entry)} if isinstance(menu, dict) else {str(menu)}

    menu = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    on_site = {page.name for page in (REPOSITORY / "docs").glob("*.md")} | set(hooks.PAGES.values())
    assert pages(menu) == {page for page in on_site if page.endswith(".md")}

"""Hooks of mkdocs: pages of the site that are files elsewhere in the repository, links between them, and what is made.

A file is written once, where readers of the repository look for it. On the site it has the place that `PAGES` says, and
its links, which are relative to its place in the repository, are rewritten.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from tinystyle.config import PARAMETERS, Parameter

ROOT = Path(__file__).parents[1]
PARAMETERS_SOURCE = "tinystyle/config/run.py"
"""What the page of parameters is made from, and where links in the repository lead to instead."""

WEB_SOURCE = "tinystyle/web/build.py"
"""What builds the page of `tinystyle web`, of which the site has one; links in the repository lead to the source instead."""

PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    PARAMETERS_SOURCE: "parameters.md",
    WEB_SOURCE: "live.html",
    **{
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "benchmarks").iterdir())
        if path.suffix in (".md", ".jpg", ".png")
    },
}
"""Files of the repository outside docs/, and what they are called on the site."""

_SOURCES = {page: source for source, page in PAGES.items()}
_FENCE = re.compile(r"^( *)(```+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and pictures that are not in docs/."""
    for source, page in PAGES.items():
        if source == PARAMETERS_SOURCE:
            files.append(File.generated(config, page, content=parameters_page()))
        elif source == WEB_SOURCE:
            files.append(File.generated(config, page, content=web_page()))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001  mkdocs names them
    """Point links to where their targets are on the site."""
    place = page.file.src_uri
    return rewritten(markdown, _SOURCES.get(place, f"docs/{place}"), place)


def rewritten(markdown: str, source: str, place: str) -> str:
    """The text with its links as they are on the site; a link to a file that is not on the site becomes its text.

    Args:
        markdown: text of a page.
        source: path of the page in the repository.
        place: path of the page on the site.
    """

    def link(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        path, hash, anchor = target.partition("#")
        if not path or ":" in path:
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page = PAGES.get(there) or (there.removeprefix("docs/") if there.startswith("docs/") else None)
        if page is None:
            return text
        return f"{image}[{text}]({posixpath.relpath(page, posixpath.dirname(place) or '.')}{hash}{anchor})"

    pieces, end = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [_LINK.sub(link, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, _LINK.sub(link, markdown[end:])])


def web_page() -> str:
    """The page of `tinystyle web` with every style that ships, HTML. The one that most know is shown first."""
    from tinystyle.styles import pretrained
    from tinystyle.web import build_page

    names = sorted(pretrained.names(), key=lambda name: name != "starry-night")
    return build_page([pretrained.PREFIX + name for name in names]).html


def parameters_page() -> str:
    """The page of all parameters of a run, Markdown, made from `tinystyle.config.PARAMETERS`."""
    groups: dict[str, list[Parameter]] = {}
    for parameter in PARAMETERS.values():
        groups.setdefault(parameter.group, []).append(parameter)
    lines = [_INTRODUCTION]
    for group, parameters in sorted(groups.items(), key=lambda item: item[0] != "Run"):
        lines += [f"## {group}", "", "| parameter | meaning | default | values |", "|---|---|---|---|"]
        lines += [_row(parameter) for parameter in sorted(parameters, key=lambda each: each.advanced)]
        lines.append("")
    return "\n".join(lines)


_INTRODUCTION = """# Parameters of a run

Each parameter has one name everywhere:

- on the command line it is an option of `tinystyle train`, with dashes: `--style-weight 5`;
- in a file for `tinystyle train --config FILE` (YAML, JSON, or the `run.json` of an earlier run) it is `style_weight: 5`;
- in Python it is an argument: `tinystyle.train(..., style_weight=5)`;
- in a flow it is a parameter: `-p style_weight=5`; in the style catalog it is a line of an entry or of `defaults`.

Options override what the file says. `tinystyle frontier` takes most of them, `tinystyle evaluate` those that set the
losses. *Advanced* marks parameters that most runs leave at their defaults. All but those under [Execution](#execution)
are part of the run key, a hash by which a run is recognized.
"""


def _row(parameter: Parameter) -> str:
    values = ", ".join(f"`{choice}`" for choice in parameter.choices) or (
        f"`{parameter.range}`" if parameter.range else ""
    )
    if parameter.unit:
        values = f"{values}, {parameter.unit}" if values else parameter.unit
    if parameter.required:
        default = "*required*"
    elif isinstance(parameter.default, bool):
        default = "`true`" if parameter.default else "`false`"
    elif parameter.default is None:
        default = ""
    else:
        value = f"{parameter.default:g}" if isinstance(parameter.default, float) else str(parameter.default)
        default = f"`{value}`"
    help = parameter.help.replace("|", "\\|") + (" *Advanced.*" if parameter.advanced else "")
    return f"| `{parameter.name}` | {help} | {default} | {values} |"

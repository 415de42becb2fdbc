"""`tinystyle models` and `promote`: the registered models, their metrics, and the champion of each style."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tinystyle.commands.help import Command, CommandGroup
from tinystyle.commands.terminal import screen

if TYPE_CHECKING:
    from tinystyle.tracking.registry import ModelVersion

__all__ = ["models", "promote"]

FIGURES = {  # tag of a version -> heading and format; chosen so that the table is 80 columns wide
    "bytes": ("bytes", ",.0f"),
    "bits": ("bits", ".0f"),
    "psnr": ("PSNR", ".1f"),
    "content": ("con-\ntent", ".3f"),
    "paint3": ("paint3", ".3f"),
    "paint4": ("paint4", ".3f"),
}
Style = Annotated[str, typer.Argument(help="Name of a registered style.")]
Version = Annotated[str, typer.Argument(help="Version number, or an alias: champion or candidate.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
models = typer.Typer(
    cls=CommandGroup,
    help="""List, show or fetch the models that are registered in MLflow.

    Without a command, it lists them. MLFLOW_TRACKING_URI is the address of the server.
    """,
    rich_markup_mode=None,
)


@models.callback(invoke_without_command=True)
def _list(
    context: typer.Context,
    style: Annotated[str | None, typer.Option(help="List only this style. [default: all styles]")] = None,
    as_json: AsJson = False,
) -> None:
    if context.invoked_subcommand:
        return
    from tinystyle.tracking import registry

    found = registry.versions(style)
    if as_json:
        screen.print_json(data=[_plain(version) for version in found])
        return
    if not found:
        what = f"style {style}" if style else "model"
        screen.print(f"no {what} is registered yet", soft_wrap=True)
        return
    table = Table("style", "version", "network", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.columns[0].overflow = "fold"
    for heading, _ in FIGURES.values():
        table.add_column(heading, justify="right")
    table.add_column("when", no_wrap=True)
    for version in found:
        network = " ".join(version.tags.get(name, "") for name in ("architecture", "alpha"))
        number = " ".join([str(version.version), ", ".join(version.aliases)])
        figures = (_figure(version.tags.get(name, ""), form) for name, (_, form) in FIGURES.items())
        table.add_row(version.style, number, network, *figures, f"{version.created:%Y-%m-%d}")
    screen.print(table)


@models.command(cls=Command)
def show(style: Style, version: Version = "champion", as_json: AsJson = False) -> None:
    """Show everything that the model registry records of one version.

    This includes the reasons for its aliases.
    """
    from tinystyle.tracking import registry

    found = registry.find(style, version)
    if as_json:
        screen.print_json(data=_plain(found))
        return
    table = Table("", title=f"{found.style} {found.version}", show_header=False)
    table.add_column(overflow="fold")
    facts = {"aliases": ", ".join(found.aliases), "run": found.run_id, "when, UTC": f"{found.created:%Y-%m-%d %H:%M}"}
    for name, value in (facts | dict(sorted(found.tags.items()))).items():
        table.add_row(name, _decision(value) if name.startswith("decision.") else value)
    screen.print(table)


@models.command(cls=Command)
def fetch(
    style: Style,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files; must be new or empty.")],
    version: Version = "champion",
) -> None:
    """Download the files of one version, and verify all SHA-256 checksums.

    The files are the exported files, their model cards, and the trained network.
    """
    from tinystyle.tracking import registry

    found = registry.find(style, version)
    registry.fetch(found, out)
    files = sum(path.is_file() for path in out.rglob("*"))
    screen.print(f"{out}: {style} {found.version}, {files} files, all checksums match", soft_wrap=True)


def promote(
    style: Style,
    version: Annotated[str, typer.Argument(help="Version number, or an alias such as candidate.")],
    reason: Annotated[
        str, typer.Option(help="Reason for the promotion, recorded with the version.")
    ] = "promoted by hand",
) -> None:
    """Make a version the champion of its style.

    The champion is the version that `tinystyle publish` publishes.
    """
    from tinystyle.tracking import registry

    found = registry.find(style, version)
    if registry.CHAMPION in found.aliases:
        screen.print(f"{style} {found.version} is already the champion", soft_wrap=True)
        return
    before = next((other for other in registry.versions(style) if registry.CHAMPION in other.aliases), None)
    registry.assign(style, registry.CHAMPION, found.version, reason)
    instead = f", in place of {before.version}" if before else ""
    screen.print(f"{style} {found.version} is now the champion{instead}", soft_wrap=True)


def _plain(version: ModelVersion) -> dict[str, Any]:
    return asdict(version) | {"created": version.created.isoformat()}


def _figure(value: str, form: str) -> str:
    """Format a tag for a column; return it unchanged if it is not a number."""
    try:
        return format(float(value), form)
    except ValueError:
        return value


def _decision(value: str) -> str:
    """Describe what `registry.assign` recorded in words; return anything else unchanged."""
    try:
        decision = json.loads(value)
        instead = f", in place of {decision['replaces']}" if decision["replaces"] else ""
        return f"{decision['reason']} ({decision['who']}, {decision['time']}{instead})"
    except (ValueError, KeyError, TypeError):
        return value

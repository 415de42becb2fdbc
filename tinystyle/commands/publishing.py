"""`tinystyle publish`, `rollback` and `published`: the model files that apps download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tinystyle.commands.terminal import resumable, screen
from tinystyle.errors import UserError, closest

__all__ = ["publish", "published", "rollback"]

_ROOT = "s3://models"
Style = Annotated[str, typer.Argument(help="Name of the style in the model registry.")]
Root = Annotated[str, typer.Option(help="Location of the published models: s3://BUCKET[/PREFIX] or a folder.")]
Reason = Annotated[str | None, typer.Option(help="Reason for the change, recorded in the history of the index.")]


def publish(
    style: Style,
    version: Annotated[
        str, typer.Option(help="Version to publish: a number or an alias in the model registry.")
    ] = "champion",
    root: Root = _ROOT,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder written by `tinystyle models fetch` to publish instead; --version must then be a number."
        ),
    ] = None,
    reason: Reason = None,
) -> None:
    """Publish a version for apps, and make it the current version.

    It consists of the exported files, their model cards, the Swift file and checksums. If interrupted, rerun the same
    command to complete it. Published files never change; publishing a version again does nothing.
    """
    if folder is not None and not version.isdecimal():
        raise UserError(f"--version {version}: with --folder, give the number of the version")
    from tinystyle.release import publishing

    with resumable():
        if folder is not None:
            result = publishing.publish_folder(
                folder, style=style, version=int(version), root=root, reason=reason or f"from {folder.name}"
            )
        else:
            from tinystyle.tracking import registry
            from tinystyle.tracking.publish import publish_version

            found = registry.find(style, version)
            result = publish_version(found, root, reason=reason or f"as {version}")
    screen.print(
        f"version {result.version} of {style} is published at {root}: {len(result.files)} files", soft_wrap=True
    )
    current = publishing.read_index(root).style(style)
    if current is not None and current.current != result.version:
        screen.print(
            f"the index points to version {current.current}, and is left there: "
            f"tinystyle rollback {style} --version {result.version} points it to this one",
            soft_wrap=True,
        )


def rollback(
    style: Style,
    version: Annotated[
        int | None, typer.Option(help="Published version to return to. [default: the one current before]", min=1)
    ] = None,
    root: Root = _ROOT,
    reason: Reason = None,
) -> None:
    """Make an earlier version of a style the current one in the index.

    No files are removed.
    """
    from tinystyle.release import publishing

    result = publishing.rollback(style, root, version, reason=reason or "")
    screen.print(f"version {result.version} of {style} is the current one at {root}", soft_wrap=True)


def published(
    style: Annotated[str | None, typer.Argument(help="List only this style.")] = None,
    root: Root = _ROOT,
    links: Annotated[
        float | None,
        typer.Option(
            metavar="HOURS",
            help="Print links to the current files instead, valid without credentials for this many hours.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the index as JSON.")] = False,
) -> None:
    """List the current version of every published style.

    Each of its files has a line.
    """
    from tinystyle.data import storage
    from tinystyle.release import publishing

    index = publishing.read_index(root)
    styles = [entry for entry in index.styles if style in (None, entry.name)]
    if style is not None and not styles:
        names = [entry.name for entry in index.styles]
        others = (
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}{closest(style, names)}" if names else "nothing is"
        )
        raise UserError(f"{style} is not published at {root}; {others}")
    if as_json:
        screen.print_json(index.model_copy(update={"styles": tuple(styles)}).model_dump_json())
        return
    if not styles:
        screen.print(f"nothing is published at {root}", soft_wrap=True)
        return
    table = Table("style", title=f"Published at {root}")
    table.add_column("version", justify="right")
    table.add_column("file", no_wrap=True)
    for name in ("bytes", "PSNR, dB"):
        table.add_column(name, justify="right")
    table.add_column("runs on", no_wrap=True)
    files = [(entry, file) for entry in styles if (now := entry.version()) is not None for file in now.files]
    for entry, file in files:
        numbers = (
            f"{file.bytes:,}",
            f"{file.psnr:.1f}",
            file.runtime + (f", iOS {file.minimum_ios}" if file.minimum_ios else ""),
        )
        table.add_row(entry.name, f"{entry.current} of {len(entry.versions)}", file.name, *numbers)
    if links is None:
        screen.print(table)
        return
    for _, file in files:
        screen.print(publishing.presign(storage.join(root, file.url), round(links * 3600)), soft_wrap=True)

"""How the help of every command looks: sections, one notation for values, and lines that break between words only.

Does not depend on what the commands do. Typer's own help cuts the descriptions of commands, breaks lines at hyphens and
within bounds, and writes types as Python does.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from tinystyle.commands.examples import EXAMPLES
from tinystyle.config import PARAMETERS
from tinystyle.data.addresses import local_only
from tinystyle.errors import UserError

__all__ = ["WIDTH", "Command", "CommandGroup"]

WIDTH = 120
"""Maximum width of a help page, in columns; a narrower terminal sets its own."""

_ARGUMENTS, _OPTIONS = "Arguments", "Options"
_ORDER = [_ARGUMENTS, _OPTIONS, *dict.fromkeys(each.heading for each in PARAMETERS.values() if not each.advanced)]
_WORDS = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "path": "PATH", "Path": "PATH"}
_TYPE = re.compile(r"<(?:list\[)?([^<>\[\]]*?)(?: range)?\]?>")
_NOTES = re.compile(r"\s*\[([^\[\]]*)\]$")
_PHRASE = re.compile(r"`[^`]+`")
# Stand-ins that lines do not break at. `get_help` replaces them by what they stand for.
_SPACE, _HYPHEN = "\xa0", "\u2011"
_FIRST_COLUMN = 36
"""Columns that a line needs beside its description, at most."""


class _Readable:
    """What `Command` and `CommandGroup` have in common; a mixin for a class of Typer."""

    def get_help(self, ctx: Any) -> str:
        """Return the help page."""
        page: str = super().get_help(ctx)  # type: ignore[misc]
        return page.replace(_SPACE, " ").replace(_HYPHEN, "-")

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name in the line of usage, such as MODEL, [STYLE] and PHOTOS..."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [re.sub(r"[{}]", "", piece) for piece in pieces]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature of Typer's class
        """Write the description of the command."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(_whole(inspect.cleandoc(self.help)))  # type: ignore[attr-defined]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        program, _, name = ctx.command_path.partition(" ")
        if lines := EXAMPLES.get(name):
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':{formatter.current_indent}}{program} {line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and parameters of a run in sections, advanced ones last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record:
                title = getattr(parameter, "rich_help_panel", None) or (
                    _ARGUMENTS if _is_argument(parameter) else _OPTIONS
                )
                row = (_name(parameter, record[0]), _described(parameter, record[1], formatter.width - _FIRST_COLUMN))
                sections.setdefault(title, []).append(row)
        for title in sorted(sections, key=_position):
            with formatter.section(title):
                formatter.write_dl(sections[title])


class Command(_Readable, TyperCommand):
    """A command with readable help. The names of its arguments are in capitals, in error messages too.

    Its parameters of type Path are paths of this machine, in any form that `local_only` knows.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for parameter in self.params:
            if _is_argument(parameter) and not parameter.metavar:
                parameter.metavar = (parameter.name or "").upper()
            _keep_local(parameter, "`checkpoints` takes s3://" if _is_run(self) else "")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; of a file that is called like an option, say how to name it.

        Raises:
            UserError: an option that does not exist is a file.
        """
        given = list(args)
        try:
            parsed: list[str] = super().parse_args(ctx, args)
            return parsed
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)  # that does not exist
            file = next((name for name in given if option and name.startswith(option) and Path(name).exists()), None)
            if file is None:
                raise
            raise UserError(f"{file} is a file here; write ./{file}, since options begin with -") from error


class CommandGroup(_Readable, TyperGroup):
    """A group of commands with readable help, which lists them in the sections that their `rich_help_panel` names."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature of Typer's class
        """Write each command with the first paragraph of its description."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            first = inspect.cleandoc(command.help or "").split("\n\n")[0].replace("\n", " ")
            title = getattr(command, "rich_help_panel", None) or "Commands"
            rows = sections.setdefault(title, [])
            # Typer lists groups after all commands; here they are first in their section.
            rows.insert(0 if isinstance(command, TyperGroup) else len(rows), (name, _whole(first)))
        column = max(map(len, self.commands))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(column), text) for name, text in rows])


def _keep_local(parameter: Any, instead: str) -> None:
    """Let a parameter of type Path refuse addresses, and expand "~" and file:// in its value."""
    name = str(parameter.metavar) if _is_argument(parameter) else f"`{parameter.name}`"
    process = parameter.process_value

    def local(ctx: Any, given: Any) -> Any:
        value = process(ctx, given)
        if isinstance(value, Path):  # which has only one of the two slashes of an address
            return local_only(given, name, instead)
        if isinstance(value, list | tuple) and value and all(isinstance(each, Path) for each in value):
            return [local_only(each, name, instead) for each in given]
        return value

    parameter.process_value = local


def _is_run(command: Any) -> bool:
    return any(parameter.name == "checkpoints" for parameter in command.params)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _position(title: str) -> tuple[bool, int]:
    """Return the place of a section in the help of a command."""
    group, comma, _ = title.partition(",")
    return bool(comma), _ORDER.index(group) if group in _ORDER else len(_ORDER)


def _name(parameter: Any, name: str) -> str:
    """Return the left column: an argument as in the line of usage, an option with its kind of value in capitals."""
    if _is_argument(parameter):
        return f"{parameter.metavar}..." if parameter.nargs != 1 else str(parameter.metavar)
    return _TYPE.sub(lambda kind: _WORDS.get(kind[1], kind[1]), name)


def _described(parameter: Any, text: str, width: int) -> str:
    """Return the right column: the description, then bounds and default in one bracket, kept together if it is short."""
    notes: list[str] = []
    while found := _NOTES.search(text):
        notes = found[1].split("; ") + notes
        text = text[: found.start()]
    if getattr(parameter, "secondary_opts", ()):  # --name / --no-name, whose default Typer calls name or no-name
        switch = {f"default: {parameter.name}": "default: on", f"default: no-{parameter.name}": "default: off"}
        notes = [switch.get(note, note) for note in notes]
    notes.sort(key=lambda note: note.startswith(("default", "required")))
    bracket = f"[{'; '.join(notes)}]" if notes else ""
    if len(bracket) <= width:
        bracket = bracket.replace(" ", _SPACE)
    return _whole(f"{text} {bracket}".strip())


def _whole(text: str) -> str:
    """Return a text whose words with hyphens and short phrases in backticks are on one line each."""
    phrases = _PHRASE.sub(lambda phrase: phrase[0].replace(" ", _SPACE) if len(phrase[0]) < 30 else phrase[0], text)
    return phrases.replace("-", _HYPHEN)

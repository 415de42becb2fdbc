"""Command-line options that are generated from the parameters of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from tinystyle.config import PARAMETERS, Parameter

__all__ = ["run_options"]


def run_options(
    *names: str, help: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command one option for each parameter of a run, or for each of `names`.

    The last argument of the command, `parameters`, receives a dictionary of the options on the command line: parameter
    name -> text, which `run_config` parses and validates.

    Args:
        names: names of parameters; none means all.
        help: help texts, by parameter, where the command uses a parameter for something other than training.
    """
    chosen = [PARAMETERS[name] for name in names or PARAMETERS]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "parameters"
        ]

        def run(**arguments: Any) -> None:
            given = {each.name: arguments.pop(each.name) for each in chosen}
            command(**arguments, parameters={name: value for name, value in given.items() if value is not None})

        made = [
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(each, help or {})
            )
            for each in chosen
        ]
        run.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in (*own, *made)}
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        return run

    return decorate


def _annotation(parameter: Parameter, texts: Mapping[str, str]) -> Any:
    flag, text = "--" + parameter.name.replace("_", "-"), texts.get(parameter.name, parameter.help)
    if parameter.field.annotation is bool:
        default = "on" if parameter.default else "off"
        help = f"{text} [default: {default}]"
        return Annotated[
            bool | None, typer.Option(f"{flag}/--no-{flag[2:]}", help=help, rich_help_panel=parameter.heading)
        ]
    notes = [parameter.range] if parameter.range else []
    if parameter.default is not None:
        notes.append(f"default: {_text(parameter.default)}")
    elif parameter.required:
        notes.append("required, here or in --config")
    help = text + (f" [{'; '.join(notes)}]" if notes else "")
    return Annotated[
        str | None,
        typer.Option(
            flag,
            *_SHORT.get(parameter.name, ()),
            metavar=_metavar(parameter),
            help=help,
            rich_help_panel=parameter.heading,
            show_default=False,
        ),
    ]


_SHORT = {"style": ("-s",), "photos": ("-p",)}
"""Letters for the options that most commands have."""


def _metavar(parameter: Parameter) -> str:
    """Return the placeholder for the value: the choices, or a word for the type."""
    if parameter.choices:
        return "|".join(parameter.choices)
    words = [word for kind in _kinds(parameter.field.annotation) for word in _words(kind)]
    return "|".join(dict.fromkeys(words)) or "TEXT"


_WORDS = {int: "INTEGER", float: "NUMBER", tuple: "NUMBER,..."}


def _words(kind: Any) -> list[str]:
    return [kind] if isinstance(kind, str) else [_WORDS[kind]] if kind in _WORDS else []


def _kinds(annotation: Any) -> list[Any]:
    """Return the types that a value may have, and the names that a Literal allows."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(inner[0])
    if origin is tuple:
        return [tuple]
    if origin is Literal:
        return list(inner)
    return [kind for each in inner for kind in _kinds(each)] if inner else [annotation]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

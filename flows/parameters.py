"""Flow parameters that are generated from the parameters of a run, with descriptions for Prefect's form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from prefect.utilities.callables import parameter_docstrings
from pydantic import Field

from flows.catalog import SET_BY_FLOWS
from tinystyle.config import PARAMETERS, Parameter

__all__ = ["run_parameters"]

Result = TypeVar("Result")
_BOUNDS = {Gt: ("gt", "exclusiveMinimum"), Ge: ("ge", "minimum"), Lt: ("lt", "exclusiveMaximum"), Le: ("le", "maximum")}


def run_parameters(
    leave_out: Collection[str] = (), **defaults: Any
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Return a decorator that gives the function of a flow one parameter for each parameter of a run.

    The function receives them as the dictionary `parameters`, by name.

    Args:
        leave_out: names of run parameters that the flow has in another form.
        defaults: defaults that differ from those of a run.
    """
    chosen = [each for each in PARAMETERS.values() if each.name not in (*SET_BY_FLOWS, *leave_out)]
    # Order in the form: required parameters, other run parameters, those of the flow, and advanced ones last.
    chosen.sort(key=lambda each: (each.advanced, not each.required))

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(function, eval_str=True)
        own = [item for item in signature.parameters.values() if item.name != "parameters"]
        given = [_parameter(each, defaults) for each in chosen]
        required = [item for item in (*own, *given) if item.default is inspect.Parameter.empty]
        optional = [item for item in (*given, *own) if item not in required and not _advanced(item.name)]
        ordered = [*required, *optional, *(item for item in given if _advanced(item.name))]
        descriptions = parameter_docstrings(inspect.getdoc(function))
        fields = [_placed(item, place, descriptions) for place, item in enumerate(ordered)]

        def run(**arguments: Any) -> Result:
            values = {
                item.name: item.default for item in ordered if item.default is not inspect.Parameter.empty
            } | arguments
            parameters = {each.name: values.pop(each.name) for each in chosen}
            return function(**values, parameters=parameters)

        run.__signature__ = signature.replace(parameters=fields)  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in fields} | {"return": signature.return_annotation}
        for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(run, attribute, getattr(function, attribute))
        return run

    return decorate


def _advanced(name: str) -> bool:
    return name in PARAMETERS and PARAMETERS[name].advanced


def _parameter(parameter: Parameter, defaults: dict[str, Any]) -> inspect.Parameter:
    default = defaults.get(parameter.name, inspect.Parameter.empty if parameter.required else parameter.default)
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_plain(parameter.field.annotation)
    )


def _plain(annotation: Any) -> Any:
    """Return the type without its validators; `run_config` validates all runs alike, with one-sentence errors."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _plain(inner[0])
    if origin is tuple:
        return list[_plain(inner[0])]  # type: ignore[misc]
    if origin is Literal or not inner:
        return str if origin is Literal and annotation != Literal["auto"] else annotation
    plain = [_plain(each) for each in inner]
    union = plain[0]
    for each in plain[1:]:
        union = union | each
    return union


def _placed(item: inspect.Parameter, place: int, descriptions: dict[str, str]) -> inspect.Parameter:
    """Return the parameter with a default that tells Prefect's form its heading, description, bounds and position."""
    parameter = PARAMETERS.get(item.name)
    extra: dict[str, Any] = {"position": place, "title": item.name.replace("_", " ").capitalize()}
    description = descriptions.get(item.name)
    if parameter and item.name not in descriptions:
        description = parameter.help
        unit = f" ({parameter.unit})" if parameter.unit else ""
        extra["title"] = f"{parameter.heading}: {item.name.replace('_', ' ')}{unit}"
        if parameter.choices:
            extra["enum"] = list(parameter.choices)
        for bound in parameter.field.metadata:
            name, keyword = _BOUNDS.get(type(bound), ("", ""))
            if keyword and getattr(bound, name) < 2**53:  # larger integers are not exact in JSON
                extra[keyword] = getattr(bound, name)
    default = ... if item.default is inspect.Parameter.empty else item.default
    field = Field(default, description=description, json_schema_extra=extra)
    return item.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=field)

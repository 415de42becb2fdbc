"""Every parameter of a run, each under a unique name, derived from the models in `run.py`.

The options of `tinystyle train`, its `--config` files, the parameters of the flows and the entries of the style catalog
all come from `PARAMETERS`, so a field that is added to a model appears in each of them automatically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tinystyle.config.run import RunConfig
from tinystyle.errors import UserError, complaint

__all__ = ["PARAMETERS", "Parameter", "flat", "run_config"]


_NO_BOUND = 2**62
"""Upper bounds from here on only keep a value within a machine integer; `Parameter.range` does not show them."""


@dataclass(frozen=True)
class Parameter:
    """One field of `RunConfig` or of one of its sections."""

    name: str
    section: str | None
    """Attribute of `RunConfig` that holds the field's section; None for a field of `RunConfig` itself."""
    group: str
    """Title of the section, under which help texts and forms list the parameter."""
    field: FieldInfo

    @property
    def help(self) -> str:
        """Help text, one or two sentences."""
        return " ".join((self.field.description or "").split())

    @property
    def required(self) -> bool:
        """Whether a run must specify the parameter."""
        return self.field.is_required()

    @property
    def default(self) -> Any:
        """Value that is used if a run does not specify the parameter; None if the parameter is required."""
        return None if self.required else self.field.default

    @property
    def advanced(self) -> bool:
        """Whether most runs leave the parameter at its default."""
        return bool(self._extra("advanced"))

    @property
    def heading(self) -> str:
        """Heading in help texts and forms under which the parameter is listed, such as "Data" or "Data, advanced"."""
        return f"{self.group}, advanced" if self.advanced else self.group

    @property
    def unit(self) -> str:
        """Unit, such as px; empty for plain numbers and names."""
        return str(self._extra("unit") or "")

    @property
    def choices(self) -> tuple[str, ...]:
        """Names that are valid values; empty if any other value is possible."""
        return tuple(self._extra("choices") or ())

    @property
    def range(self) -> str:
        """Bounds of the value x in mathematical notation, such as 0<x<=4; empty if there are none."""
        bounds = [bound for bound in self.field.metadata if getattr(bound, "lt", 0) < _NO_BOUND]
        low = next((f"{b.gt:,}<" if isinstance(b, Gt) else f"{b.ge:,}<=" for b in bounds if isinstance(b, Gt | Ge)), "")
        high = next(
            (f"<{b.lt:,}" if isinstance(b, Lt) else f"<={b.le:,}" for b in bounds if isinstance(b, Lt | Le)), ""
        )
        if low and not high:
            return f"x>{'=' if '=' in low else ''}{low.rstrip('<=')}"
        return f"{low}x{high}" if high else ""

    def _extra(self, key: str) -> Any:
        extra = self.field.json_schema_extra
        return extra.get(key) if isinstance(extra, dict) else None


def _walk() -> dict[str, Parameter]:
    found: list[Parameter] = []
    for section, field in RunConfig.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            group = str(kind.model_config.get("title"))
            found += [Parameter(name, section, group, inner) for name, inner in kind.model_fields.items()]
        else:
            found.append(Parameter(section, None, str(RunConfig.model_config.get("title")), field))
    names = [parameter.name for parameter in found]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"two fields of a run are called {twice}"
    return {parameter.name: parameter for parameter in found}


PARAMETERS = _walk()
"""Parameters by name: the fields of `RunConfig` in order, with each section replaced by its own fields."""


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """Build the configuration of a run from parameter values; all other parameters get their defaults.

    Args:
        values: values by the names in `PARAMETERS`; text is converted to the parameter's type, as on a command line.

    Raises:
        UserError: a name is unknown, a value is not possible, or a required value is missing.
    """
    nested: dict[str, Any] = {}
    for name, value in values.items():
        parameter = PARAMETERS.get(name)
        if parameter is None:
            raise UserError(f"`{name}` is not a parameter of a run; choose from {', '.join(PARAMETERS)}")
        place = nested.setdefault(parameter.section, {}) if parameter.section else nested
        place[name] = value
    try:
        return RunConfig.model_validate(nested)
    except ValidationError as error:
        raise UserError(complaint(error)) from error


def flat(config: RunConfig) -> dict[str, Any]:
    """Return the parameters of a run by name, as JSON types."""
    values = config.model_dump(mode="json")
    return {
        name: values[parameter.section][name] if parameter.section else values.get(name, _plain(parameter.default))
        for name, parameter in PARAMETERS.items()
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

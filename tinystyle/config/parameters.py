"""Every parameter of a run, by a name of its own, read from the models in `run.py`.

The options of `tinystyle train`, its `--config` files, the parameters of the flows and the entries of the style catalogue are
all made from `PARAMETERS`. A field that is added to a model is in each of them without another line.
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
"""What merely fits into a machine's integer is no bound that people need to know."""


@dataclass(frozen=True)
class Parameter:
    """One field of `RunConfig` or of one of its sections."""

    name: str
    section: str | None
    """Attribute of `RunConfig` that holds it; None for its own fields."""
    group: str
    """Heading under which people look for it."""
    field: FieldInfo

    @property
    def help(self) -> str:
        """What it is, in one or two sentences."""
        return " ".join((self.field.description or "").split())

    @property
    def required(self) -> bool:
        """Whether a run must be given it."""
        return self.field.is_required()

    @property
    def default(self) -> Any:
        """What a run has that is not given it."""
        return None if self.required else self.field.default

    @property
    def advanced(self) -> bool:
        """Whether most runs leave it as it is."""
        return bool(self._extra("advanced"))

    @property
    def unit(self) -> str:
        """Such as px; empty for plain numbers and names."""
        return str(self._extra("unit") or "")

    @property
    def choices(self) -> tuple[str, ...]:
        """The names it may have; empty where it is no name of a list."""
        return tuple(self._extra("choices") or ())

    @property
    def range(self) -> str:
        """Its bounds as people write them, such as 0 < x <= 4; empty if there are none."""
        bounds = [bound for bound in self.field.metadata if getattr(bound, "lt", 0) < _NO_BOUND]
        low = next(
            (f"{b.gt:g} < " if isinstance(b, Gt) else f"{b.ge:g} <= " for b in bounds if isinstance(b, Gt | Ge)), ""
        )
        high = next(
            (f" < {b.lt:g}" if isinstance(b, Lt) else f" <= {b.le:g}" for b in bounds if isinstance(b, Lt | Le)), ""
        )
        return f"{low}x{high}" if low or high else ""

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
"""By name: the fields of `RunConfig` in their order, those of its sections in place of these."""


def run_config(values: Mapping[str, Any]) -> RunConfig:
    """The run with these parameters, all others as they are by default.

    Args:
        values: by the names of `PARAMETERS`; text is read as the parameter's type, as on a command line.

    Raises:
        UserError: a name is unknown, a value is not possible, or one that is required is missing.
    """
    nested: dict[str, Any] = {}
    for name, value in values.items():
        parameter = PARAMETERS.get(name)
        if parameter is None:
            raise UserError(f"`{name}` is no parameter of a run; there are {', '.join(PARAMETERS)}")
        place = nested.setdefault(parameter.section, {}) if parameter.section else nested
        place[name] = value
    try:
        return RunConfig.model_validate(nested)
    except ValidationError as error:
        raise UserError(complaint(error)) from error


def flat(config: RunConfig) -> dict[str, Any]:
    """The parameters of a run by their names, in JSON's types."""
    values = config.model_dump(mode="json")
    return {
        name: values[parameter.section][name] if parameter.section else values[name]
        for name, parameter in PARAMETERS.items()
    }

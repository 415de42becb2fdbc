"""Types of the values of a run's configuration: how each is read from text, a file or a flow, and what it may be."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tinystyle import nets
from tinystyle.data.addresses import Address, withhold
from tinystyle.errors import UserError
from tinystyle.nets import perceptual

__all__ = [
    "AUTO", "RANDOM", "Architecture", "CountOrAll", "Initial", "LayerWeights", "NumberOrAuto", "PerceptualName",
    "Precision", "Styles", "as_list", "named_address",
]  # fmt: skip

AUTO, RANDOM = "auto", "random"
"""Values of `init_from` that name no model."""
MAX_DEVICES = 64
Architecture = Annotated[str, AfterValidator(nets.check_architecture)]
PerceptualName = Annotated[str, AfterValidator(perceptual.check_perceptual)]
Precision = Literal["auto", "32", "bf16"]


def _number_or_auto(value: object) -> object:
    if value == "auto":
        return value
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise UserError("give a number of at least 0, or auto")
    return number


def as_list(value: object) -> object:
    """Return the parts of a text between commas; anything else as it is."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _named_address(value: str) -> str:
    name, address = named_address(value)
    address = withhold(address)
    return f"{name}={address}" if name else address


def named_address(value: str) -> tuple[str, str]:
    """Split an entry of `styles` into its name, "" if it has none, and the path or URI of the style image."""
    match = _NAMED.fullmatch(value)
    return (match[1], match[2]) if match else ("", value)


def _count_or_all(value: object) -> object:
    if value == "all":
        return value
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal() or not 1 <= int(text) <= MAX_DEVICES:
        raise UserError(f"give a number from 1 to {MAX_DEVICES}, or all")
    return int(text)


def _or_random(value: object) -> object:
    """Runs of earlier versions had null for random weights."""
    return RANDOM if value is None else value


_NAMED = re.compile(r"([^=/:?]+)=(.+)", re.DOTALL)
LayerWeights = Annotated[tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(as_list)]
Styles = Annotated[tuple[Annotated[str, AfterValidator(_named_address)], ...], BeforeValidator(as_list)]
NumberOrAuto = Annotated[float | Literal["auto"], BeforeValidator(_number_or_auto)]
Initial = Annotated[Address, BeforeValidator(_or_random)]
CountOrAll = Annotated[int | Literal["all"], BeforeValidator(_count_or_all)]

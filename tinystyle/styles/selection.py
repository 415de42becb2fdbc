"""Which style of a network of many is meant: `FILE#NAME`, or a mixture, `FILE#ONE=0.5,OTHER=0.5`. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinystyle.data.addresses import is_remote, local_path
from tinystyle.errors import UserError, closest

__all__ = ["check_name", "join", "parse", "split", "title"]

_MARK = "#"
_NAME = re.compile(r"[\w.-][\w. -]{0,59}")


def check_name(name: str) -> str:
    """Return `name`; if it cannot be the name of a style in a network of many, raise UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot name a style; use letters, digits, spaces, dots, dashes, and at most 60 of them"
        )
    return name


def split(uri: str | Path) -> tuple[str, str | None]:
    """Split the address of a model into that of its file and the style that is selected, None if there is none.

    A local file whose name has the character is taken as it is.
    """
    text = str(uri)
    place, mark, style = text.rpartition(_MARK)
    if not mark or not place or "/" in style:
        return text, None
    if not is_remote(text) and local_path(text).exists():
        return text, None
    return place, style


def join(model: str, style: str | None) -> str:
    """Return the address of a style, or of a mixture, of the model at an address; `model` itself without a style.

    Raises:
        UserError: `model` selects a style too.
    """
    if style is None:
        return model
    if split(model)[1] is not None:
        raise UserError(f"{model} and `style` {style} both choose a style; leave out one of them")
    return f"{model}{_MARK}{style}"


def parse(text: str, names: Sequence[str]) -> dict[str, float]:
    """Return the shares of the styles in a mixture, by name, which add up to 1.

    Args:
        text: the name of a style, or names with shares, such as wave=0.5,mosaic=0.5; only their ratios count.
        names: names of the styles that there are.

    Raises:
        UserError: a name is unknown or occurs twice, or a share is no number above 0.
    """
    if text in names:
        return {text: 1.0}
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (each.strip() for each in part.partition("="))
        if name not in names:
            raise UserError(f"there is no style {name!r} in it{closest(name, names)}; choose from {', '.join(names)}")
        if name in shares:
            raise UserError(f"the style {name} is given twice in {text!r}")
        shares[name] = _share(number, text) if equals else 1.0
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def title(shares: Mapping[str, float]) -> str:
    """Return a mixture in words, such as `wave`, or `wave 50%, mosaic 50%`."""
    if len(shares) == 1:
        return next(iter(shares))
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def _share(number: str, text: str) -> float:
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share < math.inf:
        raise UserError(f"{text!r}: the share {number!r} is no number above 0; write a mixture as one=0.5,other=0.5")
    return share

"""Unique names of styles and rows, for the table and for files. Imports no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tinystyle.training.frontier.rows import Row

__all__ = ["slug", "told_apart"]

Key = TypeVar("Key")


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, grouped by style, with unique style names, and row names that are unique within each style.

    The file names that `slug` makes of them are unique too. To a duplicate, the folder of the run is appended, or else
    the first six digits of the run key or of the style's hash.
    """
    styles = list(dict.fromkeys(row.style for row in rows))
    first = {style: next(row for row in rows if row.style == style) for style in styles}
    titles = _unique({style: (first[style].style_name, f"{first[style].style_name} ({style[:6]})") for style in styles})
    names: dict[tuple[str, str], str] = {}
    for style in styles:
        names |= _unique(
            {
                (style, row.key or row.name): (
                    row.name,
                    f"{row.name} ({Path(str(row.folder)).name})",
                    f"{row.name} ({row.key[:6]})",
                )
                for row in rows
                if row.style == style
            }
        )
    return [
        row.model_copy(update={"name": names[style, row.key or row.name], "style_name": titles[style]})
        for style in styles
        for row in rows
        if row.style == style
    ]


def _unique(choices: Mapping[Key, tuple[str, ...]]) -> dict[Key, str]:
    """Return, for each key, its first name whose file name no other key has, or else its last name."""
    counts = [Counter(map(slug, names)) for names in zip(*choices.values(), strict=True)]
    return {
        key: next((name for name, count in zip(names, counts, strict=True) if count[slug(name)] == 1), names[-1])
        for key, names in choices.items()
    }


def slug(name: str) -> str:
    """Convert `name` to a file name of lowercase letters, digits, dots, underscores and dashes."""
    return re.sub(r"[^\w.]+", "-", name).strip("-").lower() or "style"

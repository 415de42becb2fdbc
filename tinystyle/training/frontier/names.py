"""Names of styles and rows that tell them apart, in a table and as files. Imports no torch."""

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
    """Return the rows, style by style, with names that differ as file names do: of the styles, and within each style.

    What is called alike gets the folder of its run after its name, or else the first digits of its key or hash.
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
    """For each key the first of its names that makes a file name which no other key's has, or else the last."""
    counts = [Counter(map(slug, names)) for names in zip(*choices.values(), strict=True)]
    return {
        key: next((name for name, count in zip(names, counts, strict=True) if count[slug(name)] == 1), names[-1])
        for key, names in choices.items()
    }


def slug(name: str) -> str:
    """Return a file name of `name`: lower-case letters, digits, dots, underscores and dashes."""
    return re.sub(r"[^\w.]+", "-", name).strip("-").lower() or "style"

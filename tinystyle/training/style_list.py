"""The styles of a run: their names, images and hashes. Imports no torch."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from tinystyle.config import RunConfig, named_address
from tinystyle.errors import UserError
from tinystyle.styles import Style, image_name
from tinystyle.styles.selection import check_name

__all__ = ["StyleList", "addresses", "load_styles", "sha256_of", "style_title"]

StyleList: TypeAlias = dict[str, Style]
"""Style images by name, in the order of the table."""


def addresses(config: RunConfig) -> dict[str, str]:
    """Return the paths or URIs of the style images of a run, by the names of the styles.

    Raises:
        UserError: two styles have one name, or a name is not possible.
    """
    if not config.styles:
        return {image_name(config.style): config.style}
    found: dict[str, str] = {}
    for entry in config.styles:
        name, address = named_address(entry)
        name = check_name(name or image_name(address))
        if name in found:
            raise UserError(f"two `styles` are called {name}; name one of them: OTHER={address}")
        found[name] = address
    return found


def load_styles(config: RunConfig) -> StyleList:
    """Load the style images of a run, by the names of the styles.

    Raises:
        UserError: one cannot be read or decoded, or names are wrong, or two of several are the same picture.
    """
    styles = {name: Style.load(address) for name, address in addresses(config).items()}
    if len(styles) > 1:
        seen: dict[str, str] = {}
        for name, style in styles.items():
            if (same := seen.setdefault(style.sha256, name)) != name:
                raise UserError(f"the `styles` {same} and {name} are the same picture; leave out one of them")
    return styles


def sha256_of(styles: StyleList) -> str:
    """Return the SHA-256 of the pixels of one style image; of several, that of all their hashes in order."""
    hashes = [style.sha256 for style in styles.values()]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def style_title(config: RunConfig) -> str:
    """Return a name for what a run paints: the name of its style, or the first of several and how many more."""
    if len(config.styles) < 2:
        return next(iter(addresses(config)))
    first = named_address(config.styles[0])
    return f"{first[0] or image_name(first[1])} and {len(config.styles) - 1} more"

"""Style images, the built-in ones among them, and the trained styles that ship with the package."""

from __future__ import annotations

from tinystyle.styles.load import (
    BUILTIN,
    BUILTIN_STYLES,
    builtin_name,
    draw_style,
    image_name,
    load_style,
    load_style_sizes,
    style_sha256,
)

__all__ = [
    "BUILTIN", "BUILTIN_STYLES", "builtin_name", "draw_style", "image_name", "load_style", "load_style_sizes", "style_sha256",
]  # fmt: skip

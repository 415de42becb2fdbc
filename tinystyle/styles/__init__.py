"""Style images, including the built-in ones, and the trained styles that ship with the package."""

from __future__ import annotations

from tinystyle.styles.load import BUILTIN, BUILTIN_STYLES, Style, builtin_name, draw_style, image_name, load_style

__all__ = ["BUILTIN", "BUILTIN_STYLES", "Style", "builtin_name", "draw_style", "image_name", "load_style"]

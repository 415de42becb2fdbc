"""Style images drawn by this package. To add one, add a file in this folder and a line in `BUILTIN_STYLES`.

Each is a function of its size alone: the same picture at every size, and the same bytes on every run.
"""

from __future__ import annotations

from importlib import import_module

from PIL import Image

from tinystyle.errors import UserError, closest

__all__ = ["BUILTIN_STYLES", "check_builtin", "draw_style"]

BUILTIN_STYLES = {
    "mosaic": "tinystyle.styles.builtin.mosaic:draw",
    "starry-sky": "tinystyle.styles.builtin.starry_sky:draw",
    "wave": "tinystyle.styles.builtin.wave:draw",
}
"""Name -> `module:function`; the function takes the side in pixels and draws the square RGB picture."""

_SIZES = range(32, 4097)


def check_builtin(name: str) -> str:
    """Return `name`; if it is no built-in style, raise UserError with the names of all built-in styles."""
    if name not in BUILTIN_STYLES:
        raise UserError(
            f"unknown built-in style {name!r}{closest(name, BUILTIN_STYLES)}; choose one of {', '.join(sorted(BUILTIN_STYLES))}"
        )
    return name


def draw_style(name: str, size: int = 512) -> Image.Image:
    """Draw the built-in style `name`: RGB, `size` x `size` px.

    Raises:
        UserError: there is no such style, or `size` is not within 32..4096.
    """
    check_builtin(name)
    if size not in _SIZES:
        raise UserError(f"a built-in style is drawn at {_SIZES[0]} to {_SIZES[-1]} px a side, not {size}")
    module, function = BUILTIN_STYLES[name].split(":")
    picture: Image.Image = getattr(import_module(module), function)(size)
    return picture

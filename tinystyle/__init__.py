"""tinystyle: style-transfer networks small enough for an iOS app to carry dozens.

    import tinystyle

    model = tinystyle.load("pretrained:starry-night")
    model.stylize("cat.jpg").save("starry-cat.png")
    model.export("starry-night.mlmodel", bits=8)

Importing it imports nothing else, neither torch nor coremltools; the first use does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinystyle.api import Model, load, train, verify
    from tinystyle.errors import UserError

__all__ = ["Model", "UserError", "__version__", "load", "train", "verify"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("tinystyle.errors" if name == "UserError" else "tinystyle.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""The optional packages that formats need: asked for with one sentence when they are missing. Imports none of them."""

from __future__ import annotations

from importlib.util import find_spec

from tinystyle.errors import UserError

__all__ = ["require"]

_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "coreai": ("coreai_torch", "coreai")}
"""Extra of tinystyle -> modules that it brings."""


def require(extra: str, what: str) -> None:
    """Raise UserError unless the packages of an extra are installed.

    Args:
        extra: name of the extra, a key of the table above.
        what: what needs them, in words that begin the sentence.
    """
    missing = [name for name in _PACKAGES[extra] if find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        raise UserError(f"{what} needs {names}, which is not installed; install the extra tinystyle[{extra}]")

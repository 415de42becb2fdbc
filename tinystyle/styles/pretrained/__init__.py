"""Trained styles that ship with the package, as `pretrained:NAME`; they work right after installation, offline.

Each is NAME.safetensors in this folder, with weights in float16, written by scripts/ship_style.py from a finished run.
The paintings are not included; the record in each file names the painting, the photos, the settings and the metrics.
"""

from __future__ import annotations

import json
from pathlib import Path

from tinystyle.errors import UserError, closest

__all__ = ["PREFIX", "RECORD_KEY", "is_pretrained", "names", "not_found", "painting_of", "path_of", "record_of"]

PREFIX = "pretrained:"
RECORD_KEY = "record"
"""Key in the file's metadata, beside `network` and `lineage`, of the record of how the style was made."""
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the styles that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def is_pretrained(uri: str | Path) -> bool:
    """Return whether `uri` has the form `pretrained:NAME`; the style need not exist."""
    return str(uri).startswith(PREFIX)


def path_of(uri: str) -> Path:
    """Return the file of `pretrained:NAME`.

    Raises:
        UserError: there is no such style; the message lists the existing ones.
    """
    name = uri.removeprefix(PREFIX)
    if name not in names():
        raise UserError(
            f"{uri}: no such style{closest(name, names())}; choose from {', '.join(PREFIX + each for each in names()) or 'none'}"
        )
    return _FOLDER / f"{name}.safetensors"


def not_found(uri: str | Path) -> UserError:
    """Return the error for a model file that does not exist, with the trained style that may have been meant."""
    meant = f" (did you mean {PREFIX}{uri}?)" if str(uri) in names() else ""
    return UserError(f"{uri}: no such file{meant}; give a model.safetensors or a .ckpt")


def record_of(name: str) -> dict[str, str]:
    """Return the record in a style's file: painting, photos, settings and metrics, as text by name.

    Raises:
        UserError: there is no such style.
    """
    data = path_of(PREFIX + name).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = json.loads(header["__metadata__"]["tinystyle"])[RECORD_KEY]
    return {str(key): str(value) for key, value in record.items()}


def painting_of(name: str) -> str:
    """Return a caption for a style's painting: title, then painter and date on a second line; "" if not recorded."""
    return record_of(name).get("painting", "").replace(", ", "\n", 1)

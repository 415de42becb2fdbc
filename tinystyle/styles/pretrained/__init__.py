"""Trained styles that ship with the package, as `pretrained:NAME`: what works right after installation, with no network.

Each is NAME.safetensors in this folder, weights in float16, written by scripts/ship_style.py from a finished run. The
paintings are not here; the record in each file names painting, photographs, settings and figures.
"""

from __future__ import annotations

import json
from pathlib import Path

from tinystyle.errors import UserError

__all__ = ["PREFIX", "RECORD_KEY", "is_pretrained", "names", "painting_of", "path_of", "record_of"]

PREFIX = "pretrained:"
RECORD_KEY = "record"
"""Of the file's metadata, beside `network` and `lineage`: what people want to know of it, as text."""
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The styles that ship, by name."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def is_pretrained(uri: str | Path) -> bool:
    """Whether `uri` names a style that ships with the package, existing or not."""
    return str(uri).startswith(PREFIX)


def path_of(uri: str) -> Path:
    """The file of `pretrained:NAME`.

    Raises:
        ValueError: there is no such style; lists those that there are.
    """
    name = uri.removeprefix(PREFIX)
    if name not in names():
        raise UserError(f"{uri}: no such style; choose from {', '.join(PREFIX + each for each in names()) or 'none'}")
    return _FOLDER / f"{name}.safetensors"


def record_of(name: str) -> dict[str, str]:
    """What the file of a style says of its making."""
    data = path_of(PREFIX + name).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = json.loads(header["__metadata__"]["tinystyle"])[RECORD_KEY]
    return {str(key): str(value) for key, value in record.items()}


def painting_of(name: str) -> str:
    """The painting of a style for captions: its title, and on a second line who painted it and when; "" if not recorded."""
    return record_of(name).get("painting", "").replace(", ", "\n", 1)

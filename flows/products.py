"""What the steps of a flow run have made, kept beside its checkpoints, so that a retry on any machine does not repeat it.

Prefect's own results would be pickles, and would not contain the files.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from tinystyle.data import storage

__all__ = ["Products"]

Value = TypeVar("Value")
_VALUE = "value.json"
_FILES = "files/"


class Products:
    """The products of one flow run.

    Args:
        place: folder or URI to keep them in; None keeps nothing.
    """

    def __init__(self, place: str | None) -> None:
        self.place = place
        self._names: list[str] = []

    def once(self, name: str, kind: type[Value], make: Callable[[], Value], folder: Path | None = None) -> Value:
        """Return what `make` returns, calling it only if no earlier attempt of the flow run has done so.

        Args:
            name: name of the step.
            kind: type of the value, which pydantic must be able to write as JSON.
            make: the step.
            folder: local folder that the step fills; restored together with the value.

        Raises:
            OSError: the product cannot be read or written.
        """
        if self.place is None:
            return make()
        file = storage.join(self.place, f"{name}.zip")
        self._names.append(file)
        adapter = TypeAdapter(kind)
        if storage.exists(file):
            with zipfile.ZipFile(io.BytesIO(storage.read_bytes(file))) as archive:
                if folder:
                    _unpack(archive, folder)
                return adapter.validate_json(archive.read(_VALUE))
        value = make()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(_VALUE, adapter.dump_json(value))
            for path in sorted(folder.rglob("*")) if folder else ():
                archive.write(path, _FILES + str(path.relative_to(folder)))  # type: ignore[arg-type]
        storage.write_bytes(file, packed.getvalue())
        return value

    def discard(self) -> None:
        """Remove what `once` kept, after the flow run has succeeded."""
        for file in self._names:
            storage.remove(file)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    for member in archive.infolist():
        if member.filename.startswith(_FILES) and not member.is_dir():
            target = folder / member.filename.removeprefix(_FILES)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))

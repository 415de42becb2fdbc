"""The bundle: the folder of a trained style with all files to release, their names and checksums. Imports no torch.

model/model.safetensors, run.json      the network, and the record of the run that trained it
coreml/files.json                      list of the Core ML files
coreml/...                             the Core ML files, each with a model card and perhaps a preview
coreml/StyleTransfer.swift             Swift source code that runs the first of them in an app
evaluation.json                        the report of an evaluation, if there is one
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tinystyle.coreml import VARIANTS
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["FILES", "LISTING", "MODEL_FILE", "SUMS", "SWIFT_FILE", "Bundle", "CoreMLFile", "check_files", "check_name"]

MODEL_FILE, SWIFT_FILE = "model.safetensors", "StyleTransfer.swift"
LISTING = "files.json"
SUMS = "SHA256SUMS"

FILES: dict[str, tuple[str, int, int]] = {
    f"{format}-{'int4' if ios == 18 else bits}": (format, bits, ios) for format, bits, ios in VARIANTS
}
"""Name by which a file is requested, such as mlmodel-8 or mlpackage-int4 -> (format, bits, iOS)."""


class CoreMLFile(BaseModel):
    """One verified Core ML file."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Name of the file to download; an .mlpackage, which is a folder, is in a zip: NAME.mlpackage.zip."""
    format: str
    """mlmodel (neural network) or mlpackage (ML Program)."""
    bits: int
    """Bits per convolution weight."""
    bytes: int
    """Size of the file to download, in bytes."""
    sha256: str
    """Hexadecimal SHA-256 of the file to download."""
    sizes: ImageSizes
    """Image sizes that the file accepts, (width, height) in pixels."""
    minimum_ios: int
    input: str
    """Name of the input image."""
    output: str
    """Name of the output image."""
    psnr: float
    """Lowest PSNR, in dB, over the photos that the file was verified with."""

    @property
    def coreml_name(self) -> str:
        """Name of the Core ML file itself, outside its zip."""
        return self.name.removesuffix(".zip")


_ENTRIES = TypeAdapter(list[CoreMLFile])


def check_files(names: list[str]) -> list[tuple[str, int, int]]:
    """Return (format, bits, iOS) for every name of a Core ML file, such as mlmodel-8.

    Raises:
        UserError: there are no names, one is unknown, or one is repeated.
    """
    for name in names:
        if name not in FILES:
            raise UserError(f"there is no Core ML file {name!r}; choose from {', '.join(FILES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"name at least one Core ML file, and each once; choose from {', '.join(FILES)}")
    return [FILES[name] for name in names]


def check_name(style: str) -> str:
    """Return `style` if it is a valid name of a registered or published style: 1 to 60 of a-z, 0-9 and dashes.

    Raises:
        UserError: it is not.
    """
    if not re.fullmatch(r"[a-z0-9-]{1,60}", style):
        raise UserError(f"style {style!r}: use up to 60 of a-z, 0-9 and -")
    return style


@dataclass(frozen=True)
class Bundle:
    """The files of one trained style in `folder`, for its registration and publication."""

    folder: Path

    @property
    def model(self) -> Path:
        """Path of the network, model.safetensors."""
        return self.folder / "model" / MODEL_FILE

    @property
    def coreml(self) -> Path:
        """Folder of the Core ML files and everything that belongs to them."""
        return self.folder / "coreml"

    @property
    def swift(self) -> Path:
        """Path of the Swift source code that runs the first Core ML file in an app."""
        return self.coreml / SWIFT_FILE

    @property
    def evaluation(self) -> Path:
        """Path of the report of the network's evaluation; it may be absent."""
        return self.folder / "evaluation.json"

    def file(self, entry: CoreMLFile) -> Path:
        """Return the path of the file to download: a Core ML file, or the zip of an .mlpackage."""
        return self.coreml / entry.name

    def card(self, entry: CoreMLFile) -> Path:
        """Return the path of a Core ML file's model card."""
        return self.coreml / f"{entry.coreml_name}.md"

    def preview(self, entry: CoreMLFile) -> Path:
        """Return the path of the preview, the picture on the model card; it may be absent."""
        return self.coreml / f"{entry.coreml_name}.png"

    def entries(self) -> list[CoreMLFile]:
        """Read files.json, which has at least one entry.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.coreml / LISTING
        try:
            entries = _ENTRIES.validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); give the folder of an assembled style"
            ) from error
        except ValidationError as error:
            raise UserError(f"{path} is damaged; assemble or fetch the style again") from error
        if not entries:
            raise UserError(f"{path} names no Core ML file; assemble the style again")
        for entry in entries:
            if Path(entry.name).name != entry.name or entry.name.startswith("."):
                raise UserError(
                    f"{path} names {entry.name!r}, which is not a plain file name; assemble the style again"
                )
        return entries

    def write_entries(self, entries: list[CoreMLFile]) -> None:
        """Write files.json atomically."""
        storage.write_bytes(self.coreml / LISTING, _ENTRIES.dump_json(entries, indent=2) + b"\n")

    def check(self) -> list[CoreMLFile]:
        """Compare every Core ML file with the size and SHA-256 in files.json, and return the entries.

        Raises:
            UserError: files.json is missing or damaged, or a file is absent or differs.
        """
        entries = self.entries()
        for entry in entries:
            file = self.file(entry)
            if not file.is_file():
                raise UserError(f"{LISTING} names {entry.name}, which is not there; export again")
            if (file.stat().st_size, storage.sha256(file)) != (entry.bytes, entry.sha256):
                raise UserError(
                    f"{entry.name} is not what {LISTING} says (its SHA-256 differs); do not use it, export again"
                )
        return entries

    def report(self) -> dict[str, Any] | None:
        """Read evaluation.json, which has at least one row; return None if there is none.

        Raises:
            UserError: it is damaged.
        """
        if not self.evaluation.is_file():
            return None
        try:
            report: dict[str, Any] = json.loads(self.evaluation.read_bytes())
            report["rows"][-1].items()
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise UserError(
                f"{self.evaluation} is damaged; it must be the report of an evaluation, with rows"
            ) from error
        return report

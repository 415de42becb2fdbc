"""The bundle: the folder of a trained style with all files to release, their names and checksums. Imports no torch.

model/model.safetensors, run.json      the network, and the record of the run that trained it
exports/files.json                     list of the exported files: Core ML, Core AI, ONNX
exports/...                            the exported files, each with a model card and perhaps a preview
exports/StyleTransfer.swift            Swift source code that runs the first Core ML file in an app, if there is one
evaluation.json                        the report of an evaluation, if there is one
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from tinystyle import coreml
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.exports import FORMATS, platforms

__all__ = [
    "FILES",
    "LISTING",
    "MODEL_FILE",
    "OWN_EVALUATOR",
    "SUMS",
    "SWIFT_FILE",
    "Bundle",
    "ReleaseFile",
    "check_files",
    "check_name",
]

MODEL_FILE, SWIFT_FILE = "model.safetensors", "StyleTransfer.swift"
LISTING = "files.json"
SUMS = "SHA256SUMS"

FILES: dict[str, tuple[str, int, int]] = {
    **{f"{format}-{'int4' if ios == 18 else bits}": (format, bits, ios) for format, bits, ios in coreml.VARIANTS},
    **{
        f"{name}-{bits}": (name, bits, 16)
        for name, format in FORMATS.items()
        if name not in coreml.FORMATS
        for bits in format.bits
    },
}
"""Name by which a file is requested, such as mlmodel-8, mlpackage-int4 or onnx-8 -> (format, bits, iOS); the iOS version
is for Core ML files."""
_BEFORE = "coreml"
"""Name of the folder `exports` in bundles that were assembled when there were only Core ML files."""


class ReleaseFile(BaseModel):
    """One verified file for a runtime."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Name of the file to download; an .mlpackage or .aimodel, which is a folder, is in a zip: NAME.mlpackage.zip."""
    format: str
    """mlmodel (Core ML neural network), mlpackage (Core ML ML Program), aimodel (Core AI) or onnx."""
    runtime: str
    """What runs the file: Core ML, Core AI or ONNX Runtime."""
    platforms: dict[str, str]
    """Platform -> its oldest version that runs the file; empty if the runtime, which an app brings along, decides."""
    verified_by: str
    """What ran the file when it was verified, with its version."""
    bits: int
    """Bits per convolution weight."""
    bytes: int
    """Size of the file to download, in bytes."""
    sha256: str
    """Hexadecimal SHA-256 of the file to download."""
    sizes: ImageSizes
    """Image sizes that the file accepts, (width, height) in pixels."""
    minimum_ios: int | None
    """Oldest iOS that runs the file; None if the runtime, which an app brings along, decides."""
    input: str
    """Name of the input image."""
    output: str
    """Name of the output image."""
    psnr: float
    """Lowest PSNR, in dB, over the photos that the file was verified with."""

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """Complete an entry that was written when there were only Core ML files."""
        if not isinstance(values, dict) or values.get("format") not in coreml.FORMATS:
            return values
        format, ios = values["format"], values.get("minimum_ios")
        return {
            "runtime": FORMATS[format].runtime,
            "platforms": platforms(format, ios) if isinstance(ios, int) else {},
            "verified_by": OWN_EVALUATOR,
            **values,
        }

    @property
    def runs_on(self) -> str:
        """The runtime and the platforms in words, such as Core ML (iOS 13, macOS 10.15)."""
        return f"{self.runtime} ({', '.join(f'{name} {oldest}'.strip() for name, oldest in self.platforms.items())})"

    @property
    def export_name(self) -> str:
        """Name of the exported file itself, outside its zip."""
        return self.name.removesuffix(".zip")


OWN_EVALUATOR = "tinystyle's evaluator of Core ML files"
"""`verified_by` of Core ML files."""
_ENTRIES = TypeAdapter(list[ReleaseFile])


def check_files(names: list[str]) -> list[tuple[str, int, int]]:
    """Return (format, bits, iOS) for every name of a file to export, such as mlmodel-8.

    Raises:
        UserError: there are no names, one is unknown, or one is repeated.
    """
    for name in names:
        if name not in FILES:
            raise UserError(f"there is no file {name!r} to export; choose from {', '.join(FILES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"name at least one file to export, and each once; choose from {', '.join(FILES)}")
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
    def exports(self) -> Path:
        """Folder of the exported files and everything that belongs to them."""
        before = self.folder / _BEFORE
        return before if before.is_dir() else self.folder / "exports"

    @property
    def swift(self) -> Path:
        """Path of the Swift source code that runs the first Core ML file in an app; absent if there is no such file."""
        return self.exports / SWIFT_FILE

    @property
    def evaluation(self) -> Path:
        """Path of the report of the network's evaluation; it may be absent."""
        return self.folder / "evaluation.json"

    def file(self, entry: ReleaseFile) -> Path:
        """Return the path of the file to download: an exported file, or the zip of one that is a folder."""
        return self.exports / entry.name

    def card(self, entry: ReleaseFile) -> Path:
        """Return the path of an exported file's model card."""
        return self.exports / f"{entry.export_name}.md"

    def preview(self, entry: ReleaseFile) -> Path:
        """Return the path of the preview, the picture on the model card; it may be absent."""
        return self.exports / f"{entry.export_name}.png"

    def entries(self) -> list[ReleaseFile]:
        """Read files.json, which has at least one entry.

        Raises:
            UserError: it is missing or damaged.
        """
        path = self.exports / LISTING
        try:
            entries = _ENTRIES.validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); give the folder of an assembled style"
            ) from error
        except ValidationError as error:
            raise UserError(f"{path} is damaged; assemble or fetch the style again") from error
        if not entries:
            raise UserError(f"{path} names no exported file; assemble the style again")
        for entry in entries:
            if Path(entry.name).name != entry.name or entry.name.startswith("."):
                raise UserError(
                    f"{path} names {entry.name!r}, which is not a plain file name; assemble the style again"
                )
        return entries

    def write_entries(self, entries: list[ReleaseFile]) -> None:
        """Write files.json atomically."""
        storage.write_bytes(self.exports / LISTING, _ENTRIES.dump_json(entries, indent=2) + b"\n")

    def check(self) -> list[ReleaseFile]:
        """Compare every exported file with the size and SHA-256 in files.json, and return the entries.

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

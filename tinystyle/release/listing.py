"""coreml/files.json: which Core ML files a folder of a trained style holds. Imports neither torch nor coremltools."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tinystyle.coreml import VARIANTS
from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["FILES", "LISTING", "CoreMLFile", "check_files", "read_listing", "write_listing"]

LISTING = "files.json"

FILES: dict[str, tuple[str, int, int]] = {
    f"{format}-{'int4' if ios == 18 else bits}": (format, bits, ios) for format, bits, ios in VARIANTS
}
"""What a file is asked for by, such as mlmodel-8 or mlpackage-int4 -> (format, bits, iOS)."""


class CoreMLFile(BaseModel):
    """One Core ML file that was verified."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Of the file to download; an .mlpackage, which is a folder, is in a zip: NAME.mlpackage.zip."""
    format: str
    """mlmodel (neural network) or mlpackage (ML Program)."""
    bits: int
    """Per convolution weight."""
    bytes: int
    """Size of the file to download."""
    sha256: str
    """Of the file to download, hexadecimal."""
    sizes: ImageSizes
    """Image sizes that it takes, (width, height) in pixels."""
    minimum_ios: int
    input: str
    """Name of the image that it takes."""
    output: str
    """Name of the image that it returns."""
    psnr: float
    """dB, the lowest over the photos that it was verified with."""

    @property
    def coreml_name(self) -> str:
        """Name of the Core ML file itself, out of its zip."""
        return self.name.removesuffix(".zip")


_ENTRIES = TypeAdapter(list[CoreMLFile])


def check_files(names: list[str]) -> list[tuple[str, int, int]]:
    """(format, bits, iOS) of every name of a Core ML file, such as mlmodel-8.

    Raises:
        ValueError: there are none, one is unknown, or one stands there twice.
    """
    for name in names:
        if name not in FILES:
            raise UserError(f"there is no Core ML file {name!r}; choose from {', '.join(FILES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"name at least one Core ML file, and each once; choose from {', '.join(FILES)}")
    return [FILES[name] for name in names]


def read_listing(folder: Path) -> list[CoreMLFile]:
    """The entries of files.json in `folder`, at least one.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder / LISTING
    try:
        entries = _ENTRIES.validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give the folder of an assembled style") from error
    except ValidationError as error:
        raise UserError(f"{path} is damaged; assemble or fetch the style again") from error
    if not entries:
        raise UserError(f"{path} names no Core ML file; assemble the style again")
    for entry in entries:
        if Path(entry.name).name != entry.name or entry.name.startswith("."):
            raise UserError(f"{path} names {entry.name!r}, which is no plain file name; assemble the style again")
    return entries


def write_listing(folder: Path, entries: list[CoreMLFile]) -> None:
    """Write files.json, whole."""
    storage.write_bytes(folder / LISTING, _ENTRIES.dump_json(entries, indent=2) + b"\n")

"""Folders as releases have them, with contents that cost nothing."""

from __future__ import annotations

from pathlib import Path

from tinystyle.coreml.sizes import ImageSizes
from tinystyle.data import storage
from tinystyle.exports import platforms
from tinystyle.release.bundle import Bundle, ReleaseFile
from tinystyle.release.package_zip import zip_package

__all__ = ["bundle_in", "entry", "package_in"]


def package_in(folder: Path) -> Path:
    """`mosaic.mlpackage` below a folder: files in folders, as a package's are."""
    package = folder / "mosaic.mlpackage"
    (package / "Data" / "weights").mkdir(parents=True)
    (package / "Manifest.json").write_text("{}")
    (package / "Data" / "weights" / "weight.bin").write_bytes(bytes(range(256)))
    return package


def entry(file: Path, format: str) -> ReleaseFile:
    """What files.json says of a Core ML file."""
    return ReleaseFile(
        name=file.name, format=format, bits=8, bytes=file.stat().st_size, sha256=storage.sha256(file), minimum_ios=16,
        sizes=ImageSizes.parse("64x64"), input="image", output="stylized", psnr=50.0,
        runtime="Core ML", platforms=platforms(format, 16), verified_by="nobody",
    )  # fmt: skip


def bundle_in(folder: Path, scratch: Path) -> Path:
    """A finished model's folder, with a package."""
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    package = package_in(folder / "exports")
    archive = zip_package(package, scratch / f"{package.name}.zip")
    Bundle(folder).write_entries([entry(archive, "mlpackage")])
    return folder

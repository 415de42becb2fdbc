"""Packs an exported file that is a folder, such as an .mlpackage, into one zip; the same content gives the same bytes."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from tinystyle.data import storage
from tinystyle.errors import UserError

__all__ = ["unpacked", "unzip_package", "zip_package"]

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that the format can store
MAX_BYTES = 1 << 28
"""Maximum size of an unpacked package in bytes; `johnson` at alpha 1 in float32 takes 7 MB."""


def zip_package(package: Path, out: Path) -> Path:
    """Write the folder `package` to the zip file `out`, with all paths below the package's name, and return `out`.

    Files are stored, not compressed: compressed bytes differ between versions of zlib, and quantized weights would not
    shrink.
    """
    with storage.atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(f"{package.name}/{path}", EPOCH)
            member.create_system = 3  # Unix, on every platform
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, (package / path).read_bytes())
    return out


def unzip_package(archive: Path, folder: Path) -> Path:
    """Unpack NAME.mlpackage.zip into `folder`, which must not contain the package yet; return folder/NAME.mlpackage.

    Raises:
        UserError: it is not a zip, is too large, or contains anything but regular files below NAME.mlpackage.
    """
    name = archive.name.removesuffix(".zip")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check(member, name, archive)
            names = {member.filename for member in members}
            if not members or len(names) < len(members) or sum(member.file_size for member in members) > MAX_BYTES:
                raise UserError(
                    f"{archive.name} is not a valid package: empty, or over {MAX_BYTES >> 20} MB, or ambiguous"
                )
            for member in members:
                path = folder / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, path.open("xb") as destination:
                    shutil.copyfileobj(source, destination)
    except (zipfile.BadZipFile, NotImplementedError, FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{archive.name} is damaged or no zip: {error}") from error
    return folder / name


def unpacked(download: Path, folder: Path) -> Path:
    """Return the exported file in a file to download; a zip is unpacked into `folder`."""
    return unzip_package(download, folder) if download.suffix == ".zip" else download


def _check(member: zipfile.ZipInfo, package: str, archive: Path) -> None:
    path = PurePosixPath(member.filename)
    inside = len(path.parts) > 1 and path.parts[0] == package and ".." not in path.parts
    plain = "\\" not in member.filename and stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
    if not (inside and plain):
        raise UserError(f"{archive.name} holds {member.filename!r}, which is not a file of {package}; do not use it")

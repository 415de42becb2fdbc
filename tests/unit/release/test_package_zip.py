"""Packages as zips, and what else a zip may hold."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest

from tests.support.bundles import package_in
from tinystyle.coreml.package import content_sha256
from tinystyle.errors import UserError
from tinystyle.release.package_zip import unzip_package, zip_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return package_in(tmp_path / "made")


def test_a_package_comes_back_from_its_zip(package: Path, tmp_path: Path) -> None:
    archive = zip_package(package, tmp_path / "mosaic.mlpackage.zip")
    unpacked = unzip_package(archive, tmp_path / "out")
    assert unpacked == tmp_path / "out" / "mosaic.mlpackage"
    assert content_sha256(unpacked) == content_sha256(package)


def test_the_zip_depends_on_nothing_but_the_content(package: Path, tmp_path: Path) -> None:
    first = zip_package(package, tmp_path / "first.zip").read_bytes()
    weights = package / "Data" / "weights" / "weight.bin"
    weights.chmod(0o600)
    weights.touch()
    again = tmp_path / "elsewhere" / package.name
    again.mkdir(parents=True)
    for path in sorted(package.rglob("*"), reverse=True):  # in another order
        if path.is_file():
            (again / path.relative_to(package)).parent.mkdir(parents=True, exist_ok=True)
            (again / path.relative_to(package)).write_bytes(path.read_bytes())
    assert zip_package(again, tmp_path / "second.zip").read_bytes() == first
    assert hashlib.sha256(first).hexdigest() == "489e924575526f1dc5ca9413cbcdf554ba7adc181f5fafb4d0ff97ee7f38ae6c"


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    "members",
    {
        "parent": [member("a.mlpackage/../../outside")],
        "absolute": [member("/a.mlpackage/outside")],
        "beside": [member("a.mlpackage/x"), member("outside")],
        "other package": [member("b.mlpackage/outside")],
        "backslash": [member("a.mlpackage/..\\..\\outside")],
        "link": [member("a.mlpackage/outside", stat.S_IFLNK | 0o777)],
        "the package as a file": [member("a.mlpackage")],
        "twice": [member("a.mlpackage/x"), member("a.mlpackage/x")],
        "a file as a folder": [member("a.mlpackage/x"), member("a.mlpackage/x/y")],
        "nothing": [],
    }.items(),
    ids=lambda pair: pair[0],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_anything_else_is_refused(members: tuple[str, list[zipfile.ZipInfo]], tmp_path: Path) -> None:
    archive, out = tmp_path / "a.mlpackage.zip", tmp_path / "below" / "out"
    with zipfile.ZipFile(archive, "w") as file:
        for info in members[1]:
            file.writestr(info, "../../../etc/passwd")
    with pytest.raises(UserError, match=r"a\.mlpackage\.zip (holds|is)"):
        unzip_package(archive, out)
    assert not [path for path in tmp_path.rglob("*") if path.name == "outside"]


@pytest.mark.slow
def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    archive, zeros_member = tmp_path / "a.mlpackage.zip", member("a.mlpackage/zeros")
    zeros_member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(archive, "w") as file, file.open(zeros_member, "w", force_zip64=True) as zeros:
        for _ in range(257):
            zeros.write(bytes(1 << 20))
    assert archive.stat().st_size < 3 << 20
    with pytest.raises(UserError, match="over 256 MB"):
        unzip_package(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_zip_is_refused(package: Path, tmp_path: Path) -> None:
    archive = zip_package(package, tmp_path / "mosaic.mlpackage.zip")
    data = bytearray(archive.read_bytes())
    data[data.index(bytes(range(256)))] ^= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match="damaged or no zip: Bad CRC"):
        unzip_package(archive, tmp_path / "out")

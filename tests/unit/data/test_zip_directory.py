"""Zips with bad members: the others are read, and each bad one has its reason."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from tinystyle.data import storage
from tinystyle.data.decode import Unusable
from tinystyle.data.sources import Source, open_source
from tinystyle.errors import UserError

GOOD = {f"good-{index}.jpg": bytes([index]) * 50 for index in range(3)}
LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def zipped(*members: zipfile.ZipInfo | str, prefix: bytes = b"") -> bytearray:
    """A zip of `members`, whose content is "odd", between good ones; `prefix` stands before it."""
    file = io.BytesIO(prefix)
    file.seek(len(prefix))
    names = list(GOOD)
    with zipfile.ZipFile(file, "a" if prefix else "w") as archive:
        archive.writestr(names[0], GOOD[names[0]])
        for member in members:
            archive.writestr(member, b"odd")
        for name in names[1:]:
            archive.writestr(name, GOOD[name])
    return bytearray(file.getvalue())


def opened(data: bytes, tmp_path: Path) -> Source:
    """The zip as a local source, which reads as a remote one does."""
    (tmp_path / "photos.zip").write_bytes(data)
    uri = f"memory://{tmp_path.name}/photos.zip"
    storage.write_bytes(uri, bytes(data))
    local, remote = open_source(str(tmp_path / "photos.zip")), open_source(uri)
    assert (local.names(), local.problems) == (remote.names(), remote.problems)
    for name, content in GOOD.items():
        assert local.read(name) == remote.read(name) == content
    return local


def entry_of(data: bytes, name: bytes) -> int:
    """Where the directory's entry of a member begins."""
    return data.rindex(ENTRY, 0, data.rindex(name))


def test_i3_a_name_that_lies_about_its_encoding(tmp_path: Path) -> None:
    data = zipped("cafXX.png")
    for signature, flags, name in ((LOCAL, 6, 30), (ENTRY, 8, 46)):
        at = data.rindex(signature, 0, data.index(b"cafXX.png") if signature == LOCAL else data.rindex(b"cafXX.png"))
        data[at + name : at + name + 9] = b"caf\xe9X.png"
        struct.pack_into("<H", data, at + flags, 0x800)
    source = opened(data, tmp_path)
    assert source.read("caf\\xe9X.png") == b"odd"
    assert source.problems == []


@pytest.mark.parametrize(
    "extra", [struct.pack("<HH", 0x5455, 40) + b"\x03abc", b"abc", struct.pack("<HH", 1, 4) + b"abcd"]
)
def test_i3_a_damaged_extra_field(extra: bytes, tmp_path: Path) -> None:
    odd = zipfile.ZipInfo("odd.png")
    odd.extra = extra
    assert opened(zipped(odd), tmp_path).read("odd.png") == b"odd"


def test_an_entry_of_the_directory_that_is_overwritten(tmp_path: Path) -> None:
    data = zipped("odd.png")
    at = entry_of(data, b"odd.png")
    data[at : at + 4] = bytes(4)
    source = opened(data, tmp_path)
    assert source.names() == list(GOOD)
    assert source.problems == [("entry 2 of the directory", "corrupt: zip directory")]


def _set(data: bytearray, name: bytes, offset: int, form: str, value: int) -> None:
    struct.pack_into(form, data, entry_of(data, name) + offset, value)


@pytest.mark.parametrize(
    ("offset", "form", "value", "reason"),
    [
        (8, "<H", 1, "encrypted"), (10, "<H", 14, "unsupported zip compression"), (24, "<L", 99, "corrupt: zip checksum"),
        (24, "<L", 1 << 30, "too large"), (20, "<L", 0, "corrupt: zip checksum"), (42, "<L", 7, "corrupt: zip"),
        (42, "<L", 0xFFFFFFF0, "corrupt: zip|unreadable"), (16, "<L", 1, "corrupt: zip checksum"), (6, "<H", 99, ""),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_read_or_lies(offset: int, form: str, value: int, reason: str, tmp_path: Path) -> None:
    data = zipped("odd.png")
    _set(data, b"odd.png", offset, form, value)
    source = opened(data, tmp_path)
    if not reason:
        assert source.read("odd.png") == b"odd"
        return
    with pytest.raises(Unusable, match=reason):
        source.read("odd.png")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = io.BytesIO(zipped())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.bmp", bytes(100_000_000))
    with pytest.raises(Unusable, match="decompression bomb: 100000000 bytes"):
        opened(file.getvalue(), tmp_path).read("bomb.bmp")


def test_links_folders_and_names_twice(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped(
            link,
            "folder.jpg/",
            "../../x.jpg",
            "b\\c.jpg",
            "UPPER.jpg",
            "upper.jpg",
            "e\u0301.jpg",
            "\u00e9.jpg",
            "good-0.jpg",
        )
    (tmp_path / "photos.zip").write_bytes(data)
    source = open_source(str(tmp_path / "photos.zip"))
    assert source.names() == sorted(
        [*GOOD, "../../x.jpg", "b\\c.jpg", "UPPER.jpg", "upper.jpg", "e\u0301.jpg", "\u00e9.jpg"]
    )
    assert source.read("good-0.jpg") == b"odd", "the last one is what unpacking leaves"
    assert source.problems == [
        ("folder.jpg", "a folder, not a file"),
        ("good-0.jpg (an earlier member)", "replaced by a later member of this name"),
        ("link.jpg", "not a regular file"),
    ]  # fmt: skip


def test_a_zip_behind_a_program_and_one_of_zip64(tmp_path: Path) -> None:
    assert opened(zipped("odd.png", prefix=b"#!/bin/sh\n" * 99), tmp_path).names() == [*GOOD, "odd.png"]
    odd = zipfile.ZipInfo("odd.png")
    file = io.BytesIO(zipped())
    with zipfile.ZipFile(file, "a") as archive, archive.open(odd, "w", force_zip64=True) as member:
        member.write(b"odd")
    data = bytearray(file.getvalue())
    at = entry_of(data, b"odd.png")
    assert opened(data, tmp_path).read("odd.png") == b"odd"
    start = struct.unpack_from("<L", data, at + 42)[0]
    for offset in (20, 24, 42):
        struct.pack_into("<L", data, at + offset, 0xFFFFFFFF)
    length, extra = struct.unpack_from("<HH", data, at + 28)
    field = struct.pack("<HHQQQ", 1, 24, 3, 3, start)
    struct.pack_into("<H", data, at + 30, extra + len(field))
    data[at + 46 + length : at + 46 + length] = field
    end = data.rindex(END)
    struct.pack_into("<L", data, end + 12, struct.unpack_from("<L", data, end + 12)[0] + len(field))
    assert opened(data, tmp_path).read("odd.png") == b"odd"


@pytest.mark.parametrize("kept", [10, 200, -1, -22])
def test_a_zip_that_is_cut_off_is_said_to_be(kept: int, tmp_path: Path) -> None:
    data = zipped("odd.png")[:kept]
    (tmp_path / "photos.zip").write_bytes(data)
    storage.write_bytes(f"memory://{tmp_path.name}/photos.zip", bytes(data))
    for uri in (str(tmp_path / "photos.zip"), f"memory://{tmp_path.name}/photos.zip"):
        with pytest.raises(UserError, match=r"photos\.zip is truncated: its end is missing; fetch it again"):
            open_source(uri)


def test_a_zip_that_has_lost_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(zipped("odd.png")[-100:])
    with pytest.raises(UserError, match="damaged or truncated: its directory is incomplete"):
        open_source(str(tmp_path / "photos.zip"))

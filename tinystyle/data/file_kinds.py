"""Names what a file is by its first bytes, above all files that people have among their photos and that are not read.

The only place that knows signatures. It decodes nothing, and a name says nothing about whether the file is whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from typing import NamedTuple

from tinystyle.data.reasons import NO_IMAGE, UNREADABLE, Refused, Unusable

__all__ = [
    "EXTRA_FORMATS",
    "EXTRA_SUFFIXES",
    "FORMATS",
    "brands",
    "check_kind",
    "installed_formats",
    "is_tiff",
    "is_worth_another_try",
    "kind_of",
]

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are read, by Pillow's names (JPEG includes MPO). Others run external programs (EPS) or are stubs."""
EXTRA_FORMATS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
"""Formats, by Pillow's names, that modules of the extra `formats` read."""
EXTRA_SUFFIXES = {".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"}
"""How the names of files in those formats end, in lower case."""
_READ_BY_EXTRA = {"an HEIC image": "HEIF", "a JPEG XL image": "JXL"}

_EXPORT = "export it as JPEG or PNG"
_INSTALL = f"install `tinystyle[formats]`, or {_EXPORT}"
_RAW = "export it from a raw converter as JPEG or TIFF"
_FRAME = "save a frame of it as JPEG or PNG"

_RAWS = (
    (b"FUJIFILMCCD-RAW", "a Fujifilm camera raw file (RAF)"),
    (b"IIRO", "an Olympus camera raw file (ORF)"),
    (b"IIRS", "an Olympus camera raw file (ORF)"),
    (b"MMOR", "an Olympus camera raw file (ORF)"),
    (b"IIU\0", "a Panasonic camera raw file (RW2)"),
    (b"II\x1a\0\0\0HEAPCCDR", "a Canon camera raw file (CRW)"),
    (b"FOVb", "a Sigma camera raw file (X3F)"),
    (b"\0MRM", "a Minolta camera raw file (MRW)"),
)
_DRAWINGS = (
    (b"8BPS\0\1", "a Photoshop document (PSD)"),
    (b"8BPS\0\2", "a large Photoshop document (PSB)"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript drawing (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing (EPS)"),
    (b"gimp xcf", "a GIMP document (XCF)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"#?RGBE", "a Radiance HDR image"),
    (b"II\xbc\x01", "a JPEG XR image"),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS image"),
    (b"BPG\xfb", "a BPG image"),
    (b"FLIF", "a FLIF image"),
    (b"qoif", "a QOI image"),
    (b"DDS ", "a DDS texture"),
    (b"\0\0\1\0", "a Windows icon (ICO)"),
    (b"\0\0\2\0", "a Windows cursor (CUR)"),
    (b"icns", "a macOS icon (ICNS)"),
    (b"SIMPLE  =", "a FITS image"),
)
_VIDEOS = (
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"FLV\1", "a Flash video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media video"),
)
_OTHERS = (
    (b"PK\3\4", "a zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"version https://git-lfs.github.com/", "a Git LFS pointer"),
    (b"bplist00", "a property list"),
    (b"\0\5\x16\7", "an AppleDouble file of macOS, without the photo"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
)
_HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_VIDEO_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
"""First boxes of QuickTime movies that have no box "ftyp"."""

# Tags of a TIFF.
_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _MAKE, _SUB_IFDS, _DNG = 254, 259, 262, 271, 330, 50706
_SENSOR = {32803, 34892}
"""Color filter array, and LinearRaw."""
_RAW_COMPRESSIONS = {6, 32767, 32769, 32770, 34713, 65535}
_MAKES = (
    ("nikon", "a Nikon camera raw file (NEF)"),
    ("sony", "a Sony camera raw file (ARW)"),
    ("canon", "a Canon camera raw file (CR2)"),
    ("pentax", "a Pentax camera raw file (PEF)"),
    ("ricoh", "a Pentax camera raw file (PEF)"),
    ("samsung", "a Samsung camera raw file (SRW)"),
    ("olympus", "an Olympus camera raw file (ORF)"),
    ("panasonic", "a Panasonic camera raw file (RW2)"),
    ("hasselblad", "a Hasselblad camera raw file (3FR)"),
    ("phase one", "a Phase One camera raw file (IIQ)"),
    ("leaf", "a Leaf camera raw file (MOS)"),
    ("epson", "an Epson camera raw file (ERF)"),
    ("kodak", "a Kodak camera raw file (DCR)"),
)
_MOST_TAGS, _MOST_IFDS = 500, 16


class Kind(NamedTuple):
    """What a file is, with an article, and what its owner can do."""

    name: str
    advice: str


def kind_of(data: bytes) -> Kind | None:
    """Return what a file is by its first bytes; None for an image that Pillow reads, and for what nobody knows.

    Args:
        data: the file, or at least its first 4 KB.
    """
    if kind := _by_signature(data, _RAWS, _RAW) or _by_container(data):
        return kind
    if is_tiff(data):
        name = _raw_in_tiff(data)
        return Kind(name, _RAW) if name else None
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return Kind("a JPEG XL image", _INSTALL)
    if data[:4] == b"RIFF" and data[8:12] in (b"AVI ", b"WAVE"):
        return Kind("an AVI video" if data[8:12] == b"AVI " else "a WAVE recording", _FRAME)
    if data[:1] == b"\x47" and data[188:189] == b"\x47" and data[376:377] == b"\x47":
        return Kind("an MPEG video", _FRAME)
    if data[128:132] == b"DICM":
        return Kind("a DICOM image", _EXPORT)
    return (
        _by_signature(data, _DRAWINGS, _EXPORT)
        or _by_signature(data, _VIDEOS, _FRAME)
        or _by_signature(data, _OTHERS, "")
        or _by_markup(data)
    )


def check_kind(data: bytes) -> str | None:
    """Return the format, by Pillow's name, that an installed package of the extra `formats` reads; otherwise None.

    Raises:
        Refused: the file is of a known kind that is not read here.
        Unusable: it is not an image.
    """
    kind = kind_of(data)
    if kind is None:
        return None
    if not kind.advice:
        raise Unusable(f"{NO_IMAGE}: {kind.name}")
    extra = _READ_BY_EXTRA.get(kind.name)
    if extra in installed_formats():
        return extra
    raise Refused(*kind)


def installed_formats() -> list[str]:
    """Return the formats of the extra `formats`, by Pillow's names, that installed packages read."""
    return sorted(format_ for format_, module in EXTRA_FORMATS.items() if find_spec(module))


def is_worth_another_try(reason: str) -> bool:
    """Return whether a photo that was not used for this reason may be readable now, by a package installed since."""
    kinds = (kind.split(" ", 1)[1] for kind, format_ in _READ_BY_EXTRA.items() if format_ in installed_formats())
    return reason.startswith((UNREADABLE, *(f"{kind}:" for kind in kinds)))


def is_tiff(data: bytes) -> bool:
    """Return whether a file begins as a TIFF or BigTIFF does."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def brands(data: bytes) -> list[bytes]:
    """Return the brands of an ISO base media file (ISO/IEC 14496-12, "ftyp"), the major one first; [] for others."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))]


def _by_signature(data: bytes, table: tuple[tuple[bytes, str], ...], advice: str) -> Kind | None:
    return next((Kind(name, advice) for start, name in table if data.startswith(start)), None)


def _by_container(data: bytes) -> Kind | None:
    found = brands(data)
    if not found:
        return Kind("a QuickTime movie (MOV)", _FRAME) if data[4:8] in _VIDEO_BOXES else None
    major = found[0]
    if major == b"crx ":
        return Kind("a Canon camera raw file (CR3)", _RAW)
    if {b"avif", b"avis"} & {*found}:
        return None
    if {*found} & _HEIC or major in (b"mif1", b"msf1", b"mif2", b"heif"):
        return Kind("an HEIC image", _INSTALL)
    if major == b"qt  ":
        return Kind("a QuickTime movie (MOV, also of a live photo)", _FRAME)
    if major in (b"jp2 ", b"jpx "):
        return None
    if major in (b"M4A ", b"M4B ", b"M4P "):
        return Kind("an MPEG-4 recording (M4A)", _FRAME)
    return Kind("an MPEG-4 video (MP4)", _FRAME)


def _by_markup(data: bytes) -> Kind | None:
    text = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not text.startswith(b"<"):
        return None
    if b"<svg" in text:
        return Kind("an SVG drawing", _EXPORT)
    return Kind("a web page", "") if b"<html" in text or text.startswith(b"<!doctype html") else Kind("an XML file", "")


def _raw_in_tiff(data: bytes) -> str | None:
    """Return the name of a camera raw file that is built as a TIFF; its first image is often a small preview."""
    if data[8:10] == b"CR" and data[2:4] in (b"*\0", b"\0*"):
        return "a Canon camera raw file (CR2)"
    try:
        ifds = list(_ifds(data))
    except (struct.error, IndexError, ValueError):
        return None
    if not ifds:
        return None
    first = ifds[0]
    if any(_DNG in tags for tags in ifds):
        return "a camera raw file (DNG)"
    make = bytes(first.get(_MAKE, b"")).decode("latin-1").strip().lower()
    name = next((name for start, name in _MAKES if make.startswith(start)), None)
    if any(tags.get(_PHOTOMETRIC) in _SENSOR for tags in ifds):
        return name or "a camera raw file"
    reduced = bool(int(first.get(_SUBFILE) or 0) & 1)
    return name if name and (reduced or first.get(_COMPRESSION) in _RAW_COMPRESSIONS) else None


def _ifds(data: bytes) -> Iterator[dict[int, int | bytes]]:
    """Yield the tags that matter here of the first images and of their parts (SubIFDs), as far as they can be read."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] not in (b"*\0", b"\0*"):
        return  # no camera writes BigTIFF
    waiting = [struct.unpack_from(order + "I", data, 4)[0]]
    for _ in range(_MOST_IFDS):
        start = waiting.pop(0) if waiting else 0
        if not start or start + 2 > len(data):
            return
        count = min(struct.unpack_from(order + "H", data, start)[0], _MOST_TAGS)
        tags: dict[int, int | bytes] = {}
        for entry in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
            tag, kind, number = struct.unpack_from(order + "HHI", data, entry)
            if tag == _MAKE:
                place = struct.unpack_from(order + "I", data, entry + 8)[0] if number > 4 else entry + 8
                tags[tag] = data[place : place + min(number, 64)].split(b"\0")[0]
            elif tag == _SUB_IFDS and kind in (4, 13):
                place = struct.unpack_from(order + "I", data, entry + 8)[0] if number > 1 else entry + 8
                waiting += struct.unpack_from(f"{order}{min(number, _MOST_IFDS)}I", data, place)
            elif tag in (_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _DNG):
                tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)[0]
        yield tags
        following = start + 2 + 12 * count
        if following + 4 <= len(data):
            waiting.append(struct.unpack_from(order + "I", data, following)[0])

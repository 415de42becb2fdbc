"""Files that people have among their photos and that are not read: each with what it has to be called.

Headers are as the formats' own specifications have them; the rest is noise.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from tests.support.odd_photos import cicp, png, scene, tiff

__all__ = ["not_images", "refused_files"]

_NOISE = np.random.default_rng(0).integers(1, 255, 3000, np.uint8).tobytes()


def refused_files() -> dict[str, tuple[bytes, str]]:
    """File name -> (content, what it is)."""
    deep = scene()[..., :3]
    rgb = (deep // 257).astype(np.uint8)
    # What a camera's file shows to readers of TIFF alone: a preview, small and whole.
    preview: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    return {
        "a.cr2": (b"II*\0\x10\0\0\0CR\2\0" + _NOISE, "a Canon camera raw file (CR2)"),
        "a.cr3": (_box(b"crx ", b"isom"), "a Canon camera raw file (CR3)"),
        "a.crw": (b"II\x1a\0\0\0HEAPCCDR" + _NOISE, "a Canon camera raw file (CRW)"),
        "a.nef": (
            tiff(rgb, subfiletype=1, extratags=[(271, 2, 0, "NIKON CORPORATION", True)], **preview),
            "a Nikon camera raw file (NEF)",
        ),
        "big-endian.nef": (
            tiff(rgb, subfiletype=1, byteorder=">", extratags=[(271, 2, 0, "NIKON", True)], **preview),
            "a Nikon camera raw file (NEF)",
        ),
        "a.arw": (
            tiff(rgb, subfiletype=1, extratags=[(271, 2, 0, "SONY", True)], **preview),
            "a Sony camera raw file (ARW)",
        ),
        "a.pef": (
            tiff(deep[..., 0], photometric=32803, metadata=None, extratags=[(271, 2, 0, "PENTAX", True)]),
            "a Pentax camera raw file (PEF)",
        ),
        "a.dng": (tiff(rgb, extratags=[(50706, 1, 4, b"\1\4\0\0", True)], **preview), "a camera raw file (DNG)"),
        "a.raf": (b"FUJIFILMCCD-RAW 0201FF383501" + _NOISE, "a Fujifilm camera raw file (RAF)"),
        "a.orf": (b"IIRO\x08\0\0\0" + _NOISE, "an Olympus camera raw file (ORF)"),
        "a.rw2": (b"IIU\0\x18\0\0\0" + _NOISE, "a Panasonic camera raw file (RW2)"),
        "a.x3f": (b"FOVb" + _NOISE, "a Sigma camera raw file (X3F)"),
        "a.psd": (b"8BPS\0\1\0\0\0\0\0\0\0\3" + _NOISE, "a Photoshop document (PSD)"),
        "a.svg": (b'<?xml version="1.0"?>\n<!-- a -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        "a.pdf": (b"%PDF-1.7\n" + _NOISE, "a PDF document"),
        "a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing (EPS)"),
        "a.xcf": (b"gimp xcf v011\0" + _NOISE, "a GIMP document (XCF)"),
        "a.exr": (b"\x76\x2f\x31\x01\2\0\0\0" + _NOISE, "an OpenEXR image"),
        "a.ico": (b"\0\0\1\0\1\0" + _NOISE, "a Windows icon (ICO)"),
        "a.mov": (_box(b"qt  "), "a QuickTime movie (MOV, also of a live photo)"),
        "old.mov": (b"\0\0\0\x08wide\0\0\x0b\xb8mdat" + _NOISE, "a QuickTime movie (MOV)"),
        "a.mp4": (_box(b"isom", b"avc1", b"mp41"), "an MPEG-4 video (MP4)"),
        "a.3gp": (_box(b"3gp4"), "an MPEG-4 video (MP4)"),
        "a.mkv": (b"\x1aE\xdf\xa3" + _NOISE, "a Matroska or WebM video"),
        "a.avi": (b"RIFF" + struct.pack("<I", 3000) + b"AVI LIST" + _NOISE, "an AVI video"),
        "pq.png": (png(rgb, cicp(9, 16)), "an HDR image (PQ)"),
        "hlg.png": (png(rgb, cicp(9, 18)), "an HDR image (HLG)"),
        "narrow.png": (png(rgb, (b"cICP", bytes([1, 1, 0, 0]))), "a PNG of video colors (cICP)"),
        "hdr.tif": (tiff((deep / 9000).astype(np.float32), photometric="rgb"), "a floating-point TIFF of values up to"),
        "signed.tif": (
            tiff((deep // 2).astype(np.int16), photometric="rgb"),
            "an RGB TIFF of 3 signed samples of 16 bits",
        ),
        "lab.tif": (tiff(deep, photometric="cielab"), "a Lab TIFF of 3 samples of 16 bits"),
        "icclab.tif": (tiff(deep, photometric="icclab"), "a Lab TIFF of 3 samples of 16 bits"),
    }


def not_images() -> dict[str, tuple[bytes, str]]:
    """File name -> (content, what it is), of files that nobody takes for images."""
    return {
        "live photo.livp": (b"PK\3\4\x14\0\0\0" + _NOISE, "a zip archive"),
        "a.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
        "._a.jpg": (b"\0\5\x16\7\0\2\0\0Mac OS X" + _NOISE, "an AppleDouble file of macOS, without the photo"),
        "a.png": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "a web page"),
    }


def _box(*brands: bytes) -> bytes:
    box = b"ftyp" + brands[0] + b"\0\0\2\0" + b"".join(brands)
    return struct.pack(">I", 4 + len(box)) + box + _NOISE

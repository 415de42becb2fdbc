"""Image files as the world has them: good ones of every kind, and bad ones with the reason for which each is refused."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
"""Of the EXIF photo, seen upright: top left, top right, bottom left, bottom right."""

_EXIF_UNDONE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photograph(seed: int, width: int = 200, height: int = 150) -> Image.Image:
    """A smooth random RGB picture, another for every seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((smooth + random.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of Pillow's format `kind`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def save_photographs(folder: Path, count: int, first: int = 0) -> list[str]:
    """`count` good JPEGs in `folder`; their names, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"photo-{seed:04d}.jpg" for seed in range(first, first + count)]
    for seed, name in enumerate(names, first):
        (folder / name).write_bytes(encoded(photograph(seed, 200 + seed % 7), "JPEG", quality=90))
    return names


def make_bad_images(folder: Path) -> dict[str, str | None]:
    """Fill `folder`, for an ingest at size 96; each candidate's name with the beginning of its reason, None if usable."""
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, str | None] = {}

    def put(name: str, data: bytes, reason: str | None) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        expected[name] = reason

    _put_damaged(put)
    _put_unusual(put)
    _put_odd_names(put)
    (folder / "named like a photo.jpg").mkdir()
    expected["named like a photo.jpg"] = "a folder, not a file"
    put("named like a photo.jpg/inside.png", encoded(photograph(70), "PNG"), None)
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    expected["dangling.jpg"] = "dangling link"
    (folder / "self.jpg").symlink_to("self.jpg")
    expected["self.jpg"] = "link loop"
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to("..")
    expected["sub/up"] = "link loop"
    os.mkfifo(folder / "fifo.jpg")
    expected["fifo.jpg"] = "not a regular file"
    return expected


def _put_damaged(put: Callable[[str, bytes, str | None], None]) -> None:
    jpeg, png = encoded(photograph(1, 400, 300), "JPEG", quality=92), encoded(photograph(2), "PNG")
    for percent in (5, 50, 95):
        put(f"cut at {percent}%.jpg", jpeg[: len(jpeg) * percent // 100], "truncated")
    put("cut by two bytes.jpg", jpeg[:-2], "truncated")
    put("cut in the header.jpg", jpeg[:40], "truncated")
    put("cut at 50%.png", png[: len(png) // 2], "truncated")
    webp = encoded(photograph(3), "WEBP")
    put("cut at 50%.webp", webp[: len(webp) // 2], "truncated")
    put("gif header only.gif", b"GIF89a", "truncated")
    put("empty.jpg", b"", "empty file")
    put("text.jpg", b"this is not a photograph\n" * 40, "not an image")
    put("page.png", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image")
    put("zeros.jpg", bytes(5000), "not an image")
    put("header then zeros.jpg", jpeg[:20] + bytes(5000), "corrupt: ")
    put("1x1.png", encoded(photograph(4, 1, 1), "PNG"), "too small: 1x1, ")
    put("1x4000.png", encoded(photograph(5, 1, 4000), "PNG"), "too small: 1x4000, ")
    put("60x47.jpg", encoded(photograph(6, 60, 47), "JPEG"), "too small: 60x47, the short side must be at least 48")
    put("strip.png", encoded(Image.new("L", (48_000, 50)), "PNG"), "too long: 48000x50")
    put("bomb.png", png_bomb(30_000, rows=1), "decompression bomb: 30000x30000")
    put("near bomb.png", png_bomb(13_378, rows=13_378), "decompression bomb: 13378x13378")
    put("bit rot.jpg", rotten(jpeg, start=len(jpeg) // 2), "corrupt: ")
    put("bit rot.png", rotten(png, start=len(png) // 2), "corrupt: ")


def _put_unusual(put: Callable[[str, bytes, str | None], None]) -> None:
    put("good.jpg", encoded(photograph(10), "JPEG"), None)
    put("progressive.jpg", encoded(photograph(11), "JPEG", progressive=True), None)
    put("reduced.jpg", encoded(photograph(12, 1600, 1200), "JPEG"), None)
    put("cmyk.jpg", encoded(photograph(13).convert("CMYK"), "JPEG"), None)
    put("gray.jpg", encoded(photograph(14).convert("L"), "JPEG"), None)
    put("one bit.png", encoded(photograph(15).convert("1"), "PNG"), None)
    palette = photograph(16).convert("P", palette=Image.Palette.ADAPTIVE)
    put("palette.png", encoded(palette, "PNG"), None)
    put("palette with transparency.png", encoded(palette.rotate(180), "PNG", transparency=0), None)
    put("alpha.png", encoded(half_transparent(photograph(17).convert("RGBA")), "PNG"), None)
    put("gray alpha.png", encoded(half_transparent(photograph(18).convert("LA")), "PNG"), None)
    put("16 bit.png", encoded(Image.fromarray(ramp(np.uint16, 65535)), "PNG"), None)
    put("32 bit.tiff", encoded(Image.fromarray(ramp(np.int32, 2_000_000_000).T.copy()), "TIFF"), None)
    put("float.tiff", encoded(Image.fromarray(ramp(np.float32, 1.0)[:, ::-1].copy()), "TIFF"), None)
    frames = [photograph(seed) for seed in (19, 20, 21)]
    for kind in ("GIF", "WEBP"):
        put(f"animated.{kind.lower()}", encoded(frames[0], kind, save_all=True, append_images=frames[1:]), None)
    put("photo.bmp", encoded(photograph(22), "BMP"), None)
    put("trailing rubbish.jpg", encoded(photograph(23), "JPEG") + b"rubbish", None)
    put("bad exif.jpg", encoded(photograph(24), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), None)
    for orientation in range(1, 9):
        put(f"exif {orientation}.jpg", exif_photo(orientation), None)


def _put_odd_names(put: Callable[[str, bytes, str | None], None]) -> None:
    original = encoded(photograph(30), "PNG")
    put("odd/a first.png", original, None)
    put("odd/b same bytes.png", original, "duplicate of odd/a first.png")
    put("odd/c same pixels.bmp", encoded(photograph(30), "BMP"), "duplicate of odd/a first.png")
    names = (
        "-rf",
        "UPPER.JPG",
        "new\nline.jpg",
        "quo'te\".jpg",
        "ünï 写真.jpg",
        "no extension",
        " spaces .jpg",
        "%s {0}.jpg",
    )
    for seed, name in enumerate(names, 31):
        put(f"odd/{name}", encoded(photograph(seed), "JPEG"), None)


def exif_photo(orientation: int) -> bytes:
    """A JPEG stored in `orientation` that is 240x160 with `CORNERS` once it stands upright."""
    image = Image.new("RGB", (240, 160), (128, 128, 128))
    draw = ImageDraw.Draw(image)
    for (x, y), color in zip(((0, 0), (180, 0), (0, 120), (180, 120)), CORNERS, strict=True):
        draw.rectangle((x, y, x + 60, y + 40), fill=color)
    draw.point((120, 80 + orientation), fill=(255, 255, 255))
    draw.rectangle((100, 70, 100 + 4 * orientation, 90), fill=(0, 0, 0))  # the eight are no duplicates
    undone = _EXIF_UNDONE[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image if undone is None else image.transpose(undone), "JPEG", quality=95, exif=exif)


def ramp(kind: type[np.generic], white: float) -> NDArray[Any]:
    """(150, 200) values from 0 to `white`, left to right."""
    return np.tile(np.linspace(0, white, 200), (150, 1)).astype(kind)


def half_transparent(image: Image.Image) -> Image.Image:
    """Fully transparent in its left half."""
    mask = Image.new("L", image.size, 255)
    mask.paste(0, (0, 0, image.width // 2, image.height))
    image.putalpha(mask)
    return image


def rotten(data: bytes, start: int) -> bytes:
    """`data` with every thirtieth byte of a stretch changed."""
    damaged = bytearray(data)
    for position in range(start, min(start + 900, len(data) - 40), 30):
        damaged[position] ^= 0x5A
    return bytes(damaged)


def png_bomb(side: int, rows: int) -> bytes:
    """A small PNG that claims `side` x `side` black pixels, of which `rows` rows are there."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(bytes(side + 1)) for _ in range(rows)) + packer.flush()
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )

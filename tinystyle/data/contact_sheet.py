"""Draws pictures of results: galleries, preview strips, sheets of styles. Pillow only; does not depend on networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

from tinystyle.errors import UserError

__all__ = ["CELL", "GalleryRow", "gallery", "preview_strip", "style_sheet"]

_WIDTH = 1600
_MARGIN = 48
_SPACING = 28
_SEAM = 4
_STYLE_HEIGHT = 240
_CAPTION_LINE = 23
CELL = (300, 260)
"""Width and height, in pixels, of a picture on a sheet of styles."""
_CELL_GAP = 8
# A line of pairs is stretched to the full width, but by no more than this factor.
_MAX_STRETCH = 1.4

_PAPER = (250, 249, 246)
_TEXT = (34, 34, 38)
_MUTED = (116, 114, 110)

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """A photo and its stylized version."""

    photo: Image.Image
    stylized: Image.Image
    caption: str = ""
    """Text under the pair; each of its lines is cut to the pair's width."""

    @property
    def aspect(self) -> float:
        """Width of the pair divided by its height; both halves have the photo's shape."""
        return 2 * self.photo.width / self.photo.height


def gallery(rows: Sequence[GalleryRow], style: Image.Image | None, title: str) -> Image.Image:
    """Draw a contact sheet: title and style image, then photos beside their stylized versions, in lines of equal width.

    Args:
        rows: the pairs, in order.
        style: the style image; None leaves it out.
        title: one line of text.

    Returns:
        RGB, 1600 px wide; the height grows with the number of rows.

    Raises:
        UserError: there are no rows.
    """
    if not rows:
        raise UserError("a gallery needs at least one photo")
    inner = _WIDTH - 2 * _MARGIN
    lines = _lines(rows, inner, height=320 if len(rows) <= 4 else 240 if len(rows) <= 16 else 190)
    header = _STYLE_HEIGHT if style else 84
    captions = 11 + _CAPTION_LINE * max(row.caption.count("\n") + 1 for row in rows)
    total = 2 * _MARGIN + header + sum(_SPACING + int(height) + captions for _, height in lines)
    sheet = Image.new("RGB", (_WIDTH, total), _PAPER)
    _draw_header(sheet, style, title, len(rows))
    top = _MARGIN + header + _SPACING
    for line, height in lines:
        left = _MARGIN
        for row in line:
            width = _half_width(row, height, inner)
            _paste_pair(sheet, row, (left, top), (width, int(height)))
            for index, text in enumerate(row.caption.split("\n")):
                below = top + int(height) + 7 + index * _CAPTION_LINE
                _write(sheet, text, (left, below), _font(17), _MUTED, 2 * width + _SEAM)
            left += 2 * width + _SEAM + _SPACING
        top += int(height) + captions + _SPACING
    return sheet


def preview_strip(photos: Sequence[Image.Image], outputs: Sequence[Image.Image], height: int = 192) -> Image.Image:
    """Draw pairs of photo and output, `height` px high, four to a line.

    Raises:
        UserError: there are no photos, or the numbers of photos and outputs differ.
    """
    if not photos or len(photos) != len(outputs):
        raise UserError(f"a preview needs one output for each photo, not {len(outputs)} for {len(photos)}")
    gap = max(2, height // 16)
    rows = [GalleryRow(photo=photo, stylized=output) for photo, output in zip(photos, outputs, strict=True)]
    lines = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    pairs = [[2 * _half_width(row, height) + _SEAM for row in line] for line in lines]
    width = max(sum(line) + gap * (len(line) + 1) for line in pairs)
    strip = Image.new("RGB", (width, len(lines) * (height + gap) + gap), _PAPER)
    for index, line in enumerate(lines):
        left = gap
        for row, pair in zip(line, pairs[index], strict=True):
            _paste_pair(strip, row, (left, gap + index * (height + gap)), ((pair - _SEAM) // 2, height))
            left += pair + gap
    return strip


def style_sheet(
    photos: Sequence[Image.Image], styles: Mapping[str, Sequence[Image.Image]], cell: tuple[int, int] = CELL
) -> Image.Image:
    """Draw a table of pictures: one line per photo, one column per style, with the photos themselves at the left.

    Args:
        styles: column heading, one or more lines of text -> the photos in that style.
        cell: width and height, in pixels, that pictures are scaled and cropped to.

    Raises:
        UserError: there are no photos or no styles, or a column does not have one picture per photo.
    """
    if not photos or not styles or any(len(column) != len(photos) for column in styles.values()):
        raise UserError("a sheet needs photos, and in each style one picture for each of them")
    columns = {"photograph": photos, **styles}
    width, height = cell
    header = _CAPTION_LINE * max(heading.count("\n") + 1 for heading in columns) + 16
    size = (_CELL_GAP + len(columns) * (width + _CELL_GAP), header + len(photos) * (height + _CELL_GAP) + _CELL_GAP)
    sheet = Image.new("RGB", size, _PAPER)
    for index, (heading, column) in enumerate(columns.items()):
        left = _CELL_GAP + index * (width + _CELL_GAP)
        for line, text in enumerate(heading.split("\n")):
            font, color = (_font(20), _TEXT) if line == 0 else (_font(16), _MUTED)
            _write(sheet, text, (left + 2, 8 + line * _CAPTION_LINE), font, color, width)
        for line, picture in enumerate(column):
            fitted = ImageOps.fit(picture.convert("RGB"), cell, Image.Resampling.LANCZOS)
            sheet.paste(fitted, (left, header + line * (height + _CELL_GAP)))
    return sheet


def _lines(rows: Sequence[GalleryRow], width: int, height: int) -> list[tuple[list[GalleryRow], float]]:
    """Break `rows` into lines, each with the height, close to `height`, at which it fills `width`."""
    lines: list[tuple[list[GalleryRow], float]] = []
    line: list[GalleryRow] = []
    for row in rows:
        longer = [*line, row]
        if line and abs(_fit(longer, width) - height) > abs(_fit(line, width) - height):
            lines.append((line, _fit(line, width)))
            line = [row]
        else:
            line = longer
    return [*lines, (line, min(_fit(line, width), height * _MAX_STRETCH))]


def _fit(line: Sequence[GalleryRow], width: int) -> float:
    """Return the height at which `line` is `width` px wide."""
    free = width - _SPACING * (len(line) - 1) - _SEAM * len(line)
    return max(16.0, free / sum(row.aspect for row in line))


def _half_width(row: GalleryRow, height: float, limit: int = 4096) -> int:
    return max(1, min(round(row.aspect * height / 2), (limit - _SEAM) // 2))


def _paste_pair(sheet: Image.Image, row: GalleryRow, corner: tuple[int, int], size: tuple[int, int]) -> None:
    left, top = corner
    for image, x in ((row.photo, left), (row.stylized, left + size[0] + _SEAM)):
        sheet.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), (x, top))


def _draw_header(sheet: Image.Image, style: Image.Image | None, title: str, count: int) -> None:
    left, middle = _MARGIN, _MARGIN + 42
    if style:
        thumbnail = style.convert("RGB")
        thumbnail.thumbnail((3 * _STYLE_HEIGHT, _STYLE_HEIGHT), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, (_MARGIN, _MARGIN))
        left, middle = _MARGIN + thumbnail.width + _SPACING + 8, _MARGIN + _STYLE_HEIGHT // 2
    room = _WIDTH - _MARGIN - left
    _write(sheet, title, (left, middle - 42), _font(42), _TEXT, room)
    key = "photo | stylized" if count == 1 else f"{count} photos: photo | stylized"
    _write(
        sheet,
        f"{'the style image on the left; below, ' if style else ''}{key}",
        (left, middle + 16),
        _font(20),
        _MUTED,
        room,
    )


def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _write(
    sheet: Image.Image, text: str, corner: tuple[int, int], font: _Font, color: tuple[int, int, int], room: int
) -> None:
    """Draw one line of text, cut with an ellipsis if it is wider than `room` px."""
    text = " ".join(text.split())
    if font.getlength(text) > room:
        while text and font.getlength(text + "...") > room:
            text = text[:-1]
        text = text.rstrip() + "..." if text else ""
    ImageDraw.Draw(sheet).text(corner, text, fill=color, font=font)

"""Galleries and strips: every picture is on them, unclipped, in its own shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.support.places import SHARED
from tinystyle.data.contact_sheet import GalleryRow, gallery, preview_strip, style_sheet
from tinystyle.errors import UserError

PHOTOS = SHARED / "photos"
RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 160, 0)
SHAPES = [(300, 200), (200, 300), (240, 240), (640, 200), (150, 400)]


def _rows(count: int, caption: str = "a photo\nstyle 0.42") -> list[GalleryRow]:
    return [
        GalleryRow(
            photo=Image.new("RGB", SHAPES[i % len(SHAPES)], RED),
            stylized=Image.new("RGB", SHAPES[i % len(SHAPES)], BLUE),
            caption=caption,
        )
        for i in range(count)
    ]


def _boxes(sheet: Image.Image, color: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """The rectangles of one color, each as left, top, width, height; asserts that each is solid."""
    mask = (np.asarray(sheet) == color).all(-1)
    boxes = []
    while mask.any():
        top, left = np.unravel_index(mask.argmax(), mask.shape)
        width = int(np.argmin(np.append(mask[top, left:], False)))
        height = int(np.argmin(np.append(mask[top:, left], False)))
        assert mask[top : top + height, left : left + width].all()
        mask[top : top + height, left : left + width] = False
        boxes.append((int(left), int(top), width, height))
    return boxes


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 17, 40])
@pytest.mark.parametrize("style", [None, Image.new("RGB", (300, 200), GREEN)], ids=["no style", "style"])
def test_every_pair_is_whole_and_in_its_shape(count: int, style: Image.Image | None) -> None:
    sheet = gallery(_rows(count), style, "A title")
    assert sheet.mode == "RGB"
    assert sheet.width == 1600
    assert sheet.height < 700 + 260 * count
    photos, outputs = _boxes(sheet, RED), _boxes(sheet, BLUE)
    assert len(photos) == len(outputs) == count
    for index, ((left, top, width, height), output) in enumerate(zip(photos, outputs, strict=True)):
        shape = SHAPES[index % len(SHAPES)]
        assert width / height == pytest.approx(shape[0] / shape[1], rel=0.03)
        assert output == (left + width + 4, top, width, height)
        assert left >= 46
        assert output[0] + width <= 1600 - 44
        assert top + height < sheet.height - 48
    assert len(_boxes(sheet, GREEN)) == (0 if style is None else 1)


def test_lines_fill_the_width_evenly() -> None:
    sheet = gallery(_rows(40), None, "A title")
    ends: dict[int, int] = {}
    for left, top, width, _ in _boxes(sheet, BLUE):
        ends[top] = max(ends.get(top, 0), left + width)
    full = list(ends.values())[:-1]
    assert len(full) > 3
    assert all(abs(end - (1600 - 48)) <= 8 for end in full)


@pytest.mark.slow
def test_long_titles_and_captions_stay_inside() -> None:
    sheet = np.asarray(gallery(_rows(5, caption="a very long caption " * 40), None, "A very long title " * 40), int)
    paper = sheet[0, 0]
    ink = np.abs(sheet - paper).max(-1) > 40
    assert not ink[:, :40].any()
    assert not ink[:, -40:].any()
    # Captions keep out of their neighbors': the gaps between pairs are free of ink.
    boxes = _boxes(Image.fromarray(sheet.astype(np.uint8)), BLUE)
    for left, top, width, height in boxes:
        assert not ink[top : top + height + 40, left + width + 2 : left + width + 24].any()


def test_titles_and_captions_are_written() -> None:
    plain = np.asarray(gallery(_rows(1, caption=""), None, ""))
    assert not np.array_equal(plain, np.asarray(gallery(_rows(1, caption=""), None, "A title")))
    written = np.asarray(gallery(_rows(1, caption="held out"), None, ""))
    assert written.shape == plain.shape
    assert not np.array_equal(plain, written)


@pytest.mark.parametrize("shape", [(4000, 1), (1, 4000), (1, 1)])
def test_extreme_shapes_fit(shape: tuple[int, int]) -> None:
    thin = Image.new("RGB", shape, RED)
    sheet = gallery([GalleryRow(photo=thin, stylized=thin), *_rows(3)], None, "")
    assert sheet.width == 1600
    assert sheet.height < 3000


def test_other_modes_and_sizes_are_taken_as_they_are() -> None:
    row = GalleryRow(photo=Image.new("L", (300, 200), 99), stylized=Image.new("RGBA", (96, 64), (*BLUE, 255)))
    sheet = gallery([row], Image.new("P", (9, 900)), "")
    assert len(_boxes(sheet, BLUE)) == len(_boxes(sheet, (99, 99, 99))) == 1


def test_no_rows() -> None:
    with pytest.raises(UserError, match="at least one photo"):
        gallery([], None, "")


@pytest.mark.parametrize("count", [1, 4, 6])
def test_preview_strip(count: int) -> None:
    rows = _rows(count)
    strip = preview_strip([row.photo for row in rows], [row.stylized for row in rows], height=96)
    photos, outputs = _boxes(strip, RED), _boxes(strip, BLUE)
    assert len(photos) == len(outputs) == count
    for index, ((left, top, width, height), output) in enumerate(zip(photos, outputs, strict=True)):
        assert height == 96
        assert width == round(96 * SHAPES[index % 5][0] / SHAPES[index % 5][1])
        assert output == (left + width + 4, top, width, height)
        assert output[0] + width < strip.width


def test_preview_strip_wants_pairs() -> None:
    with pytest.raises(UserError, match="not 1 for 2"):
        preview_strip([Image.new("RGB", (9, 9))] * 2, [Image.new("RGB", (9, 9))])


@pytest.mark.shared_data
def test_a_gallery_of_real_photos_shows_them() -> None:
    if not PHOTOS.is_dir():
        pytest.skip(f"the shared photographs are not there: {PHOTOS}")
    photo = Image.open(sorted(PHOTOS.glob("*.jpg"))[0]).convert("RGB")
    strip = np.asarray(preview_strip([photo], [photo], height=photo.height))
    gap = photo.height // 16
    assert np.array_equal(strip[gap : gap + photo.height, gap : gap + photo.width], np.asarray(photo))


def test_a_sheet_of_styles_has_a_line_for_each_photo_and_a_column_for_each_style() -> None:
    photos = [Image.new("RGB", shape, RED) for shape in SHAPES[:3]]
    styles = {
        "wave\nThe Great Wave, Hokusai, 1831": [Image.new("RGB", photo.size, BLUE) for photo in photos],
        "night": [Image.new("RGB", photo.size, GREEN) for photo in photos],
    }
    sheet = style_sheet(photos, styles)
    columns = [_boxes(sheet, color) for color in (RED, BLUE, GREEN)]
    assert [len(column) for column in columns] == [3, 3, 3]
    assert all((width, height) == (300, 260) for column in columns for _, _, width, height in column)
    for line in zip(*columns, strict=True):
        assert len({top for _, top, _, _ in line}) == 1
        assert [left for left, _, _, _ in line] == sorted({left for left, _, _, _ in line})
    assert np.asarray(sheet)[: columns[0][0][1]].std() > 0, "headings are written"


@pytest.mark.parametrize(("photos", "styles"), [(0, {"a": 0}), (2, {}), (2, {"a": 2, "b": 1})])
def test_a_sheet_with_a_hole_is_refused(photos: int, styles: dict[str, int]) -> None:
    picture = Image.new("RGB", (30, 20), RED)
    with pytest.raises(UserError, match="one picture for each"):
        style_sheet([picture] * photos, {name: [picture] * count for name, count in styles.items()})

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tinystyle.config import NetworkConfig
from tinystyle.errors import UserError
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.stylize import stylize_photos

CONFIG = NetworkConfig(alpha=0.1)
MODEL = LoadedModel(build_network(CONFIG.architecture, CONFIG.alpha).eval(), CONFIG, {})


def photo(path: Path, width: int, height: int, orientation: int = 1) -> Path:
    rng = np.random.default_rng(width * height)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path, exif=exif)
    return path


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image)


def test_same_name_and_size_and_what_the_network_says(tmp_path: Path) -> None:
    photos = [
        photo(tmp_path / "a b.png", 37, 22),
        photo(tmp_path / "dot.ted.jpg", 1, 1),
        photo(tmp_path / "c.webp", 5, 60),
    ]
    written = stylize_photos(MODEL, photos, tmp_path / "new" / "out")
    assert [path.name for path in written] == ["a b.png", "dot.ted.png", "c.png"]
    assert [pixels(path).shape for path in written] == [(22, 37, 3), (1, 1, 3), (60, 5, 3)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    with torch.inference_mode():
        photo_13hw = torch.from_numpy(pixels(photos[0])).permute(2, 0, 1)[None].float()
        expected_hw3 = MODEL.network(photo_13hw)[0].permute(1, 2, 0).numpy()
    assert np.abs(pixels(written[0]).astype(np.float64) - expected_hw3).max() <= 0.501
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["a b.png", "c.png", "dot.ted.png"]


def test_exif_orientation(tmp_path: Path) -> None:
    (written,) = stylize_photos(MODEL, [photo(tmp_path / "turned.jpg", 40, 24, orientation=6)], tmp_path / "out")
    assert pixels(written).shape == (40, 24, 3)


def test_a_bad_photo_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a photo")
    photos = [photo(tmp_path / "a.png", 16, 16), bad, photo(tmp_path / "c.png", 17, 16)]
    with pytest.raises(UserError, match=r"^1 of 3 photos could not be stylized: .*bad\.jpg"):
        stylize_photos(MODEL, photos, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_a_folder_of_good_and_bad_is_done_in_order(
    tmp_path: Path, photo_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "photos" / "stylized"
    shutil.copytree(photo_folder, folder)
    (folder / "photo-05.png").write_bytes((folder / "photo-05.png").read_bytes()[:900])
    (folder / "notes.txt").write_text("of the journey")
    (folder / ".hidden.png").write_text("")
    written: list[Path] = []
    counts: list[tuple[int, int, int]] = []
    with pytest.raises(UserError, match=r"^1 of 24 photos could not be stylized: .*photo-05\.png is truncated"):
        stylize_photos(MODEL, [folder], out, written=written.append, progress=lambda *n: counts.append(n))
    assert [path.name for path in written] == [f"photo-{i:02d}.png" for i in range(24) if i != 5]
    assert sorted(out.iterdir()) == written
    assert counts == [(i + 1, 24, int(i >= 5)) for i in range(24)]
    assert caplog.messages == [f"{folder}: skipped, as they are not images that can be read: notes.txt"]
    # What one photo becomes does not depend on its neighbors.
    (alone,) = stylize_photos(MODEL, [folder / "photo-07.png"], tmp_path / "alone")
    assert alone.read_bytes() == written[6].read_bytes()


def test_a_result_that_cannot_be_written_ends_it(tmp_path: Path, photo_folder: Path) -> None:
    (tmp_path / "photo-01.png").mkdir()  # where a file is to go
    with pytest.raises(OSError, match=r"photo-01\.png"):
        stylize_photos(MODEL, [photo_folder], tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_max_side(tmp_path: Path) -> None:
    photos = [photo(tmp_path / "wide.png", 100, 40), photo(tmp_path / "tall.jpg", 40, 100, 6)]
    photos += [photo(tmp_path / "small.png", 30, 20), photo(tmp_path / "line.png", 300, 1)]
    written = stylize_photos(MODEL, photos, tmp_path / "out", max_side=50)
    assert [pixels(path).shape[:2] for path in written] == [(20, 50), (20, 50), (20, 30), (1, 50)]


@pytest.mark.parametrize(
    "options", [{"strength": -0.1}, {"strength": 1.01}, {"strength": float("nan")}, {"max_side": 0}]
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^`(strength|max_side)` \S+: give "):
        stylize_photos(MODEL, [photo(tmp_path / "a.png", 16, 16)], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("photos", "out", "sentence"),
    [
        ([], "out", "no photos given"),
        (["a.png", "absent.png"], "out", r"absent\.png: no such photo"),
        (["a.png", "folder.png"], "out", r"folder\.png: there is no readable image"),
        (["a.png", "none-*.png"], "out", r"none-\*\.png: there is no readable image"),
        (["a.png", "b.png"], "-", "standard output takes one photo, not 2"),
        (["a.png", "sub/A.png"], "out", r"would both become A\.png"),
        (["a.png", "a.png"], "out", r"would both become a\.png"),
        (["a.png"], "notes", "notes: is a file"),
        (["a.png"], "notes.txt", r"notes\.txt: is a file"),
        (["a.png"], "folder.png", r"folder\.png: is a folder"),
        (["b.jpg"], "b.png", "would be overwritten"),
        (["b.png", "a.png"], ".", "would be overwritten"),
    ],
)
def test_everything_is_checked_before_any_work(tmp_path: Path, photos: Sequence[str], out: str, sentence: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "sub").mkdir()
    files = {
        photo(tmp_path / "a.png", 16, 16),
        photo(tmp_path / "b.jpg", 16, 16),
        photo(tmp_path / "sub/A.png", 16, 16),
    }
    for name in ("notes", "notes.txt"):
        (tmp_path / name).write_text("kept")
        files.add(tmp_path / name)
    (tmp_path / "b.png").symlink_to(tmp_path / "b.jpg")
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(UserError, match=sentence):
        stylize_photos(MODEL, [tmp_path / name for name in photos], out if out == "-" else tmp_path / out)
    assert not (tmp_path / "out").exists()
    assert before == {path: path.read_bytes() for path in files}

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tinystyle.config import NetworkConfig
from tinystyle.model_file import LoadedModel
from tinystyle.nets import build_network
from tinystyle.stylize import stylize_photos

CONFIG = NetworkConfig(alpha=0.1)
MODEL = LoadedModel(build_network(CONFIG).eval(), CONFIG, {})


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
    with pytest.raises(ValueError, match=r"^1 of 3 photos could not be stylised: .*bad\.jpg"):
        stylize_photos(MODEL, photos, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("photos", "out", "sentence"),
    [
        ([], "out", "no photos given"),
        (["a.png", "absent.png"], "out", r"absent\.png: no such photo"),
        (["a.png", "folder.png"], "out", r"folder\.png: is a folder"),
        (["a.png", "sub/A.png"], "out", r"would both become A\.png"),
        (["a.png", "a.png"], "out", r"would both become a\.png"),
        (["a.png"], "sub/A.png", "is a file; give a folder"),
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
    (tmp_path / "b.png").symlink_to(tmp_path / "b.jpg")
    before = {path: path.read_bytes() for path in files}
    with pytest.raises(ValueError, match=sentence):
        stylize_photos(MODEL, [tmp_path / name for name in photos], tmp_path / out)
    assert not (tmp_path / "out").exists()
    assert before == {path: path.read_bytes() for path in files}

"""Photographs of odd kinds through the four places that read them: ingest, styles, stylize and verify."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.models import save_untrained
from tests.support.odd_files import container_photos, tiff_photos
from tests.support.odd_photos import (
    HEIGHT,
    OddPhoto,
    deep_profile_photos,
    exif_photos,
    profile_photos,
    signal_photos,
)
from tests.support.refused_files import not_images, refused_files
from tinystyle.data.decode import decode_photo
from tinystyle.data.ingest import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.shards import ShardDataset
from tinystyle.styles import load_style
from tinystyle.stylize.sample_photos import verification_photos

pytestmark = pytest.mark.slow

GROUPS = (profile_photos, deep_profile_photos, signal_photos, exif_photos, container_photos, tiff_photos)
_JPEG = 4  # mean change in gray levels by a shard's JPEG of quality 95, of noise and dithering


@pytest.fixture(scope="module")
def photos() -> list[OddPhoto]:
    return [photo for group in GROUPS for photo in group()]


@pytest.fixture(scope="module")
def folder(photos: list[OddPhoto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd") / "photos"
    folder.mkdir()
    for photo in photos:
        (folder / photo.name).write_bytes(photo.data)
    return folder


def _off(pixels: np.ndarray, photo: OddPhoto) -> float:
    return float(np.abs(np.asarray(pixels, float) - np.rint(photo.expected)).max())


def test_i10_o1_o2_o6_o7_o9_r03_ingest(photos: list[OddPhoto], tmp_path: Path) -> None:
    refused = {**refused_files(), **not_images()}
    source = tmp_path / "source"
    source.mkdir()
    for name, data in {
        **{photo.name: photo.data for photo in photos},
        **{n: d for n, (d, _) in refused.items()},
    }.items():
        (source / name).write_bytes(data)
    ingest(str(source), str(tmp_path / "dataset"), size=HEIGHT, workers=2)
    manifest = Manifest.read(str(tmp_path / "dataset"))
    reasons = {entry.name: entry.reason for entry in manifest.quarantined}
    for name, (_, kind) in refused.items():
        assert kind.split(" ", 1)[1] in reasons.pop(name), name
    # The same picture in several files is one photo of a dataset.
    assert all(reason.startswith("duplicate of ") for reason in reasons.values()), reasons
    shards = ShardDataset(tmp_path / "dataset")
    by_name = {shards.name(index): shards.read(index) for index in range(len(shards))}
    assert len(by_name) >= 50
    stored = {photo.name: photo for photo in photos if photo.name in by_name}
    # Pixels before they became JPEG, to the level; those of the shard, to what JPEG leaves of noise.
    wrong = {name: _off(decode_photo(photo.data, HEIGHT), photo) for name, photo in stored.items()}
    assert {name: off for name, off in wrong.items() if off > stored[name].tolerance} == {}
    means = {name: float(np.abs(by_name[name] - photo.expected).mean()) for name, photo in stored.items()}
    assert {name: mean for name, mean in means.items() if mean > _JPEG} == {}


def test_i10_o1_o2_o6_o7_o9_r03_styles_and_verify(folder: Path, photos: list[OddPhoto]) -> None:
    wrong = {photo.name: _off(load_style(str(folder / photo.name), HEIGHT), photo) for photo in photos}
    assert {photo.name: wrong[photo.name] for photo in photos if wrong[photo.name] > photo.tolerance} == {}
    read = dict(verification_photos(str(folder), len(photos)))
    assert len(read) == len(photos) >= 50
    assert all(_off(np.asarray(read[photo.name]), photo) <= photo.tolerance for photo in photos)


def test_i10_o1_o2_o6_o7_o9_r03_stylize(photos: list[OddPhoto], tmp_path: Path) -> None:
    model = save_untrained(tmp_path / "model.safetensors")
    # Under names of their own, since some differ in their suffix alone.
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    for number, photo in enumerate(photos):
        (numbered / f"{number:03d}{Path(photo.name).suffix}").write_bytes(photo.data)
    command = [sys.executable, "-m", "tinystyle", "stylize", model, numbered, "--strength", "0"]
    done = subprocess.run([*map(str, command), "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrong = {}
    for number, photo in enumerate(photos):
        result = np.asarray(Image.open(tmp_path / "out" / f"{number:03d}.png").convert("RGB"))
        if (off := _off(result, photo)) > photo.tolerance:
            wrong[photo.name] = off
    assert wrong == {}
    assert done.stderr.count("its ICC profile is damaged and was ignored") >= 2


def test_i12_a_folder_of_other_files_says_what_they_are(tmp_path: Path) -> None:
    model = save_untrained(tmp_path / "model.safetensors")
    (tmp_path / "phone").mkdir()
    for name in ("a.dng", "a.mov", "a.psd"):
        (tmp_path / "phone" / name).write_bytes(refused_files()[name][0])
    command = [sys.executable, "-m", "tinystyle", "stylize", model, str(tmp_path / "phone")]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True)
    assert done.returncode == 2
    assert "a.dng (a camera raw file (DNG); export it" in done.stderr
    assert "a.mov (a QuickTime movie (MOV, also of a live photo); save a frame" in done.stderr
    assert "a.psd (a Photoshop document (PSD); export it as JPEG or PNG)" in done.stderr

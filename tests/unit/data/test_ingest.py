from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from tests.badimages import encoded, make_bad_images, photograph, png_bomb, save_photographs
from tinystyle.data.decode import Unusable
from tinystyle.data.decode_pool import DecodePool
from tinystyle.data.ingest import dataset_for_training, ingest
from tinystyle.data.shards import ShardDataset

SHARED_PHOTOS = Path(__file__).parents[4] / "shared" / "data" / "photos"
INGEST = "import sys; from tinystyle.data.ingest import ingest; ingest(*sys.argv[1:3], size=64, photos_per_shard=8)"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingest") / "photos"
    save_photographs(folder, 50)
    (folder / "photo-0011.jpg").write_bytes(b"")
    (folder / "photo-0030.jpg").write_bytes((folder / "photo-0002.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def reference(photos: Path) -> dict[str, bytes]:
    """What an uninterrupted ingest with one worker makes of `photos`."""
    folder = photos.parent / "reference"
    ingest(str(photos), str(folder), size=64, workers=1, photos_per_shard=8)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_bad_images_among_good_ones(tmp_path: Path) -> None:
    expected = make_bad_images(tmp_path / "photos")
    assert sum(reason is not None for reason in expected.values()) >= 26
    calls: list[tuple[int, int, int]] = []
    manifest = ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=96, progress=lambda *c: calls.append(c))
    reasons = {entry.name: entry.reason for entry in manifest.quarantined}
    assert manifest.count + len(manifest.quarantined) == len(expected)
    wrong = {
        name: (reason, reasons.get(name))
        for name, reason in expected.items()
        if (name in reasons) != (reason is not None) or not reasons.get(name, "").startswith(reason or "")
    }
    assert wrong == {}
    shards = ShardDataset(tmp_path / "out")
    assert [shards.name(i) for i in range(len(shards))] == sorted(name for name in expected if expected[name] is None)
    assert all(min(shards.read(i).shape[:2]) == 96 for i in range(len(shards)))
    assert calls[-1] == (len(expected), len(expected), len(reasons))
    deep = next(i for i in range(len(shards)) if shards.name(i) == "16 bit.png")
    assert 120 < shards.read(deep).mean() < 135


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="the shared photographs are not here")
def test_real_photos(tmp_path: Path) -> None:
    for photo in sorted(SHARED_PHOTOS.iterdir())[:24]:
        shutil.copy(photo, tmp_path)
    manifest = ingest(str(tmp_path), str(tmp_path.parent / "real"), size=192)
    assert (manifest.count, manifest.quarantined) == (24, [])


def test_result_does_not_depend_on_the_workers(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    ingest(str(photos), str(tmp_path / "out"), size=64, workers=3, photos_per_shard=8)
    assert content(tmp_path / "out") == reference


def test_killed_at_random_times_the_bytes_are_the_same(
    photos: Path, reference: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dice = random.Random(5)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", INGEST, str(photos), str(out)])
        while len(list(out.glob("shard-*"))) < min(2 * kills + 1, 5) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(dice.random() * 0.05)
        workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert psutil.wait_procs(workers, timeout=10)[1] == [], "workers outlive the ingest"
    assert kills >= 1
    standing = {name: (out / name).stat().st_mtime_ns for name in content(out) if name.startswith("shard")}
    ingest(str(photos), str(out), size=64, workers=2, photos_per_shard=8)
    assert content(out) == reference
    assert standing == {name: (out / name).stat().st_mtime_ns for name in standing}


def test_a_grown_source_adds_shards_and_rewrites_none(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    save_photographs(photos, 12, first=10)
    ingest(str(photos), str(out), size=64, photos_per_shard=8)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("shard-*")}
    save_photographs(photos, 5, first=5)
    (photos / "zz.jpg").write_bytes((photos / "photo-0012.jpg").read_bytes())
    manifest = ingest(str(photos), str(out), size=64, photos_per_shard=8)
    assert {name: ((out / name).read_bytes(), (out / name).stat().st_mtime_ns) for name in before} == before
    assert manifest.count == 17
    assert [shard.file for shard in manifest.shards] == [f"shard-0000{i}.arrow" for i in range(3)]
    assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [("zz.jpg", "duplicate of photo-0012.jpg")]
    names = [ShardDataset(out).name(i) for i in range(17)]
    assert names == [f"photo-{i:04d}.jpg" for i in (*range(10, 22), *range(5, 10))]
    after = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert ingest(str(photos), str(out), size=64, photos_per_shard=8) == manifest
    assert after == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_as_good_as_a_folder(photos: Path, tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", compression) as archive:
        for path in sorted(photos.iterdir(), reverse=True):
            archive.write(path, path.name)
    manifest = ingest(str(tmp_path / "photos.zip"), str(tmp_path / "out"), size=64, workers=1)
    shards, folder = ShardDataset(tmp_path / "out"), ShardDataset(photos.parent / "reference")
    assert manifest.quarantined == folder.manifest.quarantined
    assert [(shards.name(i), shards.jpeg(i)) for i in range(len(shards))] == [
        (folder.name(i), folder.jpeg(i)) for i in range(len(folder))
    ]


def test_named_photos_are_held_out(tmp_path: Path) -> None:
    names = save_photographs(tmp_path / "photos", 5)
    manifest = ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=64, held_out=names[1:3])
    assert manifest.held_out == names[1:3]
    assert ShardDataset(tmp_path / "out").held_out == [1, 2]
    with pytest.raises(ValueError, match="holds out other photos"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "out"), size=64)
    with pytest.raises(ValueError, match=r"holds no photo 'nobody\.jpg' to hold out"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "new"), size=64, held_out=["nobody.jpg"])


def test_unreadable_photos_are_tried_again(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    names = save_photographs(photos, 3)
    (photos / names[1]).chmod(0)
    command = [sys.executable, "-c", INGEST, str(photos), str(out)]
    if os.geteuid() == 0:  # whom permissions do not bind
        without = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
        if shutil.which("setpriv") is None or subprocess.run([*command[:3], "true"], check=False).returncode:
            pytest.skip("root cannot give up reading what it likes here")
    first = b""
    for _ in range(2):
        subprocess.run(command, check=True)
        manifest = ShardDataset(out).manifest
        assert [(entry.name, entry.reason) for entry in manifest.quarantined] == [
            (names[1], "unreadable: permission denied")
        ]
        assert manifest.to_json() == (first or manifest.to_json())
        first = manifest.to_json()
    (photos / names[1]).chmod(0o600)
    manifest = ingest(str(photos), str(out), size=64)
    assert (manifest.count, manifest.quarantined, len(manifest.shards)) == (3, [], 2)


def test_full_disk(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=220k", "none", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        with pytest.raises(OSError, match=r"cannot be written: No space left on device; what stands there is whole"):
            ingest(str(photos), str(tmp_path / "out"), size=64, photos_per_shard=8)
        standing = content(tmp_path / "out")
        assert standing
        assert standing.items() < reference.items()
        subprocess.run(["mount", "-o", "remount,size=8m", str(tmp_path)], check=True)
        ingest(str(photos), str(tmp_path / "out"), size=64, photos_per_shard=8)
        assert content(tmp_path / "out") == reference
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_worker_that_dies_costs_nothing(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    def kill_once(done: int, _total: int, _quarantined: int) -> None:
        if done == 10:
            assert _kill_workers()

    ingest(str(photos), str(tmp_path / "out"), size=64, workers=2, photos_per_shard=8, progress=kill_once)
    assert content(tmp_path / "out") == reference


def test_a_photo_that_crashes_the_decoder_is_refused() -> None:
    done = threading.Event()

    def kill_all() -> None:
        while not done.wait(0.01):
            _kill_workers()

    with DecodePool(1) as pool:
        killer = threading.Thread(target=kill_all)
        killer.start()
        try:
            with pytest.raises(Unusable, match="decoder crashed"):
                pool.prepare(png_bomb(12_000, rows=12_000), 64)
        finally:
            done.set()
            killer.join()
        assert pool.prepare(encoded(photograph(1), "JPEG"), 64).height == 64


def _kill_workers() -> int:
    workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
    for worker in workers:
        worker.kill()
    return len(workers)


def test_refuses_what_is_no_place_for_this_dataset(photos: Path, reference: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, data in reference.items():
        (out / name).write_bytes(data)
    with pytest.raises(ValueError, match="holds photos of size 64, not 65"):
        ingest(str(photos), str(out), size=65)
    save_photographs(tmp_path / "others", 1)
    with pytest.raises(ValueError, match=f"was ingested from {photos}"):
        ingest(str(tmp_path / "others"), str(out), size=64)
    with pytest.raises(ValueError, match="holds files but no shard dataset"):
        ingest(str(photos), str(tmp_path / "others"), size=64)
    with pytest.raises(ValueError, match="lies inside the source"):
        ingest(str(photos), str(photos / "shards"), size=64)
    with pytest.raises(ValueError, match="is a file; give a folder"):
        ingest(str(photos), str(tmp_path / "others" / "photo-0000.jpg"), size=64)
    assert content(out) == reference
    (out / "shard-00001.arrow").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"shard-00001\.arrow is damaged"):
        ingest(str(photos), str(out), size=64)


def test_two_at_once_are_refused(photos: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def another(done: int, _total: int, _quarantined: int) -> None:
        if done == 1:
            with pytest.raises(ValueError, match="is being written by another ingest") as caught:
                ingest(str(photos), str(tmp_path / "out"), size=64)
            refused.append(str(caught.value))

    ingest(str(photos), str(tmp_path / "out"), size=64, progress=another)
    assert len(refused) == 1


def test_no_usable_photo(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_text("no photo")
    with pytest.raises(ValueError, match="holds no usable photo: 2 not an image"):
        ingest(str(tmp_path / "photos"), str(tmp_path / "out"))
    assert len(ShardDataset(tmp_path / "out").manifest.quarantined) == 2


def test_dataset_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    save_photographs(photos, 4)
    first = dataset_for_training(str(photos), 64)
    stamp = (first / "manifest.json").stat().st_mtime_ns
    assert dataset_for_training(str(photos), 64) == first
    assert (first / "manifest.json").stat().st_mtime_ns == stamp
    assert dataset_for_training(str(first), 64) == first
    assert dataset_for_training(str(photos), 80) != first
    save_photographs(photos, 1, first=4)
    assert len(ShardDataset(dataset_for_training(str(photos), 64))) == 5
    with pytest.raises(ValueError, match="holds photos of size 64, 80 is asked for; ingest with `size` 80"):
        dataset_for_training(str(first), 80)
    with pytest.raises(ValueError, match="no such file or folder"):
        dataset_for_training(str(tmp_path / "nothing"), 64)


def test_when_it_has_failed_nothing_of_it_reads_on(photos: Path, tmp_path: Path) -> None:
    def fail(done: int, _total: int, _quarantined: int) -> None:
        if done == 3:
            raise RuntimeError("enough")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="enough") as caught:
        ingest(str(photos), str(tmp_path / "out"), size=64, workers=1, progress=fail)
    assert caught.tb, "whoever holds the error holds what it left"
    assert set(threading.enumerate()) <= before

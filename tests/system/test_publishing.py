"""Publishing through a real object store: the same promises as of a folder, conditional writes and presigned links."""

from __future__ import annotations

import errno
import hashlib
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.files import contents
from tests.support.servers import ObjectStore, RangeServer
from tests.support.stories import WRITES, complete, kill_after, race
from tinystyle.errors import UserError
from tinystyle.release.publishing import check_published, presign, publish_folder, read_index, rollback
from tinystyle.release.publishing.places import open_place


@pytest.fixture
def root(object_store: ObjectStore) -> str:
    """A prefix that nothing is published under."""
    return f"s3://{object_store.bucket}/{uuid.uuid4().hex}"


def test_published_rolled_back_and_refused(assembled: Path, retrained: Path, root: str) -> None:
    assert read_index(root).styles == ()
    publish_folder(assembled, style="mosaic", version=1, root=root)
    publish_folder(retrained, style="mosaic", version=2, root=root)
    index = read_index(root)
    publish_folder(assembled, style="mosaic", version=1, root=root)
    assert read_index(root) == index
    with pytest.raises(UserError, match="1/SHA256SUMS holds other bytes"):
        publish_folder(retrained, style="mosaic", version=1, root=root)
    assert rollback("mosaic", root).version == 1
    for version in (1, 2):
        check_published("mosaic", root, version)


def test_one_of_many_conditional_writers_wins(root: str) -> None:
    place = open_place(root)
    assert place.read("index.json") is None
    assert not place.write("index.json", b"new", '"no such revision"')
    assert place.write("index.json", b"first", None)
    assert not place.write("index.json", b"second", None)
    stored = place.read("index.json")
    assert stored is not None
    assert stored[0] == b"first"
    assert place.write("index.json", b"second", stored[1])
    assert not place.write("index.json", b"third", stored[1])
    assert place.read("index.json") != stored


def test_threads_share_a_place(root: str) -> None:
    place = open_place(root)

    def write_all(writer: int) -> list[bool]:
        return [place.write(f"mosaic/{number}", bytes([writer]), None) is not None for number in range(4)]

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(write_all, range(8)))
    assert [sum(writers) for writers in zip(*written, strict=True)] == [1, 1, 1, 1]


def test_publishers_at_once_all_land(assembled: Path, root: str) -> None:
    race(assembled, root)


@pytest.mark.parametrize("writes", [1, 5, WRITES - 1])
def test_killed_and_called_again_it_completes(writes: int, assembled: Path, root: str) -> None:
    kill_after(writes, assembled, root)
    assert complete(assembled, root).version == 1


def test_a_link_is_enough_for_a_person_until_it_expires(assembled: Path, root: str) -> None:
    (file, *_) = publish_folder(assembled, style="mosaic", version=1, root=root).files
    with urllib.request.urlopen(presign(f"{root}/{file.url}", 60)) as answer:
        data = answer.read()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    with urllib.request.urlopen(presign(f"{root}/{file.preview}", 60)) as answer:
        assert answer.headers["Content-Type"] == "image/png"
    with urllib.request.urlopen(presign(f"{root}/index.json", 60)) as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        open_until(time.monotonic() + 20, presign(f"{root}/{file.url}", 1))
    refused.value.close()


def open_until(deadline: float, link: str) -> None:
    """Open a link again and again, until it is refused or `deadline`."""
    while time.monotonic() < deadline:
        urllib.request.urlopen(link).close()
        time.sleep(0.2)


def test_the_downloaded_file_is_verified_against_the_published_network(
    assembled: Path, root: str, run: Run, photo_folder: Path, tmp_path: Path
) -> None:
    (file, *_) = publish_folder(assembled, style="mosaic", version=1, root=root).files
    download = tmp_path / file.name
    urllib.request.urlretrieve(presign(f"{root}/{file.url}", 60), download)
    code, output, _ = run(
        "verify",
        download,
        "--against",
        f"{root}/mosaic/1/model.safetensors",
        "--photos",
        photo_folder,
        "--max-photos",
        2,
    )
    assert code == 0
    assert "verified: " in output


def test_what_the_store_refuses_is_one_sentence(
    root: str, run: Run, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complaint() -> str:
        code, output, error = run("published", "--root", root)
        assert (code, output, error.count("\n")) == (2, "", 1)
        return error

    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "the secret key does not fit the access key; correct AWS_SECRET_ACCESS_KEY" in complaint()
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        assert "the server does not know the access key; correct AWS_ACCESS_KEY_ID" in complaint()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
        began = time.monotonic()
        assert f"127.0.0.1:{free_port}" in complaint()
        assert time.monotonic() - began < 20


def test_an_answer_that_breaks_off_names_the_file(no_object_store: pytest.MonkeyPatch) -> None:
    no_object_store.setenv("AWS_ACCESS_KEY_ID", "any")
    no_object_store.setenv("AWS_SECRET_ACCESS_KEY", "any")
    with RangeServer(b"half", ranges=False, break_every=1).running() as address:
        no_object_store.setenv("AWS_ENDPOINT_URL", address.removesuffix("/photos.zip"))
        with pytest.raises(OSError, match="not completed") as broken:
            open_place("s3://models").read("index.json")
    assert (broken.value.errno, broken.value.filename) == (errno.EIO, "s3://models/index.json")


@pytest.mark.parametrize("writes", [0, 1, 5, WRITES - 1, WRITES])
def test_killed_and_called_again_it_completes_in_a_folder(writes: int, assembled: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    kill_after(writes, assembled, str(root))
    assert complete(assembled, str(root)).version == 1
    assert len(contents(root)) == WRITES, "nothing is left over"

"""What stands in the place of a file is named wherever a file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mutilations import LFS_POINTER
from tinystyle.coreml.evaluator.model import read_model
from tinystyle.data.images import Unusable, decode, open_rgb
from tinystyle.data.placeholders import placeholder
from tinystyle.errors import UserError
from tinystyle.model_file import load_model
from tinystyle.nets.perceptual.weights import load_weights


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("style.mlmodel", read_model),
        ("model.safetensors", load_model),
        ("last.ckpt", load_model),
        ("vgg16.pth", lambda path: load_weights("vgg16", str(path))),
        ("vgg16.safetensors", lambda path: load_weights("vgg16", str(path))),
        ("photo.jpg", lambda path: open_rgb(path.read_bytes(), str(path))),
    ],
)
def test_o14_a_git_lfs_pointer_is_named(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / name
    path.write_bytes(LFS_POINTER)
    with pytest.raises(UserError, match=rf"{name}:? (is )?a Git LFS pointer, not the file itself; .*`git lfs pull`"):
        read(path)


def test_o14_a_pointer_among_photos_is_named_in_their_list() -> None:
    with pytest.raises(Unusable, match=r"^not an image: a Git LFS pointer"):
        decode(LFS_POINTER)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\r\n", "a Git LFS pointer"),
        (b"../.git/annex/objects/a/b/SHA256E-s1--c.mlmodel\n", "a git-annex pointer"),
        (b"<!DOCTYPE html>\n<title>Not found</title>", "a web page"),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>', "a web page"),
        (b"", "an empty file"),
        (b"\x08\x04", None),
        (b"version of something else", None),
        (b"\xff\xd8\xff\xe0", None),
    ],
)
def test_placeholders_by_their_beginning(data: bytes, expected: str | None) -> None:
    found = placeholder(data)
    assert found is None if expected is None else found is not None and found.startswith(expected)

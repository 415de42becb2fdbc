"""Files whose network is whole, in a container that is not: the manifest, the members and the weight file of a package."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.mutilations import (
    LFS_POINTER,
    Mutilation,
    manifest,
    specification,
    specification_file,
    weight_file,
    weights,
)

pytestmark = pytest.mark.slow  # each is verified, in half a second

WEIGHTS = "com.apple.CoreML/weights"


def root(content: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = content["itemInfoEntries"][content["rootModelIdentifier"]]
    return entry


def weights_item(content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return next((key, entry) for key, entry in content["itemInfoEntries"].items() if entry["path"] == WEIGHTS)


def text(name: str, content: str | bytes) -> Mutilation:
    def change(path: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (path / name).write_bytes(data) if path.is_dir() else path.write_bytes(data)

    return change


def other_identifiers(content: dict[str, Any]) -> dict[str, Any]:
    names = {
        old: f"{number}0FA9A2E-1F4B-4C6E-9B0C-53C0D6E6B6F{number}"
        for number, old in enumerate(content["itemInfoEntries"])
    }
    items = {names[old]: entry for old, entry in reversed(content["itemInfoEntries"].items())}
    return {
        "rootModelIdentifier": names[content["rootModelIdentifier"]],
        "itemInfoEntries": items,
        "fileFormatVersion": "1.0.0",
    }


def another_item(path: Path) -> None:
    (path / "Data" / "com.example").mkdir()
    (path / "Data" / "com.example" / "notes.txt").write_text("notes")
    item = {"path": "com.example/notes.txt", "name": "notes.txt", "author": "com.example", "description": "notes"}
    manifest(lambda content: content["itemInfoEntries"].update({"7A9E0FA9-0000-4C6E-9B0C-53C0D6E6B6F7": item}))(path)


def moved_root(path: Path) -> None:
    """The model elsewhere in the package, where the manifest says that it is."""
    shutil.copytree(path / "Data" / "com.apple.CoreML", path / "Data" / "com.apple.CoreML2")
    shutil.rmtree(path / "Data" / "com.apple.CoreML")

    def edit(content: dict[str, Any]) -> None:
        for entry in content["itemInfoEntries"].values():
            entry["path"] = entry["path"].replace("CoreML/", "CoreML2/")

    manifest(edit)(path)


def another_root(path: Path) -> None:
    """A second, damaged model in the package, to which the manifest leads."""
    file = specification_file(path)
    spoilt = file.with_name("other.mlmodel")
    spoilt.write_bytes(file.read_bytes())
    manifest(lambda content: root(content).update(path="com.apple.CoreML/other.mlmodel"))(path)


def doubled_key(path: Path) -> None:
    content = json.loads((path / "Manifest.json").read_text())
    doubled = f'{{"fileFormatVersion": "1.0.0", {json.dumps(content)[1:]}'
    (path / "Manifest.json").write_text(doubled)


def linked(path: Path) -> None:
    outside = path.with_name("weights-elsewhere.bin")
    weight_file(path).rename(outside)
    weight_file(path).symlink_to(outside)


def renamed(name: str) -> Mutilation:
    return lambda path: path.rename(path.with_name(name))


def in_a_package(path: Path) -> Path:
    """A neural network in a package, which Core ML takes."""
    package = path.with_name("network.mlpackage")
    (package / "Data" / "com.apple.CoreML").mkdir(parents=True)
    path.rename(package / "Data" / "com.apple.CoreML" / "model.mlmodel")
    item = {
        "path": "com.apple.CoreML/model.mlmodel",
        "name": "model.mlmodel",
        "author": "com.apple.CoreML",
        "description": "",
    }
    content = {"fileFormatVersion": "1.0.0", "itemInfoEntries": {"A": item}, "rootModelIdentifier": "A"}
    (package / "Manifest.json").write_text(json.dumps(content))
    return package


def out_of_its_package(path: Path) -> Path:
    file = path.with_name("program.mlmodel")
    shutil.copyfile(specification_file(path), file)
    shutil.copytree(weight_file(path).parent, path.with_name("weights"))
    return file


def field(position: int, form: str, change: Callable[[int], int]) -> Mutilation:
    """Change a number in the weight file."""

    def edit(content: bytearray) -> None:
        (value,) = struct.unpack_from(form, content, position)
        struct.pack_into(form, content, position, change(value))

    return weights(edit)


def references(spec: Any) -> list[Any]:
    main = spec.mlProgram.functions["main"]
    steps = main.block_specializations[main.opset].operations
    values = [*(step.attributes["val"] for step in steps if step.type == "const"),
              *(value for step in steps if step.type != "const" for value in step.attributes.values())]  # fmt: skip
    return [value.blobFileValue for value in values if value.HasField("blobFileValue")]


def exchanged(spec: Any) -> None:
    first, second = references(spec)[1:3]
    first.offset, second.offset = second.offset, first.offset


CASES: dict[str, tuple[str, Mutilation, str | None]] = {
    # whole ones
    "as it was, mlmodel-32": ("mlmodel-32", lambda _: None, None),
    "as it was, mlmodel-8": ("mlmodel-8", lambda _: None, None),
    "as it was, mlmodel-4": ("mlmodel-4", lambda _: None, None),
    "as it was, mlpackage-16": ("mlpackage-16", lambda _: None, None),
    "as it was, mlpackage-8": ("mlpackage-8", lambda _: None, None),
    "as it was, mlpackage-6": ("mlpackage-6", lambda _: None, None),
    "as it was, int4": ("mlpackage-int4", lambda _: None, None),
    "as it was, enumerated": ("enumerated", lambda _: None, None),
    "as it was, ranged": ("ranged", lambda _: None, None),
    "opened in Finder": ("mlpackage-8", text(".DS_Store", b"\0\0\0\1Bud1"), None),
    "a copy from a Mac's disk": ("mlpackage-8", text("._Manifest.json", b"\0\5\26\7"), None),
    "another item": ("mlpackage-8", another_item, None),
    "other identifiers": ("mlpackage-8", manifest(other_identifiers), None),
    "elsewhere in the package": ("mlpackage-8", moved_root, None),
    "a network in a package": ("mlmodel-8", in_a_package, None),
    "a name with a blank": ("mlmodel-8", renamed("starry sky.mlmodel"), None),
    # names
    "no suffix": ("mlmodel-8", renamed("style"), r"does not end in \.mlmodel"),
    "another suffix": ("mlpackage-8", renamed("style.bundle"), r"does not end in \.mlpackage"),
    "a file called package": ("mlmodel-8", renamed("style.mlpackage"), r"does not end in \.mlmodel"),
    "a program without its package": ("mlpackage-8", out_of_its_package, "in an .mlpackage only"),
    # placeholders
    "a pointer": ("mlmodel-8", text("", LFS_POINTER), "Git LFS pointer"),
    "an error page": ("mlmodel-8", text("", "<!DOCTYPE html><html>404</html>"), "a web page"),
    "an empty file": ("mlmodel-8", text("", b""), "an empty file"),
    "text": ("mlmodel-8", text("", "hello there"), "not a Core ML file"),
    "another type of model": ("mlmodel-8", text("", b"\x08\x04"), "holds no model"),
    "a pointer for the manifest": ("mlpackage-8", text("Manifest.json", LFS_POINTER), "Manifest.json is a Git LFS pointer"),
    "a pointer for the model": ("mlpackage-8", text("Data/com.apple.CoreML/model.mlmodel", LFS_POINTER), "Git LFS pointer"),
    "a pointer for the weights": (
        "mlpackage-8", lambda path: weight_file(path).write_bytes(LFS_POINTER) and None, r"weight\.bin is a Git LFS pointer",
    ),
    # the manifest
    "no manifest": ("mlpackage-8", lambda path: (path / "Manifest.json").unlink(), "has no Manifest.json"),
    "not JSON": ("mlpackage-8", text("Manifest.json", "{"), "Manifest.json cannot be read"),
    "a list": ("mlpackage-8", text("Manifest.json", "[]"), "lists no items"),
    "a key twice": ("mlpackage-8", doubled_key, "a key occurs twice"),
    "a later version": ("mlpackage-8", manifest(lambda c: c.update(fileFormatVersion="2.0.0")), "version '2.0.0'"),
    "no version": ("mlpackage-8", manifest(lambda c: c.pop("fileFormatVersion") and None), "version None"),
    "a version that is a number": ("mlpackage-8", manifest(lambda c: c.update(fileFormatVersion=1.0)), "version 1.0"),
    "no items": ("mlpackage-8", manifest(lambda c: c.pop("itemInfoEntries") and None), "lists no items"),
    "no root": ("mlpackage-8", manifest(lambda c: c.pop("rootModelIdentifier") and None), "names no root model"),
    "another root": ("mlpackage-8", manifest(lambda c: c.update(rootModelIdentifier="A")), "names no root model"),
    "weights as root": (
        "mlpackage-8", manifest(lambda c: c.update(rootModelIdentifier=weights_item(c)[0])), "root model .* is missing",
    ),
    "a second model as root": ("mlpackage-8", another_root, r"does not list .*model\.mlmodel"),
    "an absent item": (
        "mlpackage-8",
        manifest(lambda c: c["itemInfoEntries"].update(A=dict.fromkeys(("path", "name", "author", "description"), "a"))),
        "item Data/a is missing",
    ),
    "a path out of the package": ("mlpackage-8", manifest(lambda c: root(c).update(path="../../x.mlmodel")), "no path inside"),
    "an absolute path": ("mlpackage-8", manifest(lambda c: root(c).update(path="/etc/hosts")), "no path inside"),
    "no path": ("mlpackage-8", manifest(lambda c: root(c).pop("path") and None), "no path inside"),
    "an item without author": ("mlpackage-8", manifest(lambda c: root(c).pop("author") and None), "no author"),
    "an item without description": ("mlpackage-8", manifest(lambda c: root(c).pop("description") and None), "no description"),
    "an item twice": ("mlpackage-8", manifest(lambda c: c["itemInfoEntries"].update(A=dict(root(c)))), "under one name or path"),
    "weights not listed": (
        "mlpackage-8", manifest(lambda c: c["itemInfoEntries"].pop(weights_item(c)[0]) and None), "no item for",
    ),
    "weights of another name": ("mlpackage-8", manifest(lambda c: weights_item(c)[1].update(name="w")), "no item for"),
    # members
    "a stray file": ("mlpackage-8", text("Data/com.apple.CoreML/old.mlmodel", b"x"), "does not list .*old.mlmodel"),
    "a stray weight file": ("mlpackage-8", text(f"Data/{WEIGHTS}/old.bin", b"x"), "old.bin is used by nothing"),
    "a link": ("mlpackage-8", linked, "is a link"),
    "two files of one name": ("mlpackage-8", text("manifest.json", "{}"), "where case does not count|does not list manifest"),
    "no model": ("mlpackage-8", lambda path: specification_file(path).unlink(), "root model .* is missing"),
    "no weights": ("mlpackage-8", lambda path: weight_file(path).unlink(), r"weight\.bin is missing"),
    "no folder of weights": ("mlpackage-16", lambda path: shutil.rmtree(weight_file(path).parent), r"is missing"),
    # the weight file
    "empty weights": ("mlpackage-16", weights(lambda data: data.clear()), "an empty file"),
    "weights without their end": ("mlpackage-16", weights(lambda data: data.pop() and None), "damaged|ends within"),
    "bytes after the weights": ("mlpackage-8", weights(lambda data: data.extend(bytes(64) + b"x")), "after its last value"),
    "zeros after the weights": ("mlpackage-6", weights(lambda data: data.extend(bytes(640))), "after its last value"),
    "one value more": ("mlpackage-8", field(0, "<I", lambda count: count + 1), "ends before value"),
    "one value less": ("mlpackage-8", field(0, "<I", lambda count: count - 1), "after its last value"),
    "another version of weights": ("mlpackage-16", field(4, "<I", lambda _: 3), "header of another format|damaged"),
    "a header with more": ("mlpackage-16", field(40, "<Q", lambda _: 1), "header of another format"),
    "no sentinel": ("mlpackage-16", field(64, "<I", lambda _: 0), "damaged"),
    "a value of another type": ("mlpackage-8", field(68, "<I", lambda _: 3), "damaged|of another type"),
    "a longer value": ("mlpackage-16", field(72, "<Q", lambda size: size + 2), "stored with|damaged|another type or size"),
    "a value elsewhere": ("mlpackage-16", field(80, "<Q", lambda offset: offset + 64), "damaged|trained as"),
    "metadata with more": ("mlpackage-16", field(120, "<Q", lambda _: 1), "damaged metadata"),
    "a byte between values": (
        "mlpackage-int4",
        weights(lambda data: data.__setitem__(data.index(b"\xef\xbe\xad\xde", 128) - 1, 1)),
        "belong to nothing",
    ),
    "values exchanged": ("mlpackage-16", specification(exchanged), "trained as|stored with"),
    "a reference into a value": (
        "mlpackage-16", specification(lambda spec: setattr(references(spec)[0], "offset", 128)), "damaged|no value begins",
    ),
    "a reference out of the package": (
        "mlpackage-16",
        specification(lambda spec: setattr(references(spec)[0], "fileName", "weights/weight.bin")),
        "none of the package's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_container_is_judged_as_the_tools_judge_it(judge: Callable[..., None], name: str) -> None:
    judge(*CASES[name])

"""index.json as a program sees it, and which version is the one before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from tinystyle.coreml.sizes import ImageSizes
from tinystyle.errors import UserError
from tinystyle.release.publishing import Index, PublishedFile, PublishedVersion
from tinystyle.release.publishing.index import schema_json

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def version(number: int, style: str = "mosaic") -> PublishedVersion:
    prefix = f"{style}/{number}/"
    file = PublishedFile(
        name="mosaic-8.mlmodel", format="mlmodel", bits=8, bytes=9, sha256="a" * 64, sizes=ImageSizes.fixed(48, 32),
        minimum_ios=13, input="image", output="stylized", psnr=41.5,
        runtime="Core ML", platforms={"iOS": "13", "macOS": "10.15"}, verified_by="tinystyle's evaluator of Core ML files",
        url=prefix + "mosaic-8.mlmodel", card=prefix + "mosaic-8.mlmodel.md",
    )  # fmt: skip
    return PublishedVersion(
        style=style, version=number, published=NOON + timedelta(hours=number), files=(file,),
        swift=prefix + "StyleTransfer.swift", model=prefix + "model.safetensors", checksums=prefix + "SHA256SUMS",
    )  # fmt: skip


def told(story: str) -> Index:
    """An index after such a story: `1 2 b 3 =1` publishes 1 and 2, goes back, publishes 3, goes to 1."""
    index = Index()
    for word in story.split():
        style = index.style("mosaic")
        if word.isdecimal():
            index = index.with_version(version(int(word)), "test")
        else:
            assert style is not None
            target = style.before if word == "b" else int(word[1:])
            assert target is not None
            index = index.rolled_back(style, target, NOON + timedelta(days=1), "test")
    return index


@pytest.mark.parametrize(
    ("story", "current", "before"),
    [
        ("1", 1, None),
        ("1 2", 2, 1),
        ("2 1", 1, 2),
        ("1 2 3 b", 2, 1),
        ("1 2 3 b b", 1, None),
        ("1 2 3 b 4", 4, 2),  # not 3, which was rolled back
        ("1 2 3 b 4 b", 2, 1),
        ("1 2 3 =1", 1, None),
        ("1 2 b =2", 2, 1),
        ("1 2 1", 2, 1),  # published before: nothing happens
    ],
)
def test_the_version_before(story: str, current: int, before: int | None) -> None:
    style = told(story).style("mosaic")
    assert style is not None
    assert (style.current, style.before) == (current, before)


def test_nothing_of_other_styles_or_versions_is_lost() -> None:
    index = told("1 2 b").with_version(version(7, "aurora"), "test")
    assert [style.name for style in index.styles] == ["aurora", "mosaic"]
    mosaic = index.style("mosaic")
    assert mosaic is not None
    assert [entry.version for entry in mosaic.versions] == [2, 1]
    assert [(entry.action, entry.version, entry.reason) for entry in mosaic.history] == [
        ("publish", 1, "test"),
        ("publish", 2, "test"),
        ("rollback", 1, "test"),
    ]
    assert Index.parse(index.as_json(), "here") == index


def test_the_json_is_as_its_schema_says() -> None:
    schema = json.loads(schema_json())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(told("1 2 b").as_json())
    validator.validate(document)
    assert document["schema_version"] == 2
    assert document["styles"][0]["versions"][0]["files"][0]["sizes"]["choices"] == [[48, 32]]
    del document["styles"][0]["versions"][0]["files"][0]["sha256"]
    assert not validator.is_valid(document)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"schema_version": 2', '"schema_version": 3'),
        ('"current": 2', '"current": 3'),
        ('"version": 1,\n          "published"', '"version": 2,\n          "published"'),
        ('"reason"', '"future_field"'),
        ("{", "{{"),
    ],
)
def test_an_index_of_another_kind_is_refused(before: str, after: str) -> None:
    text = told("1 2").as_json().decode()
    assert before in text
    with pytest.raises(UserError, match=r"^here/index.json is damaged"):
        Index.parse(text.replace(before, after).encode(), "here/index.json")


def test_an_index_of_version_1_is_read_and_becomes_one_of_version_2() -> None:
    document = json.loads(told("1 2").as_json())
    document["schema_version"] = 1
    for published in document["styles"][0]["versions"]:
        for file in published["files"]:
            del file["runtime"], file["platforms"], file["verified_by"]
    assert Index.parse(json.dumps(document).encode(), "here/index.json") == told("1 2")

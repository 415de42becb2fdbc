"""Any photos in any number of partitions, in any order: the same dataset, with nothing lost and nothing twice."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.badimages import encoded, photograph
from tests.support.files import contents
from tests.support.properties import examples
from tinystyle.data.ingest import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import ingest_partition, merge_partitions, plan_partitions
from tinystyle.data.shards import ShardDataset

BAD = -1


@functools.cache
def file(content: int) -> bytes:
    """One of few small photos, or no photo."""
    return b"no photo" if content == BAD else encoded(photograph(content, 40, 36), "PNG")


@dataclass(frozen=True)
class Ingest:
    """Files by what they hold, and how they are ingested."""

    files: list[int]
    photos_per_shard: int
    order: list[int]
    """Of the partitions, from 1."""


@st.composite
def ingests(draw: st.DrawFn) -> Ingest:
    # The first is a photo, so that something is usable; with so few contents duplicates abound.
    files = [0, *draw(st.lists(st.integers(BAD, 5), min_size=1, max_size=20))]
    of = draw(st.integers(1, 4))
    return Ingest(files, draw(st.integers(1, 9)), draw(st.permutations(range(1, of + 1))))


def merged(source: Path, out: Path, case: Ingest, order: list[int]) -> Manifest:
    of = len(order)
    plan = plan_partitions(str(source), str(out), of, size=32, photos_per_shard=case.photos_per_shard)
    for index in order:
        ingest_partition(str(source), str(out), index, of, size=32, workers=1, photos_per_shard=case.photos_per_shard)
    return merge_partitions(plan)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties")


@examples(25)
@given(case=ingests())
def test_partitions_in_any_order_are_one_ingest(scratch: Path, case: Ingest) -> None:
    root = scratch / str(len(list(scratch.iterdir())))
    source = root / "photos"
    source.mkdir(parents=True)
    for number, content in enumerate(case.files):
        (source / f"{number:03d}.png").write_bytes(file(content))
    names = {path.name for path in source.iterdir()}

    whole = ingest(str(source), str(root / "whole"), size=32, workers=1, photos_per_shard=case.photos_per_shard)
    manifest = merged(source, root / "one", case, case.order)
    again = merged(source, root / "other", case, sorted(case.order))
    assert contents(root / "one") == contents(root / "other"), "the order does not matter"
    assert again == manifest
    assert (manifest.count, manifest.quarantined, manifest.held_out) == (
        whole.count,
        whole.quarantined,
        whole.held_out,
    )

    shards = ShardDataset(root / "one")
    shards.verify()
    kept = [shards.name(index) for index in range(len(shards))]
    assert len(kept) == len(set(kept)) == len({*case.files} - {BAD}), "each picture once"
    assert len({shards.jpeg(index) for index in range(len(shards))}) == len(kept)
    assert sorted([*kept, *(entry.name for entry in manifest.quarantined)]) == sorted(names), "nothing is lost"

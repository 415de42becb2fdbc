"""A machine whose clock is an hour off: a store refuses its signatures, and the sentence says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY
from tests.support.servers import ObjectStore

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)  # Debian's package libfaketime
CALLS = """
from tinystyle.data import storage
from tinystyle.errors import is_temporary, sentence
from tinystyle.release.publishing.places import open_place

for call in (
    lambda: storage.read_bytes("s3://coco/clock"),
    lambda: storage.write_bytes("s3://coco/clock", b""),
    lambda: open_place("s3://coco").write("clock", b"", None),
):
    try:
        call()
    except OSError as error:
        print(is_temporary(error), sentence(error))
"""


@pytest.mark.parametrize("shift", ["+3600", "-3600"])
def test_a_store_refuses_a_wrong_clock_in_one_sentence(shift: str, object_store: ObjectStore) -> None:
    if LIBRARY is None:
        pytest.skip("libfaketime is not here")
    wrong = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": shift, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    environment = os.environ | object_store.environment | wrong
    ended = subprocess.run(
        [sys.executable, "-c", CALLS], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    # Temporary: a clock is set again, and a training goes on until then.
    assert ended.stdout.splitlines() == [
        "True s3://coco/clock: forbidden; check the keys, their permissions, and this machine's clock",
        "True s3://coco/clock: the difference between the request time and the server's time is too large.",
        "True s3://coco/clock: this machine's clock and the store's differ by too much; set the wrong one",
    ]

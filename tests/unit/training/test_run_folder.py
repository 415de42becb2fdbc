"""What keeps a training going, and what does not."""

from __future__ import annotations

import errno

import pytest

from tinystyle.training.run_folder import store_may_be_away


@pytest.mark.parametrize(
    ("place", "error", "goes_on"),
    [
        ("s3://bucket/run", OSError(errno.EIO, "Slow down."), True),
        ("s3://bucket/run", PermissionError(errno.EACCES, "denied"), False),
        ("s3://bucket/run", FileNotFoundError(errno.ENOENT, "no such bucket"), False),
        ("/run", OSError(errno.ENOSPC, "No space left on device"), False),
        (None, OSError(errno.EIO, "Input/output error"), False),
        ("s3://bucket/run", RuntimeError("a bug"), False),
    ],
)
def test_only_a_store_that_does_not_answer_is_waited_for(
    place: str | None, error: Exception, goes_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def write() -> bool:
        with store_may_be_away(place, "this checkpoint is not kept") as kept:
            raise error
        return kept.is_set()

    if goes_on:
        assert not write()
        assert caplog.messages == [
            f"{place} does not answer; training continues, this checkpoint is not kept: Slow down."
        ]
    else:
        with pytest.raises(type(error)):
            write()


def test_what_was_written_is_known() -> None:
    with store_may_be_away("s3://bucket/run", "") as kept:
        assert not kept.is_set()
    assert kept.is_set()

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from tinystyle.data.processes import uninterrupted


class AskedError(Exception):
    pass


@pytest.fixture
def asked() -> Iterator[None]:
    """SIGTERM raises `AskedError`."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        raise AskedError

    before = signal.signal(signal.SIGTERM, ask)
    yield
    signal.signal(signal.SIGTERM, before)


def kill_in_block(other: threading.Thread, reached: list[bool]) -> None:
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pthread_kill(other.ident or 0, signal.SIGTERM)
        for _ in range(1000):
            pass
        reached.append(True)


@pytest.mark.usefixtures("asked")
def test_a_request_to_stop_waits_for_the_end_of_the_block_whichever_thread_receives_it() -> None:
    done, reached = threading.Event(), list[bool]()
    other = threading.Thread(target=done.wait)
    other.start()  # before the block, so without its mask, as the threads of numpy and torch
    try:
        with pytest.raises(AskedError):
            kill_in_block(other, reached)
    finally:
        done.set()
        other.join()
    assert reached


@pytest.mark.usefixtures("asked")
def test_after_the_block_requests_to_stop_are_heeded_at_once() -> None:
    with uninterrupted():
        pass
    with pytest.raises(AskedError):
        os.kill(os.getpid(), signal.SIGTERM)

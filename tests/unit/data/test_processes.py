import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from tinystyle.data.processes import uninterrupted


class Place:
    """Where the main thread is, and where it was whenever SIGTERM was handled."""

    inside = False

    def __init__(self) -> None:
        self.when_asked: list[bool] = []

    def asked(self, _number: int, _frame: FrameType | None) -> None:
        self.when_asked.append(self.inside)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    before = signal.signal(signal.SIGTERM, place.asked)
    yield place
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def other() -> Iterator[threading.Thread]:
    """A thread that runs before the block, so without its mask, as those of numpy and torch."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield thread
    done.set()
    thread.join()


@pytest.mark.parametrize("to_main", [True, False])
def test_a_request_to_stop_waits_for_the_end_of_the_block_whichever_thread_receives_it(
    to_main: bool, place: Place, other: threading.Thread
) -> None:
    thread = threading.main_thread() if to_main else other
    with uninterrupted():
        place.inside = True
        signal.pthread_kill(thread.ident or 0, signal.SIGTERM)
        time.sleep(0.2)
        place.inside = False
    wait_for(place)
    assert place.when_asked == [False]


def test_after_the_block_requests_to_stop_are_heeded_as_before(place: Place, other: threading.Thread) -> None:
    with uninterrupted():
        pass
    place.inside = True
    signal.pthread_kill(other.ident or 0, signal.SIGTERM)
    wait_for(place)
    assert place.when_asked == [True]


def wait_for(place: Place) -> None:
    deadline = time.monotonic() + 20
    while not place.when_asked and time.monotonic() < deadline:
        time.sleep(0.01)

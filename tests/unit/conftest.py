"""Unit tests start no process and open no connection: what a test here does of it fails with a word on where it belongs."""

from __future__ import annotations

import multiprocessing.process
import os
import platform
import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.decoding import DecodeHere


def _refuse(what: str) -> Callable[..., Any]:
    def refused(*arguments: Any, **_: Any) -> Any:
        asked = [argument for argument in arguments if not isinstance(argument, subprocess.Popen)]
        raise AssertionError(f"a unit test {what}, {asked}; it belongs to tests/system")

    return refused


def _local_only(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: socket.socket, *arguments: Any) -> Any:
        if self.family != socket.AF_UNIX:
            _refuse("uses the network")(*arguments)
        return method(self, *arguments)

    return call


@contextmanager
def _alone() -> Iterator[None]:
    platform.processor()  # asks a process, once; packages want it when they are imported
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", _refuse("starts a process"))
        patch.setattr(multiprocessing.process.BaseProcess, "start", _refuse("starts a process"))
        for name in ("fork", "posix_spawn", "posix_spawnp", "system"):
            patch.setattr(os, name, _refuse("starts a process"))
        for name in ("connect", "connect_ex", "bind"):
            patch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))
        # What the library starts processes for is done without, or is not to be known.
        patch.setattr("tinystyle.data.ingest.DecodePool", DecodeHere)
        patch.setattr("tinystyle.training.lineage._commit", lambda: "")
        patch.setattr("tinystyle.training.standby.Standby.start", lambda *_: None)
        yield


# Not a fixture: those of a wider scope, which a test here may be the first to want, are set up before it. Of the hooks,
# these are called for the tests of this folder alone.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    with _alone():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    with _alone():
        return (yield)

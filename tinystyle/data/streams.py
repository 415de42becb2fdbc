"""What a process makes of the surroundings it is started in: its standard streams, and the proxies of its environment."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

__all__ = ["forget_empty_terminal", "settle"]

_NOBODY_READS = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ESHUTDOWN}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def settle() -> None:
    """Make this process work in whatever environment it was started; called first by each program."""
    forget_empty_terminal()
    _keep_streams_open()
    _reach_loopback_directly()


def forget_empty_terminal() -> None:
    """Remove a width or height of 0 from the environment, at which rich's consoles, once made, print nothing."""
    for name in ("COLUMNS", "LINES"):
        if not os.environ.get(name, "").strip("0"):
            os.environ.pop(name, None)


def _keep_streams_open() -> None:
    """Give this process three standard streams, and let it go on when nobody reads them anymore.

    A descriptor that the parent has closed would be the number of the next file that is opened, and what a library
    writes to stderr would go to that file. A closed terminal or pipe is no reason to end a training. What a stream's
    encoding lacks is written with backslashes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, all_errors in (("stdout", False), ("stderr", True)):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if not isinstance(stream, _Unread):
            setattr(sys, name, _Unread(stream, all_errors))


class _Unread:
    """A text stream from which what nobody reads is lost, without an error.

    Args:
        stream: the stream.
        all_errors: whether any OSError is passed over, such as that of a full disk, as fits messages but not results.
    """

    def __init__(self, stream: Any, all_errors: bool) -> None:
        self._stream = stream
        self._all_errors = all_errors

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._pass_over(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._pass_over(error)

    def _pass_over(self, error: OSError) -> None:
        if not self._all_errors and error.errno not in _NOBODY_READS:
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _reach_loopback_directly() -> None:
    """Exempt this machine from the proxies of the environment: no proxy elsewhere can reach its loopback interface."""
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    exempt = [host.strip() for host in given.split(",") if host.strip()]
    value = ",".join([*exempt, *(host for host in _LOOPBACK if host not in exempt)])
    if "*" not in exempt:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = value

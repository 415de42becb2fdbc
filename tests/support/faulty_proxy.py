"""An HTTP proxy of the loopback before a server such as an object store, which fails as networks and stores do.

A client uses the proxy's address as the server's. Requests go on as they came, Host included, which S3 signs.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support.servers import serving

__all__ = ["FAULTS", "FaultyProxy"]

FAULTS = ("500", "503", "reset", "lost answer", "half an answer", "delay")
"""`reset`: the request goes no further. `lost answer`: it does, and is done, but the connection breaks before its answer.
`half an answer`: it breaks in the middle of the body, or before the answer if that has none."""
_ERRORS = {"500": (500, "InternalError", "We encountered an internal error."), "503": (503, "SlowDown", "Slow down.")}
_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "expect"}


class FaultyProxy:
    """Injects faults into a share of the requests; the schedule depends on the seed and the requests alone.

    Args:
        target: address of the server, http://HOST:PORT.
        rate: share of the requests that meet a fault, 0 to 1.
        seed: of the schedule.
        faults: the kinds that occur.
        delay: seconds of a delay.

    Attributes:
        address: that of the proxy, while it runs.
        away_after: number of requests after which `away` is set; None for never.
        away_seconds: time after which it is cleared again; None for never.
        away: set, no request is answered: each connection breaks at once.
        injected: how often each fault has occurred.
        requests: method and path of every request, faulty or not.
    """

    def __init__(
        self, target: str, rate: float = 0.0, seed: int = 0, faults: Sequence[str] = FAULTS, delay: float = 0.5
    ) -> None:
        self.target, self.rate, self.seed, self.faults, self.delay = target, rate, seed, faults, delay
        self.address = ""
        self.away_after: int | None = None
        self.away_seconds: float | None = None
        self.away = threading.Event()
        self.injected: Counter[str] = Counter()
        self.requests: list[str] = []
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve until the block ends; yields the address."""
        owner = self

        class Handler(_Handler):
            proxy = owner

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that hang up
        with serving(server, poll_seconds=0.05) as self.address:
            yield self.address

    def back(self) -> None:
        """Answer again, from now on for good."""
        self.away_after = None
        self.away.clear()

    def fault(self, method: str, path: str) -> str | None:
        """Choose what happens to a request: a fault, or None."""
        key = f"{method} {path.partition('?')[0]}"
        with self._lock:
            if self.away_after is not None and len(self.requests) >= self.away_after and not self.away.is_set():
                self.away.set()
                if self.away_seconds is not None:
                    threading.Timer(self.away_seconds, self.back).start()
            self.requests.append(f"{method} {path}")
            self._times[key] += 1
            chance = random.Random(f"{self.seed} {key} {self._times[key]}")
            fault = chance.choice(self.faults) if chance.random() < self.rate else None
            if fault:
                self.injected[fault] += 1
        return fault


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self._server = HTTPConnection(urlsplit(self.proxy.target).netloc, timeout=120)

    def finish(self) -> None:
        self._server.close()
        super().finish()

    def _serve(self) -> None:
        if self.proxy.away.is_set():
            return self._break()
        body = self._body()
        fault = self.proxy.fault(self.command, self.path)
        if fault == "reset" or self.proxy.away.is_set():
            return self._break()
        if fault in _ERRORS:
            return self._refuse(*_ERRORS[fault])
        if fault == "delay":
            time.sleep(self.proxy.delay)
        answer, data = self._ask(body)
        if self.proxy.away.is_set() or fault == "lost answer" or (fault == "half an answer" and len(data) < 2):
            return self._break()
        self._answer(answer, data[: len(data) // 2] if fault == "half an answer" else data)
        if fault == "half an answer":
            self._break()
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _ask(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        kept = [(name, value) for name, value in self.headers.items() if name.lower() not in _OF_ONE_CONNECTION]
        for attempt in range(2):
            try:
                self._server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in kept:
                    if name.lower() != "content-length":
                        self._server.putheader(name, value)
                if body or "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
                    self._server.putheader("Content-Length", str(len(body)))
                self._server.endheaders(body or None)
                answer = self._server.getresponse()
                return answer, answer.read()
            except (OSError, HTTPException):
                self._server.close()  # the server may have closed an idle connection
                if attempt:
                    raise
        raise AssertionError

    def _answer(self, answer: HTTPResponse, data: bytes) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_ONE_CONNECTION | {"content-length"}:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") or (None if answer.status == 204 else str(len(data)))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break(self) -> None:
        """Reset the connection."""
        with suppress(OSError):
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


for _method in ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"):
    setattr(_Handler, f"do_{_method}", _Handler._serve)

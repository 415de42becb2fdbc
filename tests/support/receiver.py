"""An HTTP server of the loopback that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.servers import serving

__all__ = ["Receiver", "running_receiver"]


class Receiver:
    """Where it is, what it got, and what it answers."""

    def __init__(self) -> None:
        self.address = ""
        self.bodies: list[bytes] = []
        self.status = 200


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Take POST requests until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as receiver.address:
        yield receiver

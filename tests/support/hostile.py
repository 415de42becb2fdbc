"""Servers that mean harm, on the loopback: they note what they are asked, and answer with redirects, without end, or slowly."""

from __future__ import annotations

import io
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from PIL import Image

from tests.support.servers import serving

__all__ = ["HostileServer", "bomb_png"]


def bomb_png(side: int) -> bytes:
    """A PNG of a few bytes whose header promises `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300), 80).convert("RGB").save(file, "PNG")
    return file.getvalue()


class HostileServer:
    """Serves /to?ADDRESS (a redirect), /loop, /endless, /drip, /forbidden, and files: an image, and others that are none."""

    def __init__(self, redirects: Mapping[str, str] | None = None) -> None:
        self.redirects = {"/loop": "/loop", **(redirects or {})}
        """Where further paths lead."""
        self.asked: list[str] = []
        self.sent = 0
        self.port = 0
        self._stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[HostileServer]:
        """Serve on a port of the loopback."""
        owner = self
        fixed = {
            "/image.png": _picture(),
            "/page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
            "/page.html": b"<!doctype html><html><body>Sign in</body></html>",
            "/bomb.png": bomb_png(60_000),
            "/empty": b"",
        }

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                owner.asked.append(self.path)
                path, _, query = self.path.partition("?")
                with suppress(ConnectionError):
                    if path == "/to":
                        self._head(302, Location=unquote(query))
                    elif path in owner.redirects:
                        self._head(302, Location=owner.redirects[path])
                    elif path == "/forbidden":
                        self._head(403)
                    elif path == "/endless":
                        self._head(200)
                        owner.send(self, bytes(1 << 20), 0)
                    elif path == "/drip":
                        self._head(200)
                        owner.send(self, b"x", 0.1)
                    elif path in fixed:
                        self._head(200, **{"Content-Length": str(len(fixed[path]))})
                        self.wfile.write(fixed[path])
                    else:
                        self._head(404)

            def _head(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        with serving(server, poll_seconds=0.02):
            try:
                yield self
            finally:
                self._stopping.set()

    def send(self, handler: BaseHTTPRequestHandler, data: bytes, pause: float) -> None:
        """Send the same bytes again and again until the client has enough."""
        while not self._stopping.is_set():
            handler.wfile.write(data)
            self.sent += len(data)
            time.sleep(pause)

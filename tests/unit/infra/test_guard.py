"""Which requests of a browser the guard refuses, and that a program's pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from infra.guard import Guard, refusal

HOSTS = {"127.0.0.1", "localhost", "mlflow.example.com"}
HERE = {"host": "127.0.0.1:5000"}
OPENS = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    "headers",
    [
        HERE,
        {"host": "localhost:5000"},
        {"host": "mlflow.example.com"},
        {"host": "MLFLOW.example.com:443", "origin": "https://mlflow.example.com:443", "sec-fetch-site": "same-origin"},
        {"host": "127.0.0.1:5000", "origin": "http://localhost:5000", "sec-fetch-site": "same-site"},
        HERE | {"sec-fetch-site": "none"},
        HERE | OPENS | {"sec-fetch-site": "cross-site"},
    ],
)
def test_what_passes(headers: Mapping[str, str]) -> None:
    assert refusal("GET", headers, HOSTS) is None


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "host name"),
        ({"host": ""}, "host name"),
        ({"host": "rebound.example:5000"}, "host name"),
        ({"host": "127.0.0.1.rebound.example:5000"}, "host name"),
        ({"host": "127.0.0.1:5000/path"}, "host name"),
        ({"host": "rebound.example@127.0.0.1.x"}, "host name"),
        ({"host": "[::1"}, "host name"),
        ({"host": "127.0.0.1:port"}, "host name"),
        (HERE | {"origin": "https://page.example"}, "origins"),
        (HERE | {"origin": "null"}, "origins"),
        (HERE | {"origin": ""}, "origins"),
        (HERE | {"origin": "http://127.0.0.1:8888"}, "origins"),
        (HERE | {"origin": "http://127.0.0.1"}, "origins"),
        (HERE | {"origin": "http://127.0.0.1:5000.page.example"}, "origins"),
        (HERE | {"sec-fetch-site": "cross-site"}, "sites"),
        (HERE | {"sec-fetch-site": "same-site"}, "sites"),
        (HERE | OPENS | {"sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe"}, "sites"),
    ],
)
def test_what_is_refused(headers: Mapping[str, str], why: str) -> None:
    reason = refusal("GET", headers, HOSTS)
    assert reason is not None
    assert why in reason


def test_another_sites_form_may_not_be_sent() -> None:
    assert refusal("POST", HERE | OPENS | {"sec-fetch-site": "cross-site"}, HOSTS)


def answers(scope: dict[str, Any]) -> list[Message]:
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "passed"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(Guard(app, HOSTS, probes=("/health",)), scope, receive, send)
    return sent


def test_the_guard_lets_through_or_closes() -> None:
    foreign, ours = [(b"host", b"rebound.example")], [(b"host", b"127.0.0.1:1")]
    assert answers({"type": "lifespan"}) == [{"type": "passed"}]
    assert answers({"type": "http", "method": "GET", "path": "/", "headers": ours}) == [{"type": "passed"}]
    assert answers({"type": "http", "method": "GET", "path": "/health", "headers": foreign}) == [{"type": "passed"}]
    assert answers({"type": "http", "method": "GET", "path": "/", "headers": foreign})[0]["status"] == 403
    (closed,) = answers({"type": "websocket", "path": "/", "headers": foreign})
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)

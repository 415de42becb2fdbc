"""Files from the web: bounded in bytes, time and redirects, and from permitted servers only, also by name and redirect."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile import HostileServer
from tests.support.servers import RangeServer
from tinystyle.data import storage
from tinystyle.data.ingest import ingest
from tinystyle.data.permission import ALLOW
from tinystyle.errors import UserError, sentence
from tinystyle.styles import Style


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer().running() as server:
        yield server


@pytest.fixture
def inner() -> Iterator[HostileServer]:
    """A server of the machine's own, which nobody from outside may reach."""
    with HostileServer().running() as server:
        yield server


def at(server: HostileServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


@pytest.fixture
def closed(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The operator lists `server` alone."""
    monkeypatch.setenv(ALLOW, f"http://127.0.0.1:{server.port}")
    return monkeypatch


def told(error: BaseException) -> str:
    text = sentence(error)
    assert text is not None
    assert "\n" not in text
    return text


def test_the_user_of_a_machine_reads_its_servers(server: HostileServer, tmp_path: Path) -> None:
    assert Style.load(at(server, "/image.png")).name == "image"
    assert Style.load(at(server, "/to?/image.png")).at(256).shape == (256, 256, 3), "a redirect is followed"
    storage.copy(at(server, "/image.png"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == storage.read_bytes(at(server, "/image.png"))
    assert storage.exists(at(server, "/image.png"))
    assert not storage.exists(at(server, "/none"))


def test_closed_reads_what_is_listed_and_nothing_else(
    server: HostileServer, inner: HostileServer, closed: pytest.MonkeyPatch
) -> None:
    assert Style.load(at(server, "/image.png")).name == "image"
    with pytest.raises(UserError) as caught:
        storage.read_bytes(at(inner, "/image.png"))
    assert told(caught.value) == (
        f"{at(inner, '/image.png')}: leads to 127.0.0.1, which is not a public address; only TINYSTYLE_ALLOW, set by the "
        "operator, opens it"
    )
    for read in (storage.exists, lambda uri: ingest(uri, "/nowhere/out")):
        with pytest.raises(UserError, match="not a public address"):
            read(at(inner, "/image.png"))
    closed.setenv(ALLOW, "")  # a connection of before is not used again
    with pytest.raises(UserError, match="not a public address"):
        storage.read_bytes(at(server, "/image.png"))
    assert inner.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "localhost", "LOCALHOST",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("closed")
def test_every_spelling_of_the_loopback(host: str, server: HostileServer, inner: HostileServer) -> None:
    for uri in (f"http://{host}:{inner.port}/image.png", at(server, f"/to?http://{host}:{inner.port}/image.png")):
        with pytest.raises((UserError, OSError)) as caught:
            storage.read_bytes(uri)
        assert re.search("not a public address|not a web address|cannot connect", told(caught.value))
    assert inner.asked == []


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.5", "100.100.100.200", "192.168.1.1", "168.63.129.16"])
@pytest.mark.usefixtures("closed")
def test_no_redirect_into_the_network(address: str, server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*arguments: Any) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr("tinystyle.data.web.socket.socket", connect)
    with pytest.raises((UserError, AssertionError)):
        storage.read_bytes(f"http://{address}/latest/meta-data/")
    monkeypatch.undo()
    monkeypatch.setenv(ALLOW, f"http://127.0.0.1:{server.port}")
    with pytest.raises(UserError, match=f"leads to {address}, which is not a public address"):
        storage.read_bytes(at(server, f"/to?http://{address}/latest/meta-data/"))


def test_the_user_too_is_not_led_to_the_metadata_of_a_machine(server: HostileServer) -> None:
    with pytest.raises(UserError, match=r"leads to 169\.254\.169\.254"):
        storage.read_bytes(at(server, "/to?http://169.254.169.254/latest/meta-data/"))


@pytest.mark.usefixtures("closed")
def test_a_name_is_judged_by_what_it_resolves_to_each_time(
    inner: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    known = socket.getaddrinfo

    def rebinding(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "paintings.example":
            return known(host, *arguments, **options)
        asked.append(host)
        address = "93.184.215.14" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, inner.port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    asked.append("the first answer was for someone who checked beforehand")
    with pytest.raises(UserError, match=r"paintings\.example.*leads to 127\.0\.0\.1"):
        storage.read_bytes(f"http://paintings.example:{inner.port}/image.png")
    assert inner.asked == []


def test_a_server_that_is_listed_by_name(inner: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW, f"file:/data, http://localhost:{inner.port}")
    assert Style.load(f"http://localhost:{inner.port}/image.png").name == "image"
    with pytest.raises(UserError, match="not a public address"):
        storage.read_bytes(f"http://localhost:{inner.port + 1}/image.png")


def peak_bytes() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def test_a_body_without_end_takes_bounded_memory(server: HostileServer, tmp_path: Path) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak_bytes()
    with pytest.raises(UserError, match="is larger than 64 MB; give a smaller file"):
        Style.load(at(server, "/endless"))
    assert peak_bytes() - before < 300_000_000
    assert server.sent < 200_000_000
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(64_000_001)
    with pytest.raises(UserError, match="is larger than 64 MB"):
        Style.load(str(big))
    with pytest.raises(UserError, match="is a device, not a file"):
        Style.load("/dev/zero")


def test_a_slow_body_takes_bounded_time(server: HostileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinystyle.styles.load.LIMIT", (64_000_000, 0.7))
    started = time.monotonic()
    with pytest.raises(UserError, match=r"bytes came within 0\.7 s, and then no end"):
        Style.load(at(server, "/drip"))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/loop", "redirects more than 4 times"),
        ("/to?ftp://example.org/a", "not a web address"),
        ("/to?file:///etc/passwd", "not a web address"),
        ("/to?http://[bad/", "not a web address"),
        ("/forbidden", "the server answered 403 Forbidden"),
        ("/none", "no such file"),
        ("/empty", "is an empty file"),
        ("/page.svg", "is an SVG"),
        ("/page.html", "is a web page"),
        ("/bomb.png", "has more than 178 million pixels"),
    ],
)
def test_what_is_no_image_is_one_sentence_without_the_signature(path: str, said: str, server: HostileServer) -> None:
    signed = f"{path}{'&' if '?' in path else '?'}sig=SECRET"
    with pytest.raises(UserError, match=said) as caught:
        Style.load(at(server, signed).replace("//", "//user:SECRET@", 1))
    assert "SECRET" not in told(caught.value)


def test_a_part_of_a_file_is_not_larger_than_asked(server: HostileServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"parts of a file|cannot be read|no such file"):
        ingest(at(server, "/endless"), str(tmp_path / "out"))
    assert server.sent < 50_000_000
    with RangeServer(bytes(5000)).running() as uri, pytest.raises(UserError, match="is not a readable zip file"):
        ingest(uri, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()

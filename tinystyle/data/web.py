"""Reads files over http and https: bounded in bytes, in time and in redirects, from servers that are permitted only.

Every address is judged when it is connected to, after name resolution and for each redirect, so that neither a name that
resolves to something else the second time nor a redirect leads to where `permission` forbids.
"""

from __future__ import annotations

import asyncio
import errno
import io
import socket
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from fsspec.asyn import sync
from fsspec.implementations.http import HTTPFileSystem
from fsspec.spec import AbstractBufferedFile

from tinystyle.data.addresses import shown
from tinystyle.data.permission import Permission
from tinystyle.errors import UserError

__all__ = ["Limit", "NoRangesError", "NotPermittedError", "WebFileSystem", "read", "save"]

MAX_REDIRECTS = 4
MAX_RANGE_BYTES = 1 << 28
"""Largest part of a file that is read at once; the directory of COCO's largest zip takes 12 MB."""
_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=60)
_CHUNK = 1 << 16
_TEMPORARY = {408, 425, 429}


class Limit(NamedTuple):
    """How much of a file is read, and for how long."""

    bytes: int
    seconds: float


class NotPermittedError(UserError):
    """A server that may not be contacted; the message does not name the address that led to it."""


class NoRangesError(ValueError):
    """The server sends a whole file where a part of it was asked for."""


class WebFileSystem(HTTPFileSystem):  # type: ignore[misc]
    """fsspec's file system with sessions that judge every address, and with parts of files that cannot be larger than asked.

    Args:
        permission: which servers may be contacted.
    """

    cachable = True

    def __init__(self, permission: Permission) -> None:
        super().__init__(get_client=_session, client_kwargs={"permission": permission})
        self.permission = permission

    def _open(self, path: str, mode: str = "rb", **options: Any) -> AbstractBufferedFile:
        return AbstractBufferedFile(self, path, mode, **options)  # reads by `_cat_file`

    async def _cat_file(self, url: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        assert start is not None
        assert end is not None
        if end - start > MAX_RANGE_BYTES:
            raise UserError(f"{shown(url)}: asks for {end - start:,} bytes at once; download the file")
        sink = io.BytesIO()
        headers = {"Range": f"bytes={start}-{end - 1}"}
        await _receive(self, url, Limit(end - start, float(_TIMEOUT.total or 0)), sink, headers)
        return sink.getvalue()


def read(uri: str, limit: Limit) -> bytes:
    """Return the content of a file.

    Raises:
        UserError: it is over the limit, or not on a permitted server.
        OSError: it is missing or cannot be read; a ConnectionError may pass.
    """
    sink = io.BytesIO()
    _fetch(uri, limit, sink)
    return sink.getvalue()


def save(uri: str, path: Path, limit: Limit) -> None:
    """Write the content of a file to a local one; errors as in `read`."""
    with path.open("wb") as file:
        _fetch(uri, limit, file)


def _fetch(uri: str, limit: Limit, sink: IO[bytes]) -> None:
    filesystem = WebFileSystem(Permission.given())
    sync(filesystem.loop, _receive, filesystem, uri, limit, sink)


async def _receive(
    filesystem: WebFileSystem, url: str, limit: Limit, sink: IO[bytes], headers: dict[str, str] | None = None
) -> None:
    """Write the body of an answer to `sink`, but never more than the limit allows."""
    session = await filesystem.set_session()
    name = shown(url)
    too_large = f"{name}: is larger than {limit.bytes / 1e6:,.0f} MB; give a smaller file"
    received = 0
    try:
        async with (
            asyncio.timeout(limit.seconds),
            session.get(filesystem.encode_url(url), headers=headers, max_redirects=MAX_REDIRECTS) as response,
        ):
            _check_status(response.status, response.reason, name)
            if headers and response.status != 206:
                raise NoRangesError("the server does not serve parts of a file")
            if (response.content_length or 0) > limit.bytes:
                raise UserError(too_large)
            async for chunk in response.content.iter_chunked(_CHUNK):
                received += len(chunk)
                if received > limit.bytes:
                    raise UserError(too_large)
                sink.write(chunk)
    except NotPermittedError as error:
        raise NotPermittedError(f"{name}: {error}") from error
    except TimeoutError as error:
        raise UserError(
            f"{name}: {received:,} bytes came within {limit.seconds:g} s, and then no end; give a faster server"
        ) from error
    except aiohttp.ClientError as error:
        _explain(error, name)


def _check_status(status: int, reason: str | None, name: str) -> None:
    answer = f"the server answered {status} {reason or ''}".rstrip()
    if status in (404, 410):
        raise FileNotFoundError(errno.ENOENT, "no such file", name)
    if status in (401, 403):
        raise PermissionError(errno.EACCES, answer, name)
    if status >= 500 or status in _TEMPORARY:
        raise ConnectionError(errno.EIO, answer, name)
    if status >= 300:
        raise UserError(f"{name}: {answer}")


def _explain(error: aiohttp.ClientError, name: str) -> NoReturn:
    """Raise an error whose text has no address with a query, as those of aiohttp have."""
    if isinstance(error, aiohttp.TooManyRedirects):
        raise UserError(f"{name}: redirects more than {MAX_REDIRECTS} times; give the last address") from error
    if isinstance(error, aiohttp.InvalidURL | aiohttp.RedirectClientError | aiohttp.NonHttpUrlClientError):
        raise UserError(f"{name}: leads to something that is not a web address") from error
    if isinstance(error, aiohttp.ClientConnectorError):
        raise ConnectionError(error.errno or errno.EIO, _reason(error.os_error), name) from error
    raise ConnectionError(errno.EIO, f"the answer broke off ({type(error).__name__})", name) from error


def _reason(error: OSError) -> str:
    return f"cannot connect: {error.strerror or error}"


class _Resolver(AbstractResolver):
    """Resolves names, and refuses those that have an address that is not permitted."""

    def __init__(self, gate: _Gate) -> None:
        self._gate, self._resolver = gate, DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            self._gate.judge(host, port, each["host"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _Gate:
    """Judges addresses before a name is used, and again when a socket is made for an address."""

    def __init__(self, permission: Permission) -> None:
        self._permission = permission
        self._listed: set[tuple[str, int]] = set()
        """Addresses of servers that the operator lists by name."""

    def judge(self, host: str, port: int, address: str) -> None:
        if refusal := self._permission.refusal(host, port, address):
            raise NotPermittedError(refusal)
        if self._permission.lists(host, port):
            self._listed.add((address, port))

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if (address[0], address[1]) not in self._listed:
            self.judge(address[0], address[1], address[0])  # an address that was given as such is not resolved
        return socket.socket(family, kind, protocol)


async def _session(loop: asyncio.AbstractEventLoop, permission: Permission) -> aiohttp.ClientSession:
    gate = _Gate(permission)
    connector = aiohttp.TCPConnector(resolver=_Resolver(gate), socket_factory=gate.socket)
    return aiohttp.ClientSession(
        loop=loop,
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_TIMEOUT,
        auto_decompress=False,  # a small body could become a large one
        headers={"Accept-Encoding": "identity"},
        trust_env=False,  # a proxy would resolve names out of sight
    )

"""Refuses what a browser sends for somebody else's page: under a foreign host name, or from a foreign origin.

A page that an operator happens to have open may send requests to servers on the operator's machine. Passwords that the
browser remembers go along, and a name that its owner points at 127.0.0.1 makes the page read the answers (DNS
rebinding). Programs that are no browsers send none of these headers but Host. Knows nothing of any particular server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["Guard", "refusal"]


def refusal(method: str, headers: Mapping[str, str], hosts: Collection[str]) -> str | None:
    """Return why a request is refused, or None.

    Args:
        method: HTTP method; GET for a websocket.
        headers: the request's headers, looked up by lower-case names.
        hosts: names, without ports, under which the server may be addressed.
    """
    host = _place(f"//{headers.get('host', '')}")
    if host is None or host[0] not in hosts:
        return "this server does not have that host name; see --allowed-hosts"
    origin = headers.get("origin")
    if origin is not None:
        asking = _place(origin)
        if asking is None or asking[0] not in hosts or asking[1] != host[1]:
            return "pages of other origins may not use this server"
    site = headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") and not (origin or _opens_a_page(method, headers)):
        return "pages of other sites may not use this server"
    return None


class Guard:
    """ASGI middleware that answers refused requests with 403, and closes refused websockets before they open."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], probes: Collection[str] = ()) -> None:
        """Guard `app`, except for the paths in `probes`, which balancers ask under the address of a machine."""
        self._app, self._hosts, self._probes = app, hosts, probes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in self._probes:
            reason = refusal(scope.get("method", "GET"), Headers(scope=scope), self._hosts)
            if reason:
                refused: ASGIApp = PlainTextResponse(reason + "\n", status_code=403)
                if scope["type"] == "websocket":
                    refused = WebSocketClose(code=1008, reason=reason)
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _place(address: str) -> tuple[str, int | None] | None:
    """Return host name and port of an origin, or of a Host header after two slashes; None if it has none."""
    try:
        parts = urlsplit(address)
        return (parts.hostname, parts.port) if parts.hostname and not parts.path else None
    except ValueError:
        return None


def _opens_a_page(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether the browser follows a link into a page of its own, which the other site cannot read."""
    navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return method in ("GET", "HEAD") and navigates

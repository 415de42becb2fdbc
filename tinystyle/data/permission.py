"""Where addresses may lead: which servers are contacted, and which local folders callers from elsewhere may name.

The operator's list is `TINYSTYLE_ALLOW`, such as "file:/data/styles,http://10.0.0.5:8000". Where the variable is not
set, addresses come from the user of this machine, who may read what the machine reads. Where it is set, even to "",
only public servers and what it lists are open. Deployed flows set it to "" if the operator has not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from tinystyle.data import addresses
from tinystyle.errors import UserError

__all__ = ["ALLOW", "Permission", "is_public"]

ALLOW = "TINYSTYLE_ALLOW"
"""Environment variable with what is open: local folders (file:/FOLDER), servers (http://HOST:PORT), or nothing."""

_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
_METADATA = {ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")}
"""Services of clouds for their own machines that are not link-local, as the others are; one looks public."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet, also if it is an IPv4 one inside an IPv6 one."""
    return all(
        ip.is_global and not ip.is_multicast and ip not in _METADATA and (ip.version == 4 or ip in _UNICAST)
        for ip in _meanings(address)
    )


@dataclass(frozen=True)
class Permission:
    """What is open."""

    closed: bool
    """Whether only public servers and the lists below are open."""
    folders: tuple[Path, ...] = ()
    servers: frozenset[tuple[str, int]] = frozenset()
    """(host or IP address, port)."""

    @classmethod
    def given(cls) -> Permission:
        """Return what the environment says now.

        Raises:
            UserError: it has an entry that is neither a folder nor a server.
        """
        return cls.parse(os.environ.get(ALLOW))

    @classmethod
    @lru_cache(maxsize=16)
    def parse(cls, text: str | None) -> Permission:
        """Return what a value of the variable says; None is a variable that is not set."""
        folders, servers = [], set()
        for entry in filter(None, (part.strip() for part in (text or "").split(","))):
            if entry.startswith("file:/"):
                folders.append(Path("/" + entry.removeprefix("file:").lstrip("/")).resolve())
            else:
                servers.add(_server(entry))
        return cls(text is not None, tuple(folders), frozenset(servers))

    def path(self, path: str | Path) -> bool:
        """Return whether a local path may be used; links are followed."""
        return not self.closed or any(_real(path).is_relative_to(folder) for folder in self.folders)

    def lists(self, host: str, port: int) -> bool:
        """Return whether the list names this server."""
        return (host.lower().rstrip("."), port) in self.servers

    def refusal(self, host: str, port: int, address: str) -> str | None:
        """Return why `host`, which is at the IP address `address`, may not be contacted; None if it may."""
        if self.lists(host, port) or self.lists(address, port):
            return None
        if any(ip.is_link_local or ip in _METADATA for ip in _meanings(address)) or (
            self.closed and not is_public(address)
        ):
            there = f"[{address}]" if ":" in address else address
            return f"leads to {there}, which is not a public address; only {ALLOW}, set by the operator, opens it"
        return None


def _server(entry: str) -> tuple[str, int]:
    import yarl

    try:
        url = yarl.URL(entry)
        host, port = url.host, url.port
    except ValueError:
        host, port = None, None
    if entry.partition("://")[0] not in (*addresses.WEB, "tcp") or not host or not port:
        raise UserError(f"{ALLOW}: {addresses.shown(entry)} is neither file:/FOLDER nor http://HOST:PORT")
    return host.lower().rstrip("."), port


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(addresses.local_path(path)))


def _meanings(address: str) -> list[IPv4Address | IPv6Address]:
    """Return an IP address with all IPv4 addresses that it may stand for."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    if ip in _NAT64:
        return [IPv4Address(int(ip) & 0xFFFFFFFF)]
    inside = [ip.sixtofour, *(ip.teredo or ())]
    return [ip, *(four for four in inside if four)]

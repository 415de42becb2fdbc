"""Checks of what is between machines: clocks, and the certificates of servers that are reached by https."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from tinystyle.commands.doctor.connections import LOOPBACK, SECONDS, addresses, ask, trusting
from tinystyle.commands.doctor.findings import Finding, fail, ok, skipped, warn

__all__ = ["certificates", "clock"]

SKEW_SECONDS, FATAL_SKEW_SECONDS = 30, 300
"""Difference between clocks that is worth a warning, and one with which schedules go wrong; S3 refuses requests from 15
minutes on."""
EXPIRY_DAYS = 21
_SYNCHRONIZE = "synchronize the clocks (`timedatectl set-ntp true`, or chrony)"


def clock(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Compare this machine's clock with the Date header of each server."""
    compared = False
    for name, address in addresses(environment).items():
        before = time.time()
        try:
            date = ask(environment, "GET", address).headers.get("date")
        except (httpx.HTTPError, httpx.InvalidURL):  # another check says so
            continue
        now = (before + time.time()) / 2
        try:
            skew = parsedate_to_datetime(date or "").timestamp() + 0.5 - now  # the header is cut to whole seconds
        except (TypeError, ValueError):
            continue
        compared = True
        text = f"the clock of {name} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        if abs(skew) > FATAL_SKEW_SECONDS:
            yield fail("clock", text, _SYNCHRONIZE)
        elif abs(skew) > SKEW_SECONDS:
            yield warn("clock", text, _SYNCHRONIZE)
        else:
            yield ok("clock", f"agrees with that of {name}")
    if not compared:
        yield skipped("clock", "no server to compare with")


def certificates(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the certificate of each https server is trusted and stays valid, and that no password travels openly."""
    for name, address in addresses(environment).items():
        if address.startswith("http://") and urlsplit(address).hostname not in LOOPBACK:
            text = f"{name} at {address} is reached without TLS, so its password can be read on the way"
            yield warn("certificates", text, "use https, or a tunnel as in docs/operator.md")
    secure = {name: address for name, address in addresses(environment).items() if address.startswith("https://")}
    if not secure:
        yield skipped("certificates", "no server is reached by https")
    for name, address in secure.items():
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or 443
        try:
            with (
                socket.create_connection((host, port), SECONDS) as plain,
                trusting(environment).wrap_socket(plain, server_hostname=host) as secured,
            ):
                yield _expiry(name, secured.getpeercert() or {})
        except ssl.SSLCertVerificationError as error:
            yield _untrusted(name, address, error.verify_message)
        except OSError as error:
            text = f"{name}: no TLS at {address}: {error.strerror or error}"
            yield fail("certificates", text, "see whether the server speaks https there")


def _expiry(name: str, certificate: Mapping[str, object]) -> Finding:
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    days = (ends - datetime.now(UTC)).days
    text = f"that of {name} ends on {ends:%Y-%m-%d}, in {days} days"
    return warn("certificates", text, "renew it") if days < EXPIRY_DAYS else ok("certificates", text)


def _untrusted(name: str, address: str, reason: str) -> Finding:
    if "expired" in reason:
        return fail("certificates", f"that of {name} at {address} has expired", "renew it and restart the server")
    remedy = (
        "use the host name for which it was made; if your own authority signed it, set SSL_CERT_FILE to its certificate"
    )
    return fail("certificates", f"that of {name} at {address} is not trusted: {reason}", remedy)

"""The servers that the environment names, and requests to them that take seconds at most."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from tinystyle.data.addresses import public

__all__ = ["LOOPBACK", "SECONDS", "addresses", "ask", "trusting", "why"]

SECONDS = 4.0
"""Time for a connection, and again for an answer."""
_TRUSTED = (
    "SSL_CERT_FILE",
    "PREFECT_API_SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "AWS_CA_BUNDLE",
)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the configured servers: prefect, mlflow and s3, each with its address without credentials."""
    tracking = environment.get("MLFLOW_TRACKING_URI", "")
    named = {
        "prefect": environment.get("PREFECT_API_URL", ""),
        "mlflow": tracking if tracking.startswith(("http://", "https://")) else "",
        "s3": environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or "",
    }
    return {name: public(address.rstrip("/")) for name, address in named.items() if address}


def trusting(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, and the certificate files that clients are told to."""
    context = ssl.create_default_context()
    for name in _TRUSTED:
        if environment.get(name):
            with suppress(OSError):  # absent or no certificate: the connection then says what is wrong
                context.load_verify_locations(environment[name])
    return context


def ask(environment: Mapping[str, str], method: str, address: str, **options: Any) -> httpx.Response:
    """Send one request.

    Raises:
        httpx.HTTPError: there is no answer.
        httpx.InvalidURL: the address is none.
    """
    direct = urlsplit(address).hostname in LOOPBACK  # whatever proxy the shell has
    context = trusting(environment) if address.startswith("https://") else True
    return httpx.request(method, address, timeout=SECONDS, trust_env=not direct, verify=context, **options)


def why(error: Exception) -> str:
    """Describe in a few words why there is no answer."""
    if isinstance(error, httpx.TimeoutException):
        return f"no answer within {SECONDS:g} s"
    text = " ".join(str(error).split())
    return "connection refused" if "Connection refused" in text else text[:200] or type(error).__name__

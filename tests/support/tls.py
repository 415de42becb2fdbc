"""HTTP servers of the loopback with a certificate, or a clock, of the test's choice."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.servers import serving

__all__ = ["certificate", "running_server"]


def certificate(folder: Path, days: float) -> Path:
    """A self-signed certificate of 127.0.0.1 that ends in `days`, with its key in the same file."""
    key, ends = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) + timedelta(days=days)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=90))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"certificate-{days:g}.pem"
    plain = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, plain[1], plain[0])
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file


@contextmanager
def running_server(pem: Path | None = None, ahead: timedelta = timedelta()) -> Iterator[str]:
    """Answer every request with 404, by https if there is a certificate, with a clock that is `ahead`; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815 - names of the standard library

        def date_time_string(self, timestamp: float | None = None) -> str:
            del timestamp
            return super().date_time_string((datetime.now(UTC) + ahead).timestamp())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that do not trust the certificate."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as address:
        yield address.replace("http://", "https://") if pem else address

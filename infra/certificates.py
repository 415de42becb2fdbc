"""Certificates of the stack's own: for the store's servers among themselves, and for its three public servers.

Each pair is signed by an authority of its own whose key is discarded at once: nobody can issue a second one. Knows
nothing of any particular server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra.settings import HOST, PUBLIC_CERTIFICATES, write_private

__all__ = ["AUTHORITY", "CERTIFICATE", "KEY", "expiry", "keep_public", "renew"]

AUTHORITY, CERTIFICATE, KEY = "authority.pem", "store.pem", "store.key"
"""Names of the store's files: the authority's certificate, and the certificate and private key that it signed."""
_VALID = timedelta(days=400)  # longer than any store runs without a restart, which renews them
_RENEWED_BEFORE = timedelta(days=60)
_CLOCK_SKEW = timedelta(hours=1)


def renew(folder: Path) -> None:
    """Write a new authority's certificate, and a key pair for servers and clients on this machine, into `folder`.

    The files are readable only by their owner; the folder is created, private, if absent.
    """
    _issue(folder, (AUTHORITY, CERTIFICATE, KEY), "tinystyle store", (HOST, "localhost"))


def expiry(folder: Path) -> datetime:
    """Return when the certificate that `renew` wrote ends.

    Raises:
        FileNotFoundError: there is none.
    """
    return x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes()).not_valid_after_utc


def keep_public(folder: Path, hosts: Sequence[str]) -> None:
    """Make the certificate of the public servers, unless `folder` has one for `hosts` that is good for two months more.

    Clients on other machines have a copy of its authority, so it is not renewed with every start.
    """
    wanted = [str(_name_in_certificate(host).value) for host in hosts]
    with suppress(FileNotFoundError):
        present = x509.load_pem_x509_certificate((folder / PUBLIC_CERTIFICATES[1]).read_bytes())
        names = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        left = present.not_valid_after_utc - datetime.now(UTC)
        if [str(name.value) for name in names] == wanted and left > _RENEWED_BEFORE:
            return
    _issue(folder, PUBLIC_CERTIFICATES, "tinystyle", hosts)


def _issue(folder: Path, files: tuple[str, str, str], name: str, hosts: Sequence[str]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (f"{name} authority", name)
    )
    authority = (
        _builder(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(issuer, subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name_in_certificate(host) for host in hosts]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, content in zip(files, (authority.public_bytes(pem), certificate.public_bytes(pem), secret), strict=True):
        write_private(folder / file, content.decode())


def _name_in_certificate(host: str) -> x509.IPAddress | x509.DNSName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
    )

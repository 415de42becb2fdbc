"""The store's certificates: private, for this machine, and of an authority that is new each time."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from infra.certificates import AUTHORITY, CERTIFICATE, KEY, renew


def read(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def test_the_pair_belongs_together_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    renew(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {AUTHORITY, CERTIFICATE, KEY}, "not the authority's key"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    certificate = read(folder, CERTIFICATE)
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(read(folder, AUTHORITY))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert timedelta(days=390) < certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=410)


def test_another_start_trusts_none_of_the_last(tmp_path: Path) -> None:
    renew(tmp_path)
    last = read(tmp_path, CERTIFICATE)
    renew(tmp_path)
    with pytest.raises((ValueError, InvalidSignature)):
        last.verify_directly_issued_by(read(tmp_path, AUTHORITY))

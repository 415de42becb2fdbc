"""`stack health` says when the certificates among the store's servers end: nobody else would before they have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from infra import certificates
from infra.health import store_certificate


@pytest.mark.parametrize(("days", "status"), [(400, "ok"), (31, "ok"), (20, "warn"), (-1, "fail")])
def test_certificates_that_end_soon_are_said(
    days: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_VALID", timedelta(days=days, minutes=5))
    monkeypatch.setattr(certificates, "_CLOCK_SKEW", timedelta(days=2))
    certificates.renew(tmp_path / "certificates")
    finding = store_certificate(tmp_path)
    assert (finding.check, finding.status) == ("certificates", status)
    assert f"in {days} days" in finding.what or days < 0


def test_a_store_without_certificates(tmp_path: Path) -> None:
    assert store_certificate(tmp_path).status == "fail"

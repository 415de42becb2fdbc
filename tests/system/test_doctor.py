"""`tinystyle doctor` names each fault of a machine and of what is between machines, with what to do about it."""

from __future__ import annotations

import json
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Run
from tests.support.disks import small_disk
from tests.support.tls import certificate, running_server
from tinystyle.commands.doctor.findings import Check, Finding, healthy, ok, run_checks
from tinystyle.commands.doctor.machine import packages

SERVERS = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_PROFILE")


@pytest.fixture
def alone(no_object_store: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no server."""
    for name in SERVERS:
        no_object_store.delenv(name, raising=False)
    return no_object_store


def findings(run: Run, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code, and what `doctor --json` found."""
    code, output, error = run("doctor", "--json", *options)
    assert not error
    told = json.loads(output)
    assert told["healthy"] is (code == 0)
    return code, told["findings"]


def fault(run: Run, check: str) -> str:
    """The one fault of a check, with what to do; whoever has one exits with 1."""
    code, found = findings(run)
    (fault,) = (each for each in found if each["status"] == "fail" and each["check"] == check)
    assert code == 1
    assert fault["remedy"]
    return f"{fault['what']} -> {fault['remedy']}"


def test_nothing_configured_is_healthy(run: Run, alone: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    code, found = findings(run)
    assert code == 0, found
    status = {each["check"]: each["status"] for each in found}
    assert {name for name, each in status.items() if each == "skipped"} >= {
        "prefect",
        "mlflow",
        "s3",
        "clock",
        "certificates",
    }
    code, output, _ = run("doctor")
    assert code == 0
    assert "skipped prefect: PREFECT_API_URL is not set" in output
    assert output.splitlines()[-1].startswith("0 failed, ")


def test_a_full_disk(run: Run, alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        alone.setenv("TINYSTYLE_CACHE", str(disk))
        said = fault(run, "disk")
    assert said == f"cache: {disk} has 0.0 GB free -> make room, or set TINYSTYLE_CACHE to a folder on another disk"


def test_a_cache_that_cannot_be_written(run: Run, alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    alone.setenv("TINYSTYLE_CACHE", str(tmp_path / "file" / "cache"))
    said = fault(run, "disk")
    assert "file/cache cannot be written to (Not a directory)" in said
    assert "set TINYSTYLE_CACHE" in said


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("PREFECT_API_URL", "prefect", "cannot be reached: connection refused"),
        ("MLFLOW_TRACKING_URI", "mlflow", "cannot be reached: connection refused"),
        ("AWS_ENDPOINT_URL", "s3", "cannot be reached: Could not connect"),
    ],
)
def test_a_server_that_is_down(
    name: str, check: str, said: str, run: Run, alone: pytest.MonkeyPatch, free_port: int
) -> None:
    alone.setenv("AWS_ACCESS_KEY_ID", "any")
    alone.setenv("AWS_SECRET_ACCESS_KEY", "a secret key")
    alone.setenv(name, f"http://admin:password@127.0.0.1:{free_port}")
    if name != "AWS_ENDPOINT_URL":
        alone.delenv("AWS_ACCESS_KEY_ID")
        alone.delenv("AWS_SECRET_ACCESS_KEY")
    text = fault(run, check)
    assert said in text
    assert f"-> start it (`make stack`), or correct {name}" in text
    assert f"127.0.0.1:{free_port}" in text
    assert "password" not in text
    assert "secret" not in text


def test_a_server_that_never_answers(run: Run, alone: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        alone.setenv("PREFECT_API_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/api")
        began = time.monotonic()
        assert "cannot be reached: no answer within 4 s" in fault(run, "prefect")
        assert time.monotonic() - began < 30


def test_an_address_that_is_not_the_api(run: Run, alone: pytest.MonkeyPatch) -> None:
    with running_server() as address:
        alone.setenv("PREFECT_API_URL", address)
        assert fault(run, "prefect") == f"{address} is not Prefect's API -> correct PREFECT_API_URL; it ends in /api"


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_that_is_wrong(minutes: int, run: Run, alone: pytest.MonkeyPatch) -> None:
    with running_server(ahead=timedelta(minutes=minutes)) as address:
        alone.setenv("MLFLOW_TRACKING_URI", address)
        said = fault(run, "clock")
    assert "ahead of" in said if minutes > 0 else "behind" in said
    assert "synchronize the clocks" in said


def test_an_expired_certificate(run: Run, alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pem = certificate(tmp_path, -1)
    alone.setenv("SSL_CERT_FILE", str(pem))
    with running_server(pem) as address:
        alone.setenv("MLFLOW_TRACKING_URI", address)
        assert (
            fault(run, "certificates") == f"that of mlflow at {address} has expired -> renew it and restart the server"
        )


def test_a_certificate_that_nobody_trusts(run: Run, alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with running_server(certificate(tmp_path, 60)) as address:
        alone.setenv("PREFECT_API_URL", f"{address}/api")
        said = fault(run, "certificates")
    assert "is not trusted: self-signed certificate" in said
    assert "set SSL_CERT_FILE" in said


@pytest.mark.parametrize(("days", "status"), [(60, "ok"), (5, "warn")])
def test_a_certificate_that_is_trusted(
    days: int, status: str, run: Run, alone: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = certificate(tmp_path, days)
    alone.setenv("AWS_CA_BUNDLE", str(pem))
    with running_server(pem) as address:
        alone.setenv("MLFLOW_TRACKING_URI", address)
        _, found = findings(run)
    (one,) = (each for each in found if each["check"] == "certificates")
    assert one["status"] == status
    assert f"in {days - 1} days" in one["what"]
    assert [each["status"] for each in found if each["check"] == "clock"] == ["ok"]


def test_packages_of_other_versions(tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# a comment\nNumPy==0.1\nrich==0.2  # old\nno-such-package==1.0\n")
    (one,) = (found for found in packages(constraints) if found.status != "ok")
    assert one.status == "warn"
    assert "numpy " in one.what
    assert "(tested: 0.1), rich " in one.what
    assert "no-such-package" not in one.what
    assert "make install" in one.remedy


def test_a_check_that_hangs_or_breaks_hides_no_other() -> None:
    def hang() -> list[Finding]:
        time.sleep(30)
        return []

    def break_down() -> list[Finding]:
        raise RuntimeError("of a bug")

    began = time.monotonic()
    checks = [Check("hangs", hang, 0.2), Check("breaks", break_down), Check("works", lambda: [ok("works", "well")])]
    found = run_checks(checks)
    assert time.monotonic() - began < 5
    assert [(each.check, each.status) for each in found] == [("hangs", "fail"), ("breaks", "fail"), ("works", "ok")]
    assert "no result within 0.2 s" in found[0].what
    assert "RuntimeError: of a bug" in found[1].what
    assert not healthy(found)

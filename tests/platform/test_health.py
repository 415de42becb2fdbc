"""`tinystyle doctor` and `stack health` on a real stack: whole, and broken in each of the ways that happen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from infra import processes, seaweedfs, servers
from tests.support.rest import Prefect, ask
from tests.support.servers import serving
from tests.support.stack import Stack
from tinystyle.commands.doctor import diagnose
from tinystyle.commands.doctor.findings import Finding

pytestmark = [pytest.mark.platform, pytest.mark.e2e]


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Stack:
    """The stack, with its deployments."""
    missing = faults(diagnosis(stack.environment), "deployments")
    assert len(missing) == 1
    assert missing[0].startswith("not applied: ingest-coco/default, ")
    assert missing[0].endswith(" -> run `make deploy`")
    stack.deploy()
    return stack


def diagnosis(environment: Mapping[str, str], prefix: str = "") -> list[Finding]:
    return list(diagnose(environment, prefix, only_servers=True))


def faults(findings: list[Finding], *checks: str) -> list[str]:
    """What failed, with what to do; nothing else than these checks may have."""
    failed = [finding for finding in findings if finding.status == "fail"]
    assert {finding.check for finding in failed} <= set(checks), failed
    assert all(finding.remedy for finding in failed)
    return [f"{finding.what} -> {finding.remedy}" for finding in failed]


def test_a_whole_stack_is_healthy(deployed: Stack) -> None:
    told = deployed.run("health", "--json")
    report = json.loads(told.stdout)
    assert told.returncode == 0, report
    assert report["healthy"]
    assert {"processes", "disk", "prefect", "workers", "deployments", "mlflow", "s3", "buckets", "clock"} <= {
        finding["check"] for finding in report["findings"] if finding["status"] == "ok"
    }
    words = deployed.run("health").stdout
    assert "online: coordinator, worker-1, worker-2" in words
    for secret in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"):
        assert deployed.environment[secret] not in words + told.stdout


def test_the_command_of_an_engineer_s_shell(deployed: Stack) -> None:
    command = [sys.executable, "-m", "tinystyle", "doctor", "--json"]
    told = subprocess.run(command, env=os.environ | deployed.environment, capture_output=True, text=True, check=False)
    report = json.loads(told.stdout)
    assert told.returncode == 0, report


@pytest.mark.parametrize(
    ("variable", "value", "check", "said"),
    [
        ("PREFECT_API_AUTH_STRING", "admin:wrong", "prefect", "refuses the credentials -> set PREFECT_API_AUTH_STRING"),
        ("PREFECT_API_AUTH_STRING", "", "prefect", "refuses the credentials -> set PREFECT_API_AUTH_STRING"),
        (
            "MLFLOW_TRACKING_PASSWORD",
            "wrong",
            "mlflow",
            "refuses the credentials of user 'admin' -> set MLFLOW_TRACKING_U",
        ),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "s3", "does not accept the secret key -> correct AWS_ACCESS_KEY_ID"),
        ("AWS_ACCESS_KEY_ID", "nobody", "s3", "does not know the access key -> correct AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials(variable: str, value: str, check: str, said: str, deployed: Stack) -> None:
    (told,) = faults(diagnosis(deployed.environment | {variable: value}), check)
    assert said in told


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_metrics_are_behind_the_password(server: str, deployed: Stack) -> None:
    environment = deployed.environment
    if server == "prefect":
        address = f"{environment['PREFECT_API_URL']}/metrics"
        user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    else:
        pytest.importorskip("prometheus_flask_exporter")
        address = f"{environment['MLFLOW_TRACKING_URI']}/metrics"
        user, password = (environment[f"MLFLOW_TRACKING_{name}"] for name in ("USERNAME", "PASSWORD"))
    assert httpx.get(address, trust_env=False).status_code == 401
    answer = httpx.get(address, auth=(user, password), trust_env=False)
    assert answer.status_code == 200
    assert "# HELP " in answer.text


def test_missing_buckets(deployed: Stack) -> None:
    (told,) = faults(diagnosis(deployed.environment, prefix="acme-"), "buckets")
    assert told.startswith(
        "missing: acme-coco, acme-mlflow, acme-models, acme-checkpoints -> run `python -m infra.boot"
    )


def test_a_bucket_without_versions(deployed: Stack) -> None:
    s3 = seaweedfs.client(deployed.environment)
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Suspended"})
    try:
        warned = [found for found in diagnosis(deployed.environment) if found.status == "warn"]
    finally:
        s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    assert [(found.what, found.remedy) for found in warned] == [
        ("models does not keep versions of its objects", "run `python -m infra.bootstrap`")
    ]


def test_a_diagnosis_leaves_nothing_behind(deployed: Stack) -> None:
    diagnosis(deployed.environment)
    s3 = seaweedfs.client(deployed.environment)
    for bucket in ("coco", "mlflow", "models", "checkpoints"):
        held = s3.list_object_versions(Bucket=bucket, Prefix=".doctor")
        assert not [*held.get("Versions", []), *held.get("DeleteMarkers", [])], bucket


def test_keys_that_may_not_write(deployed: Stack) -> None:
    with refusing_writes(deployed.environment["AWS_ENDPOINT_URL"]) as address:
        found = diagnosis(deployed.environment | {"AWS_ENDPOINT_URL": address})
    (told,) = faults(found, "buckets")
    assert told.startswith("checkpoints cannot be written to with these keys, so no run can be resumed -> use the keys")
    warned = [each.what for each in found if each.status == "warn"]
    assert warned == [f"{bucket} cannot be written to with these keys" for bucket in ("coco", "mlflow", "models")]


@contextmanager
def refusing_writes(address: str) -> Iterator[str]:
    """The store, as keys see it that may only read: requests pass as they are signed, but for PUT and DELETE."""
    store = urlsplit(address)
    denied = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection = HTTPConnection(store.hostname or "", store.port, timeout=20)
            connection.request("GET", self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            self.reply(answer.status, answer.read(), answer.headers.items())
            connection.close()

        def refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.reply(403, denied, [("Content-Type", "application/xml")])

        do_PUT = do_DELETE = refuse  # noqa: N815 - names of the standard library

        def reply(self, status: int, body: bytes, headers: Any) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as passed_on:
        yield passed_on


def test_the_house_is_kept_by_the_coordinator(deployed: Stack) -> None:
    """Weekly for real; whoever starts it only gets a list. Its logs are those of the stack."""
    prefect = Prefect(deployed.environment)
    (schedule,) = prefect.ask("GET", "deployments/name/keep-house/default")["schedules"]
    assert (schedule["active"], schedule["parameters"]) == (True, {"dry_run": False})
    log = deployed.folder / "log" / "of-before.log"
    log.write_bytes(b"a line\n" * 3_000_000)
    command = [str(Path(sys.executable).with_name("prefect")), "deployment", "run", "keep-house/default", "--watch"]
    environment = servers.worker_environment(deployed.environment) | {"PREFECT_HOME": str(deployed.folder / "asking")}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=180)
    (run,) = prefect.runs("keep-house")
    assert run["state"]["message"].startswith(
        "would remove 1 log, 21.0 MB; keeps all checkpoints, since nothing is published"
    )
    assert f"| log | {log} | 21,000,000 |" in prefect.artifacts(run)["keep-house"]
    log.unlink()


def test_paused_and_unserved(deployed: Stack) -> None:
    environment = deployed.environment
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(user, password), trust_env=False) as api:
        ask(api, "PATCH", "/work_pools/tinystyle", json={"is_paused": True})
        (told,) = faults(diagnosis(environment), "workers")
        assert told == "the work pool tinystyle is paused -> run `prefect work-pool resume tinystyle`"
        ask(api, "PATCH", "/work_pools/tinystyle", json={"is_paused": False})


def test_workers_that_are_gone(deployed: Stack) -> None:
    """Killed, and forgotten by the server, as after a minute and a half."""
    environment = deployed.environment
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    names = ("coordinator", "worker-1", "worker-2")
    try:
        for name in ("keeper", *names):  # the keeper would start the others again
            processes.stop(deployed.folder, name, patience=0)
        with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(user, password), trust_env=False) as api:
            for name in names:
                ask(api, "DELETE", f"/work_pools/tinystyle/workers/{name}")
        (told,) = faults(diagnosis(environment), "workers")
        assert told.startswith("no worker of the pool tinystyle is online; 0 are known -> run `make stack`")
        ended = deployed.run("health")
        assert ended.returncode == 1
        assert "fail    processes: worker-2 does not run" in ended.stdout
        assert f"-> run `make stack`; its log is {deployed.folder}/log/worker-2.log" in ended.stdout
    finally:
        assert deployed.up("--workers", "2").returncode == 0
    assert deployed.run("health").returncode == 0


def test_a_store_that_is_down(deployed: Stack) -> None:
    for name in ("keeper", "store"):
        processes.stop(deployed.folder, name, patience=5)
    try:
        (told,) = faults(diagnosis(deployed.environment), "s3")
        assert "cannot be reached" in told
    finally:
        assert deployed.up("--workers", "2").returncode == 0

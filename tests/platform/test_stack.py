"""The stack as its operator meets it: it comes up, keeps strangers out, mends what was killed, and goes down whole."""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra import processes, seaweedfs
from infra.settings import store_ports
from tests.support.processes import command_lines
from tests.support.stack import Stack, new_stack

pytestmark = pytest.mark.platform
SERVERS = ("store", "mlflow", "prefect", "coordinator", "worker-1", "worker-2", "keeper")


def call(method: str, address: str, **options: Any) -> httpx.Response:
    return httpx.request(method, address, timeout=30, trust_env=False, **options)


def process_of(stack: Stack, name: str) -> psutil.Process:
    process = processes.running(stack.folder, name)
    assert process, f"{name} does not run"
    return process


def test_secrets_are_their_owners_alone_and_complete(stack: Stack) -> None:
    for name in ("env", "secrets.json", "settings.json", "mlflow/auth.ini"):
        assert stat.S_IMODE((stack.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    assert {name for name, value in stack.environment.items() if value} == {
        "PREFECT_API_URL", "PREFECT_API_AUTH_STRING",
        "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
        "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION",
    }  # fmt: skip


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack) -> None:
    shown = "".join(" ".join(command) for _, command in command_lines(processes.descendants(stack.folder)))
    shown += "".join(log.read_text(errors="replace") for log in (stack.folder / "log").iterdir())
    environment = stack.environment
    for name in ("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        assert environment[name] not in shown
    assert environment["PREFECT_API_AUTH_STRING"].partition(":")[2] not in shown


def test_everything_listens_on_the_loopback_only(stack: Stack) -> None:
    listening = {
        connection.laddr
        for process in processes.descendants(stack.folder)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert set(stack.ports.values()) <= {address.port for address in listening}


def test_prefect_answers_with_the_password_only(stack: Stack) -> None:
    environment = stack.environment
    address = environment["PREFECT_API_URL"] + "/work_pools/tinystyle"
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    assert call("GET", address).status_code == 401
    assert call("GET", address, auth=(user, password + "x")).status_code == 401
    pool = call("GET", address, auth=(user, password)).json()
    assert pool["type"] == "process"
    assert pool["base_job_template"]["job_configuration"], "a worker has filled the template in"
    workers = call("POST", address + "/workers/filter", auth=(user, password), json={}).json()
    assert {worker["name"] for worker in workers if worker["status"] == "ONLINE"} == {
        "coordinator",
        "worker-1",
        "worker-2",
    }


def test_mlflow_answers_with_the_password_only(stack: Stack) -> None:
    environment = stack.environment
    address = environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/search"
    user, password = environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"]
    body = {"max_results": 1}
    assert call("POST", address, json=body).status_code == 401
    assert call("POST", address, json=body, auth=(user, password + "x")).status_code == 401
    assert call("POST", address, json=body, auth=(user, password)).json()["experiments"]


def test_artifacts_go_through_mlflow_to_the_bucket(stack: Stack) -> None:
    """A client that holds no S3 key logs an artifact; it lies in s3://mlflow/artifacts."""
    environment = stack.environment
    auth = (environment["MLFLOW_TRACKING_USERNAME"], environment["MLFLOW_TRACKING_PASSWORD"])
    root = environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow"
    run = call("POST", f"{root}/runs/create", json={"experiment_id": "0"}, auth=auth).json()["run"]["info"]
    assert run["artifact_uri"].startswith("mlflow-artifacts:")
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/") + "/note.txt"
    put = call("PUT", f"{root}-artifacts/artifacts/{path}", content=b"seen", auth=auth)
    assert put.is_success, put.text
    s3 = seaweedfs.client(environment)
    assert s3.get_object(Bucket="mlflow", Key=f"artifacts/{path}")["Body"].read() == b"seen"


def test_the_store_is_closed_to_strangers(stack: Stack) -> None:
    environment = stack.environment
    s3 = seaweedfs.client(environment)
    s3.put_object(Bucket="coco", Key="raw/private.txt", Body=b"mine")
    assert call("GET", environment["AWS_ENDPOINT_URL"] + "/coco/raw/private.txt").status_code == 403
    wrong = seaweedfs.client(environment | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(wrong.exceptions.ClientError, match="SignatureDoesNotMatch"):
        wrong.get_object(Bucket="coco", Key="raw/private.txt")
    # Nor through the store's inner servers, which know no S3 keys.
    for port in store_ports(stack.ports["s3"]):
        for path in ("/buckets/coco/raw/private.txt", "/coco/raw/private.txt"):
            try:
                answer = call("GET", f"http://127.0.0.1:{port}{path}")
            except httpx.HTTPError:
                continue  # no HTTP on this one
            assert b"mine" not in answer.content, (port, path)


def test_up_again_starts_nothing_twice(stack: Stack) -> None:
    before = {name: process_of(stack, name).pid for name in SERVERS}
    secrets = stack.environment
    again = stack.up()  # of the workers' number it was not told: as last time
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already running") == len(SERVERS)
    assert {name: process_of(stack, name).pid for name in SERVERS} == before
    assert stack.environment == secrets


@pytest.mark.parametrize("name", ["store", "mlflow", "prefect", "worker-2"])
def test_a_killed_server_is_started_again_and_only_that(
    name: str, stack: Stack, request: pytest.FixtureRequest
) -> None:
    seaweedfs.client(stack.environment).put_object(Bucket="models", Key="kept", Body=b"kept")
    before = {server: process_of(stack, server).pid for server in SERVERS}
    process_of(stack, "keeper").suspend()  # it would be faster
    request.addfinalizer(lambda: process_of(stack, "keeper").resume())
    os.kill(before[name], signal.SIGKILL)
    psutil.wait_procs([psutil.Process(before[name])] if psutil.pid_exists(before[name]) else [], timeout=10)
    shown = stack.run("status")
    assert shown.returncode == 3
    assert f"{name}: does not run" in shown.stdout
    mended = stack.run("up")
    assert mended.returncode == 0, mended.stderr
    after = {server: process_of(stack, server).pid for server in SERVERS}
    assert {server for server in SERVERS if after[server] != before[server]} == {name}
    assert stack.run("status").returncode == 0
    assert seaweedfs.client(stack.environment).get_object(Bucket="models", Key="kept")["Body"].read() == b"kept"


def test_other_options_for_a_running_stack_are_refused(stack: Stack) -> None:
    refused = stack.run("up", "--database", "postgresql://nobody@127.0.0.1:1")
    assert refused.returncode == 2
    assert "runs with another --database; run 'down' first" in refused.stderr


@pytest.mark.parametrize(
    ("name", "option"), [("prefect", "--prefect-port"), ("mlflow", "--mlflow-port"), ("s3", "--s3-port")]
)
def test_a_taken_port_is_named_before_anything_starts(name: str, option: str, tmp_path: Path) -> None:
    other = new_stack(tmp_path / "other")
    port = other.ports[name] + (7 if name == "s3" else 0)  # one of the store's inner ports
    with socket.create_server(("127.0.0.1", port)):
        refused = other.up()
    assert refused.returncode == 2
    assert f"port {port} of" in refused.stderr
    assert f"or give {option}" in refused.stderr
    assert not processes.descendants(other.folder)
    assert not (other.folder / "env").exists()


def test_a_server_that_dies_at_start_shows_its_log_and_the_rest_goes_down(tmp_path: Path) -> None:
    other = new_stack(tmp_path / "broken")
    (other.folder / "store").mkdir(parents=True)
    (other.folder / "store" / "master.toml").touch()
    for place in ("m9333", "filerldb2", "vol_dir.uuid"):
        (other.folder / "store" / place).touch()
    (other.folder / "store" / "filerldb2").chmod(0o400)
    failed = other.up("--workers", "0")
    try:
        assert failed.returncode == 1
        assert "store ended at start" in failed.stderr
        assert "log/store.log" in failed.stderr
        assert len(failed.stderr.splitlines()) > 5, "the log's last lines"
        words = " ".join(processes.last_lines(other.folder, "store").split())  # the terminal shows tabs as spaces
        assert words in " ".join(failed.stderr.split())
        assert "Traceback" not in failed.stderr
    finally:
        other.run("down")
    assert not processes.descendants(other.folder)


@pytest.mark.e2e
def test_down_leaves_no_process_and_all_data(tmp_path: Path) -> None:
    """A stack of its own: with a stray child of a worker, which a killed flow run might leave."""
    other = new_stack(tmp_path / "other")
    started = other.up()
    assert started.returncode == 0, started.stderr
    try:
        secrets = other.environment
        came_of_it = processes.descendants(other.folder)
        children = [child for process in came_of_it for child in process.children(recursive=True)]
        stopped = other.run("down")
        assert stopped.returncode == 0, stopped.stderr
        assert stopped.stdout.splitlines()[0] == "worker-1: stopped"
        assert not processes.descendants(other.folder)
        assert not any(process.is_running() for process in {*came_of_it, *children} if not zombie(process))
        assert other.run("down").stdout == ""

        assert other.run("up", "--workers", "0").returncode == 0
        assert other.environment == secrets
    finally:
        purged = other.run("down", "--purge")
    assert purged.returncode == 0
    assert not other.folder.exists()
    assert other.run("down").returncode == 2


def zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

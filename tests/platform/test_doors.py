"""What another user of the machine, who knows no secret, gets through any port of the running stack: nothing."""

from __future__ import annotations

import json
import os
import re
import stat
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import certificates, processes
from infra.settings import Secrets, store_ports
from tests.support.doors import FOREIGN, INNER_ROUTES, JSON, OWN, inner_ports, own_shell, s3_requests
from tests.support.rest import MLflow, Prefect, s3
from tests.support.route_tables import WEBSOCKET, routes
from tests.support.stack import Stack
from tests.support.stranger import Answer, Request, Stranger

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user"),
]
HOST = "127.0.0.1"
PUBLISHED, CONTENT = "door/published.bin", b"the published file " * 200_000
REFUSED = (401, 403)


@pytest.fixture(scope="module")
def stranger() -> Stranger:
    return Stranger()


@pytest.fixture(scope="module", autouse=True)
def untouched(stack: Stack) -> Iterator[None]:
    """Buckets, runs and models, which have to be after all of these tests what they were before."""
    with s3(stack.environment) as store:
        store.put_object(Bucket="models", Key=PUBLISHED, Body=CONTENT)
        store.put_object(Bucket="checkpoints", Key=PUBLISHED, Body=CONTENT)
    before = contents(stack)
    yield
    assert contents(stack) == before
    with s3(stack.environment) as store:
        for bucket in ("models", "checkpoints"):
            assert store.get_object(Bucket=bucket, Key=PUBLISHED)["Body"].read() == CONTENT


def contents(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with s3(stack.environment) as store:
        for bucket in (one["Name"] for one in store.list_buckets()["Buckets"]):
            pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            found[bucket] = {one["Key"]: one["ETag"] for page in pages for one in page.get("Contents", [])}
            found[f"uploads in {bucket}"] = store.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
            found[f"rules of {bucket}"] = store.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    prefect, mlflow = Prefect(stack.environment), MLflow(stack.environment)
    for kind in ("flows", "deployments", "flow_runs", "variables", "block_documents", "automations", "artifacts"):
        found[kind] = sorted(one["id"] for one in prefect.ask("POST", f"{kind}/filter", json={}))
    experiments = mlflow.ask("POST", "experiments/search", json={"max_results": 100})["experiments"]
    found["experiments"] = sorted(one["experiment_id"] for one in experiments)
    runs = mlflow.ask("POST", "runs/search", json={"experiment_ids": found["experiments"], "max_results": 1000})
    found["runs"] = sorted(one["info"]["run_id"] for one in runs.get("runs", []))
    found["styles"] = mlflow.ask("GET", "registered-models/search").get("registered_models", [])
    return found


def listening(stack: Stack) -> set[int]:
    return {
        connection.laddr.port
        for process in processes.descendants(stack.folder)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_only_the_three_public_servers_talk_to_a_stranger(stack: Stack, stranger: Stranger) -> None:
    """Each other port, in clear and by TLS, without a certificate and with one of the stranger's own."""
    ports, public = listening(stack), set(stack.ports.values())
    assert ports >= public | set(store_ports(stack.ports["s3"])), "and one of each worker, for its own children"
    asked = [
        Request(method, f"{scheme}://{HOST}:{port}{path}", certified=certified)
        for port in sorted(ports - public)
        for scheme, certified in (("http", False), ("https", False), ("https", True))
        for method, path in INNER_ROUTES
    ]
    answers = stranger.ask(asked)
    talked = [answer for answer in answers if answer.status and not _told_to_use_tls(answer)]
    assert not talked, "\n".join(map(str, talked))
    assert all(answer.error or answer.status == 400 for answer in answers)


def test_a_stranger_may_not_connect_to_a_socket_in_the_file_system(stack: Stack, stranger: Stranger) -> None:
    sockets = {
        connection.laddr
        for process in processes.descendants(stack.folder)
        for connection in process.net_connections(kind="unix")
        if connection.laddr.startswith("/")
    }
    assert sockets, "the store has some in /tmp"
    for answer in stranger.ask([Request("GET", path) for path in sorted(sockets)]):
        assert not answer.status, answer
        assert answer.error, answer


def _told_to_use_tls(answer: Answer) -> bool:
    return answer.status == 400 and answer.text == "Client sent an HTTP request to an HTTPS server.\n"


def test_a_bucket_is_not_deleted_through_the_master(stack: Stack, stranger: Stranger) -> None:
    address = f"{HOST}:{inner_ports(stack)['master']}/col/delete?collection=checkpoints"
    for answer in stranger.ask([Request("GET", f"http://{address}"), Request("GET", f"https://{address}")]):
        assert answer.status in (0, 400), answer


def test_the_stores_shell_shows_nothing_to_a_stranger(stack: Stack, shown_to_a_stranger: str) -> None:
    shown = shown_to_a_stranger
    assert "checkpoints" not in shown, shown
    assert "fileId" not in shown, shown
    ours = own_shell(stack, "s3.bucket.list", f"fs.meta.cat /buckets/checkpoints/{PUBLISHED}")
    assert "checkpoints" in ours, "the same for the stack's owner"
    assert "fileId" in ours, ours


@pytest.fixture(scope="module")
def shown_to_a_stranger(stack: Stack, stranger: Stranger) -> str:
    """What the store's shell, which speaks gRPC with master and filer, tells about buckets and a published file."""
    ports = inner_ports(stack)
    master, filer = (f"{HOST}:{ports[name]}.{ports[name + ' grpc']}" for name in ("master", "filer"))
    return stranger.shell(master, filer, ["s3.bucket.list", f"fs.meta.cat /buckets/checkpoints/{PUBLISHED}"])


def test_no_signed_token_is_handed_out_and_no_file_read_or_replaced_with_it(
    stack: Stack, stranger: Stranger, shown_to_a_stranger: str
) -> None:
    ports = inner_ports(stack)
    shown = shown_to_a_stranger + own_shell(stack, f"fs.meta.cat /buckets/checkpoints/{PUBLISHED}")
    file = re.search(r'"(\d+,[0-9a-f]+)"', shown)
    assert file, shown
    tokens = []
    for scheme in ("http", "https"):
        lookup = f"{scheme}://{HOST}:{ports['master']}/dir/lookup?fileId={file[1]}"
        for answer in stranger.ask([Request("GET", lookup + "&read=yes"), Request("GET", lookup)]):
            tokens.append(answer.headers.get("authorization", ""))
            assert "authorization" not in answer.headers, answer
            assert "locations" not in answer.text, answer
    asked = [  # the token first as it was handed out, then one of the stranger's own
        Request(method, f"{scheme}://{HOST}:{ports['volume']}/{file[1]}", {"Authorization": token}, body)
        for scheme in ("http", "https")
        for token in {*tokens, "Bearer x"}
        for method, body in (("GET", ""), ("PUT", "replaced"), ("DELETE", ""))
    ]
    for answer in stranger.ask(asked):
        assert answer.status in (0, 400), answer
        assert "published" not in answer.text, answer


def test_s3_gives_nothing_without_a_key(stack: Stack, stranger: Stranger) -> None:
    root = f"http://{HOST}:{stack.ports['s3']}"
    for answer in stranger.ask(s3_requests(root, PUBLISHED)):
        assert answer.status >= 400, answer
        assert not re.search(r"published|<Contents>|<Bucket>|<AccessKeyId>", answer.text.replace(PUBLISHED, "")), answer
    for answer in stranger.ask([Request("GET", f"{root}/{name}") for name in ("status", "healthz", "readyz")]):
        assert (answer.status, answer.text) == (200, ""), "for load balancers"


def test_every_route_of_prefect_wants_the_password(stack: Stack, stranger: Stranger) -> None:
    public = {"/api/health", "/api/ready", "/ui-settings", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
    table = [(method, path) for method, path in routes("prefect") if path not in public]
    assert len(table) > 150, "Prefect's API"
    sockets = [path for method, path in table if method == WEBSOCKET]
    assert {"/api/events/in", "/api/events/out", "/api/logs/out"} <= set(sockets)
    http = [
        Request(method, f"http://{HOST}:{stack.ports['prefect']}{path}", JSON, "" if method == "GET" else "{}")
        for method, path in table
        if method != WEBSOCKET
    ]
    for answer in stranger.ask(http):
        assert answer.status in REFUSED, answer
    first = ("", "{}", '{"type": "auth", "token": null}', '{"type": "auth", "token": "admin:admin"}')
    asked = [
        Request(protocol, f"ws://{HOST}:{stack.ports['prefect']}{path}", {}, message)
        for path in sockets
        for protocol in ("none", "prefect")
        for message in first
    ]
    for answer in stranger.ask(asked):
        assert answer.status == 0, answer
        assert answer.error, answer


def test_every_route_of_mlflow_wants_the_password(stack: Stack, stranger: Stranger) -> None:
    table = routes("mlflow")
    assert len(table) > 400, "MLflow's REST API, and the routes that are not in its specification"
    assert {("POST", "/v1/traces"), ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x")} <= set(table)
    public = ("/health", "/static-files/x", "/ajax-api/3.0/mlflow/server-info", "/api/3.0/mlflow/server-info")
    asked = [
        Request(method, f"http://{HOST}:{stack.ports['mlflow']}{path}", JSON, "" if method == "GET" else "{}")
        for method, path in table
        if path not in public
    ]
    for answer in stranger.ask(asked):
        assert answer.status in REFUSED, answer
    for answer in stranger.ask([Request("GET", f"http://{HOST}:{stack.ports['mlflow']}{path}") for path in public]):
        assert answer.status in (200, 404), "nothing but the version and what the server can do"
        assert "secret" not in answer.text.lower(), answer


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_pages_of_other_sites_get_nothing_even_with_the_password(server: str, stack: Stack, stranger: Stranger) -> None:
    environment, port = stack.environment, stack.ports[server]
    login = {
        "prefect": environment["PREFECT_API_AUTH_STRING"],
        "mlflow": f"admin:{environment['MLFLOW_TRACKING_PASSWORD']}",
    }[server]
    authorized = {"Authorization": f"Basic {b64encode(login.encode()).decode()}", **JSON}
    paths = {
        "prefect": (("GET", "/api/version"), ("POST", "/api/flows/filter")),
        "mlflow": (
            ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
            ("POST", "/ajax-api/2.0/mlflow/runs/search"),
        ),
    }[server]

    def asked(variants: tuple[dict[str, str], ...]) -> list[Request]:
        return [
            Request(
                method, f"http://{HOST}:{port}{path}",
                authorized | {name: value.format(port=port, other=port + 1) for name, value in headers.items()},
                "" if method == "GET" else "{}",
            )
            for method, path in paths
            for headers in variants
        ]  # fmt: skip

    for answer in stranger.ask(asked(FOREIGN)):
        assert answer.status == 403, answer
    for answer in stranger.ask(asked(OWN)):
        assert answer.status == 200, answer
    link, *_ = asked(({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},))
    (opened,) = stranger.ask([link])
    assert opened.status == 200, "a link on another page may open ours, which that page cannot read"


def test_prefects_websockets_are_closed_to_other_sites(stack: Stack, stranger: Stranger) -> None:
    port = stack.ports["prefect"]
    login = json.dumps({"type": "auth", "token": stack.environment["PREFECT_API_AUTH_STRING"]})
    address = f"ws://{HOST}:{port}/api/events/out"
    (ours, *foreign) = stranger.ask(
        [Request("prefect", address, {}, login)]
        + [
            Request("prefect", address, {"Origin": origin}, login)
            for origin in ("https://page.example", "null", f"http://{HOST}:{port + 1}")
        ]
    )
    assert ours.text == '{"type":"auth_success"}', ours
    for answer in foreign:
        assert "403" in answer.error, answer


def test_s3_does_not_welcome_pages_of_other_sites(stack: Stack, stranger: Stranger) -> None:
    """Without a key it refuses whatever the host; browsers remember no signatures, and each of them names the host."""
    root = f"http://{HOST}:{stack.ports['s3']}"
    foreign = {"Origin": "https://page.example", "Access-Control-Request-Method": "PUT"}
    asked = [Request("OPTIONS", f"{root}/models/x", foreign), Request("GET", f"{root}/models", foreign)]
    for answer in stranger.ask([*asked, Request("GET", f"{root}/models", {"Host": "rebound.example"})]):
        assert answer.status in REFUSED, answer
        assert "access-control-allow-origin" not in answer.headers, answer


def test_no_secret_is_in_a_process_list_or_a_log(stack: Stack) -> None:
    """The command lines of every process of the machine, and everything that the stack's servers have logged."""
    environment = stack.environment
    secrets = Secrets.model_validate_json((stack.folder / "secrets.json").read_bytes()).model_dump()
    secrets |= {"prefect": environment["PREFECT_API_AUTH_STRING"]}
    secrets |= {"key": (stack.folder / "certificates" / certificates.KEY).read_text().splitlines()[1]}
    del secrets["s3_access_key"]  # names who signs, as every presigned link does
    basic = b64encode(environment["PREFECT_API_AUTH_STRING"].encode()).decode()
    shown = {str(path): path.read_bytes() for path in (stack.folder / "log").iterdir()}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            shown[str(process)] = process.read_bytes()
    for name, secret in {**secrets, "basic": basic}.items():
        found = [place for place, text in shown.items() if secret.encode() in text]
        assert not found, f"{name} is in {found}"


def test_files_with_secrets_are_their_owners_alone(stack: Stack) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700, "a stranger does not even get into the folder"
    for name in (certificates.KEY, certificates.CERTIFICATE, certificates.AUTHORITY):
        assert stat.S_IMODE((stack.folder / "certificates" / name).stat().st_mode) == 0o600

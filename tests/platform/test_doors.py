"""What another user of the machine, who knows no secret, gets through any port of the running stack: nothing."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import certificates, processes, seaweedfs
from infra.settings import Secrets, store_ports
from tests.support.rest import MLflow, Prefect, s3
from tests.support.route_tables import WEBSOCKET, routes
from tests.support.stack import Stack
from tests.support.stranger import Answer, Request, Stranger

pytestmark = [
    pytest.mark.platform,
    pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user"),
]
HOST = "127.0.0.1"
PUBLISHED, CONTENT = "door/published.bin", b"the published file " * 200_000  # too large to lie within its directory entry
REFUSED = (401, 403)


@pytest.fixture(scope="module")
def stranger() -> Stranger:
    return Stranger()


@pytest.fixture
def untouched(stack: Stack) -> Any:
    """Buckets, runs and models, which have to be afterwards what they were before."""
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


def inner(stack: Stack) -> dict[str, int]:
    """The store's ports that are nobody's but its own, by name."""
    names = ("s3", "s3 grpc", "master", "master grpc", "volume", "volume grpc", "filer", "filer grpc", "admin")
    return dict(zip((*names, "admin grpc"), store_ports(stack.ports["s3"]), strict=True)) | {}


def listening(stack: Stack) -> set[int]:
    return {
        connection.laddr.port
        for process in processes.descendants(stack.folder)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def own_shell(stack: Stack, *commands: str) -> str:
    """The store's shell, run by the stack's owner."""
    ports = inner(stack)
    made = Secrets.model_validate_json((stack.folder / "secrets.json").read_bytes())
    done = subprocess.run(
        [str(seaweedfs.WEED), "shell", f"-master={HOST}:{ports['master']}.{ports['master grpc']}",
         f"-filer={HOST}:{ports['filer']}.{ports['filer grpc']}"],
        input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | seaweedfs.environment(stack.folder / "certificates", made.store_signing_key),
    )  # fmt: skip
    return done.stdout + done.stderr


def test_only_the_three_public_servers_talk_to_a_stranger(
    stack: Stack, stranger: Stranger, tmp_path: Path, untouched: None
) -> None:
    """Every listening port (workers have one each, for their own children), in clear, by TLS, by TLS with a certificate of the stranger's own, and by gRPC's HTTP/2."""
    ports = listening(stack)
    public = set(stack.ports.values())
    assert ports >= public | set(store_ports(stack.ports["s3"]))
    certificates.renew(tmp_path)
    own = (str(tmp_path / certificates.CERTIFICATE), str(tmp_path / certificates.KEY))
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o755)
    asked = [
        Request(method, f"{scheme}://{HOST}:{port}{path}", certificate=certificate)
        for port in sorted(ports - public)
        for scheme, certificate in (("http", None), ("https", None), ("https", own))
        for method, path in INNER_ROUTES
    ]
    talked = [answer for answer in stranger.ask(asked) if answer.status and not _told_to_use_tls(answer)]
    assert not talked, "\n".join(map(str, talked))


INNER_ROUTES = [
    ("GET", "/"), ("GET", "/status"), ("GET", "/ui/index.html"), ("GET", "/metrics"), ("GET", "/debug/pprof/"),
    ("GET", "/dir/assign"), ("GET", "/dir/lookup?volumeId=1"), ("GET", "/dir/status"), ("GET", "/vol/status"),
    ("GET", "/col/delete?collection=none"), ("GET", "/vol/grow?count=0"), ("GET", "/vol/vacuum"), ("POST", "/submit"),
    ("GET", "/cluster/status"), ("GET", "/cluster/healthz"), ("GET", "/stats/disk"), ("GET", "/1,01"),
    ("GET", "/buckets/models/?limit=9"), ("GET", f"/buckets/models/{PUBLISHED}"), ("PUT", "/buckets/models/new"),
    ("DELETE", f"/buckets/models/{PUBLISHED}"), ("GET", "/health"), ("GET", "/api/s3/buckets"),
    ("GET", "/api/plugin/jobs"), ("POST", "/.tus/buckets/models/new"),
    ("POST", "/filer_pb.SeaweedFiler/ListEntries"), ("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
]  # fmt: skip


def _told_to_use_tls(answer: Answer) -> bool:
    return answer.status == 400 and answer.text == "Client sent an HTTP request to an HTTPS server.\n"


def test_a_bucket_is_not_deleted_through_the_master(stack: Stack, stranger: Stranger, untouched: None) -> None:
    address = f"{HOST}:{inner(stack)['master']}/col/delete?collection=checkpoints"
    for answer in stranger.ask([Request("GET", f"http://{address}"), Request("GET", f"https://{address}")]):
        assert answer.status in (0, 400), answer


def test_the_stores_shell_shows_nothing_to_a_stranger(stack: Stack, stranger: Stranger, untouched: None) -> None:
    shown = stranger_shell(stack, stranger)
    assert "checkpoints" not in shown, shown
    assert "fileId" not in shown, shown
    ours = own_shell(stack, "s3.bucket.list", f"fs.meta.cat /buckets/models/{PUBLISHED}")
    assert "checkpoints" in ours and "file" in ours, "the same for the stack's owner"


def stranger_shell(stack: Stack, stranger: Stranger) -> str:
    ports = inner(stack)
    master, filer = (f"{HOST}:{ports[name]}.{ports[name + ' grpc']}" for name in ("master", "filer"))
    return stranger.shell(master, filer, ["s3.bucket.list", f"fs.meta.cat /buckets/models/{PUBLISHED}"])


def test_no_signed_token_is_handed_out_and_no_file_read_or_replaced_with_it(
    stack: Stack, stranger: Stranger, untouched: None
) -> None:
    ports = inner(stack)
    shown = stranger_shell(stack, stranger) + own_shell(stack, f"fs.meta.cat /buckets/models/{PUBLISHED}")
    file = re.search(r'"(\d+,[0-9a-f]+)"', shown)
    assert file, shown
    tokens = []
    for scheme in ("http", "https"):
        lookup = f"{scheme}://{HOST}:{ports['master']}/dir/lookup?fileId={file[1]}"
        for answer in stranger.ask([Request("GET", lookup + "&read=yes"), Request("GET", lookup)]):
            tokens.append(answer.headers.get("authorization", ""))
            assert "authorization" not in answer.headers, answer
            assert "locations" not in answer.text, answer
    asked = [
        Request(method, f"{scheme}://{HOST}:{ports['volume']}/{file[1]}", {"Authorization": token}, body)
        for scheme in ("http", "https")
        for token in {*tokens, "Bearer x"}
        for method, body in (("GET", ""), ("PUT", "replaced"), ("DELETE", ""))
    ]
    for answer in stranger.ask(asked):
        assert answer.status in (0, 400), answer
        assert "published" not in answer.text, answer


def test_s3_gives_nothing_without_a_key(stack: Stack, stranger: Stranger, untouched: None) -> None:
    root = f"http://{HOST}:{stack.ports['s3']}"
    thing = f"{root}/models/{PUBLISHED}"
    form = "--b\r\nContent-Disposition: form-data; name=key\r\n\r\nnew\r\n--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--b--"
    action = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = [
        Request("GET", root + "/"), Request("PUT", root + "/stranger"), Request("DELETE", root + "/checkpoints"),
        *(Request(method, thing, body="x") for method in ("GET", "HEAD", "PUT", "DELETE", "POST")),
        *(Request("GET", f"{root}/models?{what}") for what in ("", "list-type=2", "versions", "uploads", "policy", "acl",
          "lifecycle", "versioning", "location", "cors", "tagging", "object-lock", "publicAccessBlock")),
        *(Request("PUT", f"{root}/models?{what}") for what in ("policy", "acl", "lifecycle", "cors", "versioning", "tagging")),
        *(Request("DELETE", f"{root}/models?{what}") for what in ("policy", "lifecycle", "cors", "tagging")),
        *(Request("GET", f"{thing}?{what}") for what in ("acl", "tagging", "retention", "legal-hold", "attributes", "versionId=null")),
        Request("POST", f"{root}/models?delete", body="<Delete><Object><Key>" + PUBLISHED + "</Key></Object></Delete>"),
        Request("POST", f"{root}/models", {"Content-Type": "multipart/form-data; boundary=b"}, form),
        Request("POST", f"{thing}?uploads"), Request("PUT", f"{root}/models/new?partNumber=1&uploadId=x"),
        Request("PUT", f"{root}/models/new", {"x-amz-copy-source": f"/models/{PUBLISHED}"}),
        Request("GET", thing, {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"}),
        Request("GET", f"{thing}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=x%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
                "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=0"),
        Request("GET", thing, {"Authorization": "Bearer x.y.z"}), Request("GET", root + "/metrics"),
        *(Request("POST", root + "/", action, f"Action={name}&Version=2010-05-08") for name in ("ListUsers", "CreateAccessKey")),
        Request("POST", root + "/", action, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::x:role/y"
                "&RoleSessionName=me&WebIdentityToken=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."),
        Request("POST", root + "/", action, "Action=AssumeRoleWithLDAPIdentity&Version=2011-06-15&LDAPUsername=x&LDAPPassword=y"),
    ]  # fmt: skip
    for answer in stranger.ask(asked):
        assert 400 <= answer.status < 500, answer
        assert not re.search(r"published|<Contents>|<Bucket>|AccessKeyId", answer.text.replace(PUBLISHED, "")), answer
    for answer in stranger.ask([Request("GET", f"{root}/{name}") for name in ("status", "healthz", "readyz")]):
        assert (answer.status, answer.text) == (200, ""), "for load balancers"


def test_every_route_of_prefect_wants_the_password(stack: Stack, stranger: Stranger, untouched: None) -> None:
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


def test_every_route_of_mlflow_wants_the_password(stack: Stack, stranger: Stranger, untouched: None) -> None:
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


JSON = {"Content-Type": "application/json"}
FOREIGN = (
    {"Host": "rebound.example:{port}"},
    {"Host": "rebound.example:{port}", "Origin": "http://rebound.example:{port}", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://page.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:{other}", "Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost:{other}"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
)
"""What a browser sends for somebody else's page, with the password that it remembers; the last two have no Origin."""
OWN: tuple[dict[str, str], ...] = (
    {},
    {"Host": "localhost:{port}"},
    {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
)


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
        "mlflow": (("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0"), ("POST", "/ajax-api/2.0/mlflow/runs/search")),
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
    """What it answers without a key is a refusal anyway; a signature names the host, so no other name will do."""
    root = f"http://{HOST}:{stack.ports['s3']}"
    foreign = {"Origin": "https://page.example", "Access-Control-Request-Method": "PUT"}
    asked = [Request("OPTIONS", f"{root}/models/x", foreign), Request("GET", f"{root}/models", foreign)]
    for answer in stranger.ask([*asked, Request("GET", f"{root}/models", {"Host": "rebound.example"})]):
        assert answer.status in REFUSED, answer
        assert "access-control-allow-origin" not in answer.headers, answer
    with s3(stack.environment) as store:
        link = store.generate_presigned_url("get_object", Params={"Bucket": "models", "Key": "index.json"})
    (elsewhere,) = stranger.ask([Request("GET", link, {"Host": "rebound.example"})])
    assert elsewhere.status in REFUSED, elsewhere


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


def test_files_with_secrets_are_their_owners_alone(stack: Stack, stranger: Stranger) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700, "a stranger does not even get into the folder"
    for name in (certificates.KEY, certificates.CERTIFICATE, certificates.AUTHORITY):
        assert stat.S_IMODE((stack.folder / "certificates" / name).stat().st_mode) == 0o600

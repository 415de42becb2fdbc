"""What the door test knocks with: routes of the store's inner servers, requests to S3, headers that browsers send."""

from __future__ import annotations

import os
import subprocess

from infra import seaweedfs
from infra.settings import HOST, Secrets, store_ports
from tests.support.stack import Stack
from tests.support.stranger import Request

__all__ = ["FOREIGN", "INNER_ROUTES", "JSON", "OWN", "inner_ports", "own_shell", "s3_requests"]

INNER_ROUTES = [
    ("GET", "/"), ("GET", "/status"), ("GET", "/ui/index.html"), ("GET", "/metrics"), ("GET", "/debug/pprof/"),
    ("GET", "/dir/assign"), ("GET", "/dir/lookup?volumeId=1"), ("GET", "/dir/status"), ("GET", "/vol/status"),
    ("GET", "/col/delete?collection=none"), ("GET", "/vol/grow?count=0"), ("GET", "/vol/vacuum"), ("POST", "/submit"),
    ("GET", "/cluster/status"), ("GET", "/cluster/healthz"), ("GET", "/stats/disk"), ("GET", "/1,01"),
    ("GET", "/buckets/models/?limit=9"), ("GET", "/buckets/checkpoints/"), ("PUT", "/buckets/models/new"),
    ("DELETE", "/buckets/checkpoints/door"), ("GET", "/health"), ("GET", "/api/s3/buckets"), ("GET", "/api/plugin/jobs"),
    ("POST", "/.tus/buckets/models/new"), ("POST", "/filer_pb.SeaweedFiler/ListEntries"),
    ("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
]  # fmt: skip
"""(method, path) of every kind of route that master, volume server, filer, admin and their gRPC have."""

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
)


def inner_ports(stack: Stack) -> dict[str, int]:
    """The store's ports by name."""
    names = [server + kind for server in ("s3", "master", "volume", "filer", "admin") for kind in ("", " grpc")]
    return dict(zip(names, store_ports(stack.ports["s3"]), strict=True))


def own_shell(stack: Stack, *commands: str) -> str:
    """What the store's shell prints when the stack's owner runs it."""
    ports = inner_ports(stack)
    made = Secrets.model_validate_json((stack.folder / "secrets.json").read_bytes())
    done = subprocess.run(
        [str(seaweedfs.WEED), "shell", f"-master={HOST}:{ports['master']}.{ports['master grpc']}",
         f"-filer={HOST}:{ports['filer']}.{ports['filer grpc']}"],
        input="\n".join(commands) + "\n", capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | seaweedfs.environment(stack.folder / "certificates", made.store_signing_key),
    )  # fmt: skip
    return done.stdout + done.stderr


def s3_requests(root: str, key: str) -> list[Request]:
    """Requests without a key: to list, read, write and delete buckets, objects and their settings, and to get a key."""
    bucket = f"{root}/models"
    thing = f"{bucket}/{key}"
    settings = ("policy", "acl", "lifecycle", "cors", "versioning", "tagging")
    listings = ("", "list-type=2", "versions", "uploads", "location", "object-lock", "publicAccessBlock")
    boundary = "--b\r\nContent-Disposition: form-data; name="
    form = f"{boundary}key\r\n\r\nnew\r\n{boundary}file\r\n\r\nx\r\n--b--"
    signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    link = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=x%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
    )
    unsigned_token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."
    role = f"RoleArn=arn:aws:iam::x:role/y&RoleSessionName=me&WebIdentityToken={unsigned_token}"
    actions = (
        "Action=ListUsers&Version=2010-05-08",
        "Action=CreateAccessKey&Version=2010-05-08",
        f"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&{role}",
        "Action=AssumeRoleWithLDAPIdentity&Version=2011-06-15&LDAPUsername=x&LDAPPassword=y",
    )
    return [
        Request("GET", root + "/"),
        Request("GET", root + "/metrics"),
        Request("PUT", root + "/stranger"),
        Request("DELETE", root + "/checkpoints"),
        *(Request(method, thing, body="x") for method in ("GET", "HEAD", "PUT", "DELETE", "POST")),
        *(Request("GET", f"{bucket}?{what}") for what in listings + settings),
        *(Request(method, f"{bucket}?{what}") for method in ("PUT", "DELETE") for what in settings),
        *(
            Request("GET", f"{thing}?{what}")
            for what in ("acl", "tagging", "retention", "attributes", "versionId=null")
        ),
        Request("POST", f"{bucket}?delete", body=f"<Delete><Object><Key>{key}</Key></Object></Delete>"),
        Request("POST", bucket, {"Content-Type": "multipart/form-data; boundary=b"}, form),
        Request("POST", f"{thing}?uploads"),
        Request("PUT", f"{bucket}/new?partNumber=1&uploadId=x"),
        Request("PUT", f"{bucket}/new", {"x-amz-copy-source": f"/models/{key}"}),
        Request("GET", thing, {"Authorization": signed}),
        Request("GET", f"{thing}?{link}"),
        Request("GET", thing, {"Authorization": f"Bearer {unsigned_token}"}),
        *(Request("POST", root + "/", {"Content-Type": "application/x-www-form-urlencoded"}, one) for one in actions),
    ]

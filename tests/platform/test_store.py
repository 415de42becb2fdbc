"""The running store keeps house: its rules delete what is old, and its worker reaches the server that gives it work."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.doors import inner_ports, own_shell
from tests.support.rest import s3
from tests.support.stack import Stack

pytestmark = pytest.mark.platform
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
    own_shell(stack, f"fs.meta.load {saved}")


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
        own_shell(stack, "lock", f"s3.lifecycle.run-shard -shards 0-15 -s3 127.0.0.1:{inner_ports(stack)['s3 grpc']}")

        left = {one["Key"] for one in store.list_objects_v2(Bucket="checkpoints").get("Contents", [])}
        assert "new/last.ckpt" in left
        assert "old/last.ckpt" not in left
        uploads = store.list_multipart_uploads(Bucket="checkpoints")["Uploads"]
        assert [one["Key"] for one in uploads] == ["new/best.ckpt"]
        store.abort_multipart_upload(Bucket="checkpoints", Key="new/best.ckpt", UploadId=new["UploadId"])


def test_the_stores_worker_is_connected(stack: Stack) -> None:
    log = (stack.folder / "log" / "store.log").read_text(errors="replace")
    assert "ready" in log
    assert "stream ended" not in log
    assert "Reconnection attempt" not in log

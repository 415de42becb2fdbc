"""The buckets and their rules, on a real store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from infra import seaweedfs
from infra.bootstrap import BUCKETS, bootstrap
from infra.policies import policies
from tests.support.places import REPOSITORY
from tests.support.servers import ObjectStore, running_object_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_object_store(tmp_path_factory.mktemp("store"), bucket="somebody") as store:
        yield store


@pytest.fixture
def s3(store: ObjectStore) -> Any:
    return seaweedfs.client(store.environment)


def command(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.bootstrap", *options],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_buckets_and_their_rules_are_there_and_a_second_run_changes_nothing(s3: Any) -> None:
    first = list(bootstrap(s3, "us-east-1"))
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} >= set(BUCKETS)
    assert s3.get_bucket_versioning(Bucket="models")["Status"] == "Enabled"
    assert "Status" not in s3.get_bucket_versioning(Bucket="coco")
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket="checkpoints")["Rules"]}
    assert rules["tinystyle-expiry"]["Expiration"]["Days"] == 30
    assert rules["tinystyle-incomplete-uploads"]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 7
    assert all("Expiration" not in rule for rule in s3.get_bucket_lifecycle_configuration(Bucket="models")["Rules"])
    assert "made" in {step.outcome for step in first}
    assert "made" not in {step.outcome for step in bootstrap(s3, "us-east-1")}


def test_an_overwritten_index_can_be_had_again(s3: Any) -> None:
    list(bootstrap(s3, "us-east-1", "kept-"))
    old = s3.put_object(Bucket="kept-models", Key="index.json", Body=b"old")["VersionId"]
    s3.put_object(Bucket="kept-models", Key="index.json", Body=b"new")
    assert s3.get_object(Bucket="kept-models", Key="index.json", VersionId=old)["Body"].read() == b"old"


def test_rules_of_others_stay(s3: Any) -> None:
    s3.create_bucket(Bucket="theirs-coco")
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket="theirs-coco", LifecycleConfiguration={"Rules": [theirs]})
    list(bootstrap(s3, "us-east-1", "theirs-"))
    rules = s3.get_bucket_lifecycle_configuration(Bucket="theirs-coco")["Rules"]
    assert {rule["ID"] for rule in rules} == {"theirs", "tinystyle-incomplete-uploads"}


@pytest.mark.usefixtures("store")
def test_the_command_says_what_it_did_in_a_line_each() -> None:
    done = command("--prefix", "acme-")
    assert done.returncode == 0, done.stderr
    assert "bucket acme-checkpoints: made" in done.stdout.splitlines()
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("store")
def test_wrong_keys_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = command()
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: ")
    assert len(refused.stderr.splitlines()) == 1


def test_policies_are_printed_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert json.loads(command("--policies", "--prefix", "acme-").stdout) == policies("acme-")

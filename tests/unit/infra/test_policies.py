"""What each role may do with the buckets."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from infra.policies import ROLES, policies


def allowed(role: str, action: str, path: str) -> bool:
    """Whether a policy lets `role` do `action` with the bucket or object at `path`."""
    return any(
        action in statement["Action"]
        and any(fnmatchcase(f"arn:aws:s3:::{path}", pattern) for pattern in statement["Resource"])
        for statement in policies("acme-")[role]["Statement"]
    )


def test_every_role_has_a_policy_that_grants_nothing_wholesale() -> None:
    assert set(policies()) == set(ROLES)
    for document in policies().values():
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in statement["Action"])
            assert not any(resource.startswith("arn:aws:s3:::*") for resource in statement["Resource"])


@pytest.mark.parametrize(
    ("role", "action", "path", "may"),
    [
        ("ingest", "s3:GetObject", "acme-coco/raw/1.jpg", True),
        ("ingest", "s3:PutObject", "acme-coco/raw/1.jpg", False),
        ("ingest", "s3:PutObject", "acme-coco/datasets/coco/manifest.json", True),
        ("ingest", "s3:PutObject", "acme-models/starry/1/starry.mlmodel", False),
        ("train", "s3:GetObject", "acme-coco/datasets/coco/manifest.json", True),
        ("train", "s3:PutObject", "acme-coco/datasets/coco/manifest.json", False),
        ("train", "s3:DeleteObject", "acme-checkpoints/run/last.ckpt", True),
        ("train", "s3:PutObject", "acme-models/index.json", False),
        ("train", "s3:GetObject", "acme-mlflow/artifacts/1", False),
        ("publish", "s3:PutObject", "acme-models/index.json", True),
        ("publish", "s3:DeleteObject", "acme-models/index.json", False),
        ("publish", "s3:GetObject", "acme-coco/raw/1.jpg", False),
        ("reader", "s3:GetObject", "acme-models/index.json", True),
        ("reader", "s3:PutObject", "acme-models/index.json", False),
        ("reader", "s3:GetObject", "acme-checkpoints/run/last.ckpt", False),
        ("reader", "s3:GetObject", "models/index.json", False),
    ],
)
def test_a_role_may_do_its_work_and_no_more(role: str, action: str, path: str, may: bool) -> None:
    assert allowed(role, action, path) is may

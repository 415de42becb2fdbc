"""Least-privilege policies for the buckets, as IAM documents: each role may do what it needs and nothing else.

Flows access MLflow's artifacts through its server, so only that server can access the bucket `mlflow`.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ROLES", "policies"]

ROLES = {
    "ingest": "reads raw photographs, writes datasets",
    "train": "reads datasets, keeps checkpoints",
    "publish": "adds published models; removes none",
    "mlflow": "the tracking server: its artifacts",
    "reader": "the iOS team: fetches published models",
}
_READ = ["s3:GetObject"]
_WRITE = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
_REMOVE = ["s3:DeleteObject"]


def policies(prefix: str = "") -> dict[str, dict[str, Any]]:
    """Return the policy document of each role, for buckets whose names start with `prefix`."""
    return {
        "ingest": _policy(
            _list(f"{prefix}coco"),
            _objects(_READ, f"{prefix}coco/raw/*"),
            _objects(_READ + _WRITE + _REMOVE, f"{prefix}coco/datasets/*"),
        ),
        "train": _policy(
            _list(f"{prefix}coco", "datasets/*"),
            _objects(_READ, f"{prefix}coco/datasets/*"),
            _list(f"{prefix}checkpoints"),
            _objects(_READ + _WRITE + _REMOVE, f"{prefix}checkpoints/*"),
        ),
        "publish": _policy(_list(f"{prefix}models"), _objects(_READ + _WRITE, f"{prefix}models/*")),
        "mlflow": _policy(_list(f"{prefix}mlflow"), _objects(_READ + _WRITE + _REMOVE, f"{prefix}mlflow/*")),
        "reader": _policy(_objects(_READ, f"{prefix}models/*")),
    }


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _list(bucket: str, below: str | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]}
    return statement | ({"Condition": {"StringLike": {"s3:prefix": [below]}}} if below else {})


def _objects(actions: list[str], pattern: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{pattern}"]}

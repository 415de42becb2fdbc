"""Creates the buckets and their rules, on AWS or any S3-compatible store. Running it again changes nothing.

The store and its keys come from the usual variables: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or
AWS_PROFILE.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, NamedTuple

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.policies import ROLES, policies
from tinystyle.commands.terminal import reporting_errors
from tinystyle.errors import UserError

__all__ = ["BUCKETS", "Step", "apply_policies", "bootstrap"]

BUCKETS = ("coco", "mlflow", "models", "checkpoints")
"""Buckets for photos and datasets, for MLflow's artifacts, for published models, and for training checkpoints."""
_VERSIONED = "models"
_EXPIRING, _EXPIRY_DAYS = "checkpoints", 30
_INCOMPLETE_UPLOAD_DAYS = 7
# Error codes of stores that lack a feature.
_UNSUPPORTED = (
    "NotImplemented",
    "MethodNotAllowed",
    "UnsupportedOperation",
    "InvalidAction",
    "UnknownAction",
    "405",
    "501",
)
_POLICY_VERSIONS_KEPT = 5  # the maximum on AWS


class Step(NamedTuple):
    """One bucket, setting of a bucket, or policy, and what was done about it."""

    what: str
    """What is to exist, such as `bucket models` or `models: versioned`."""
    outcome: str
    """`made`, `present` (nothing was changed) or `not supported by this store`."""


def bootstrap(s3: Any, region: str, prefix: str = "") -> Iterator[Step]:
    """Create each bucket, block public access, and set its lifecycle and versioning, unless that has been done.

    Yields one step at a time.

    Args:
        s3: a boto3 S3 client.
        region: AWS region of new buckets.
        prefix: text to put before each bucket's name, because bucket names are globally unique on AWS.

    Raises:
        UserError: a bucket with that name belongs to somebody else, or the store refuses or cannot be reached.
    """
    for bucket in BUCKETS:
        name = prefix + bucket
        yield _step(f"bucket {name}", partial(_make_bucket, s3, name, region))
        yield _step(f"{name}: not public", partial(_block_public_access, s3, name))
        rules = _lifecycle_rules(bucket)
        days = f"incomplete uploads end after {_INCOMPLETE_UPLOAD_DAYS} days"
        days += f", objects after {_EXPIRY_DAYS}" if bucket == _EXPIRING else ""
        yield _step(f"{name}: {days}", partial(_put_lifecycle, s3, name, rules))
        if bucket == _VERSIONED:
            yield _step(f"{name}: versioned", partial(_enable_versioning, s3, name))


def apply_policies(iam: Any, prefix: str = "") -> Iterator[Step]:
    """Create or update the IAM policies tinystyle-ROLE, which the operator attaches to users and roles.

    Args:
        iam: a boto3 IAM client.
        prefix: text before each bucket's name.

    Raises:
        UserError: the endpoint refuses or cannot be reached.
    """
    for role, document in policies(prefix).items():
        yield _step(f"policy tinystyle-{role}", partial(_put_policy, iam, role, document))


def _step(what: str, act: Callable[[], bool]) -> Step:
    """Call `act`, which returns whether it changed anything, and return the outcome.

    Raises:
        UserError: the store refuses or cannot be reached.
    """
    try:
        return Step(what, "made" if act() else "present")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _UNSUPPORTED or error.response["ResponseMetadata"]["HTTPStatusCode"] in (405, 501):
            return Step(what, "not supported by this store")
        raise UserError(f"{what}: the store refuses: {error}") from error
    except BotoCoreError as error:
        raise UserError(f"{what}: {error}; set AWS_ENDPOINT_URL and the keys, or AWS_PROFILE") from error


def _make_bucket(s3: Any, name: str, region: str) -> bool:
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 403:
            raise UserError(
                f"the bucket {name} belongs to another account, or these keys have no access to it; give --prefix"
            ) from error
        if status != 404:
            raise
    else:
        return False
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=name, **place)
    except s3.exceptions.BucketAlreadyOwnedByYou:  # another bootstrap has just created it
        return False
    return True


def _block_public_access(s3: Any, name: str) -> bool:
    wanted = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    present = _unless_absent(lambda: s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"], {})
    if present == wanted:
        return False
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=wanted)
    return True


def _lifecycle_rules(bucket: str) -> list[dict[str, Any]]:
    everything = {"Status": "Enabled", "Filter": {"Prefix": ""}}
    uploads = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _INCOMPLETE_UPLOAD_DAYS}}
    rules: list[dict[str, Any]] = [{"ID": "tinystyle-incomplete-uploads", **everything, **uploads}]
    if bucket == _EXPIRING:
        rules.append({"ID": "tinystyle-expiry", **everything, "Expiration": {"Days": _EXPIRY_DAYS}})
    return rules


def _put_lifecycle(s3: Any, name: str, rules: list[dict[str, Any]]) -> bool:
    present = _unless_absent(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"], [])
    if all(_held(rule, present) for rule in rules):
        return False
    ours = {rule["ID"] for rule in rules}
    others = [rule for rule in present if rule.get("ID") not in ours]  # a put replaces all rules
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": others + rules})
    return True


def _held(rule: dict[str, Any], present: list[dict[str, Any]]) -> bool:
    """Return whether the store already has the rule; the store may add fields of its own."""
    return any(all(other.get(name) == value for name, value in rule.items() if name != "Filter") for other in present)


def _enable_versioning(s3: Any, name: str) -> bool:
    if s3.get_bucket_versioning(Bucket=name).get("Status") == "Enabled":
        return False
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return True


def _put_policy(iam: Any, role: str, document: dict[str, Any]) -> bool:
    name, text = f"tinystyle-{role}", json.dumps(document)
    present = [
        policy for page in iam.get_paginator("list_policies").paginate(Scope="Local") for policy in page["Policies"]
    ]
    arn = next((policy["Arn"] for policy in present if policy["PolicyName"] == name), None)
    if arn is None:
        iam.create_policy(PolicyName=name, PolicyDocument=text, Description=f"tinystyle: {ROLES[role]}")
        return True
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    default = next(version["VersionId"] for version in versions if version["IsDefaultVersion"])
    held = iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"]
    if held == document:
        return False
    if len(versions) == _POLICY_VERSIONS_KEPT:
        oldest = min((v for v in versions if not v["IsDefaultVersion"]), key=lambda version: version["CreateDate"])
        iam.delete_policy_version(PolicyArn=arn, VersionId=oldest["VersionId"])
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
    return True


def _unless_absent(read: Callable[[], Any], default: Any) -> Any:
    """Read a bucket's configuration, or return `default` if there is none."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"].startswith("NoSuch"):
            return default
        raise


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    prefix: Annotated[str, typer.Option(help="Prefix of each bucket's name, such as acme-.")] = "",
    print_policies: Annotated[
        bool, typer.Option("--policies", help="Print the policy of each role as JSON, and do nothing else.")
    ] = False,
    put_policies: Annotated[
        bool, typer.Option("--apply-policies", help="Also create the policies in IAM, as tinystyle-ROLE.")
    ] = False,
) -> None:
    """Create the buckets coco, mlflow, models and checkpoints, with their lifecycle and versioning rules."""
    if print_policies:
        typer.echo(json.dumps(policies(prefix), indent=2))
        return
    session = boto3.session.Session()
    region = session.region_name or "us-east-1"
    steps = list(bootstrap(session.client("s3", region_name=region), region, prefix))
    if put_policies:
        steps += apply_policies(session.client("iam", region_name=region), prefix)
    for step in steps:
        typer.echo(f"{step.what}: {step.outcome}")


if __name__ == "__main__":
    with reporting_errors():
        app()

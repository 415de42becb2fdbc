"""MLflow's model registry: one registered model per style, whose versions have tags and aliases. Makes no decisions.

The alias `candidate` marks the version that passed the gates, and `champion` the one to publish.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from tinystyle.errors import UserError
from tinystyle.release.bundle import SUMS, check_name
from tinystyle.tracking.connection import connect, public_uri, user_name
from tinystyle.tracking.model_files import download, log_model

__all__ = [
    "CANDIDATE",
    "CHAMPION",
    "ModelVersion",
    "annotate",
    "assign",
    "fetch",
    "find",
    "log_model",
    "register",
    "remove",
    "versions",
]

CANDIDATE, CHAMPION = "candidate", "champion"
PAGE = 200
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE")  # the last one for a malformed run ID

MAY_PASS = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


@dataclass(frozen=True)
class ModelVersion:
    """A version of the registered model of a style."""

    style: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    """Properties and metrics of the model; `decision.<alias>` says, as JSON, why the version has or had the alias."""
    created: datetime
    """Creation time in UTC."""


def register(style: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
    """Register the model that `log_model` uploaded to a finished run, and return its version.

    A run that is already registered keeps its version.

    Args:
        style: name of the registered model; created if absent.
        run_id: ID of the MLflow run.
        tags: tags to set on the version, also on an existing one.

    Raises:
        UserError: the name is invalid, or the run is unknown, unfinished or has no model.
        UnavailableError: the server cannot be reached, or fails.
    """
    check_name(style)
    with connect() as client:
        source = _model_of(client, run_id)
        if not _of_run(client, style, run_id):
            _create(client, style, run_id, source, dict(tags))
        # Two concurrent calls for one run create two versions; delete all but the first, whichever call created them.
        kept, *others = _of_run(client, style, run_id)
        for other in others:
            _ignoring(UNKNOWN, client.delete_model_version, style, str(other))
    standing = find(style, kept)
    changed = {name: value for name, value in tags.items() if standing.tags.get(name) != value}
    if not changed:
        return standing
    annotate(style, kept, changed)
    return find(style, kept)


def versions(style: str | None = None) -> list[ModelVersion]:
    """Return all versions of a style, or of all styles, newest first; an empty list if the style is not registered."""
    names = f"name = '{check_name(style)}'" if style is not None else None
    with connect() as client:
        # Some stores omit aliases when searching for versions; the registered model always has them.
        models = _all_pages(client.search_registered_models, filter_string=names)
        aliases = {(model.name, alias): int(of) for model in models for alias, of in model.aliases.items()}
        found = _all_pages(client.search_model_versions, filter_string=names)
    result = [
        ModelVersion(
            style=version.name,
            version=int(version.version),
            run_id=version.run_id or "",
            aliases=tuple(
                sorted(a for (name, a), of in aliases.items() if (name, of) == (version.name, int(version.version)))
            ),
            tags=dict(version.tags),
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        )
        for version in found
    ]
    return sorted(result, key=lambda version: (version.created, version.version), reverse=True)


def find(style: str, version: int | str) -> ModelVersion:
    """Return the version of a style by number or alias.

    Raises:
        UserError: the version does not exist; the message lists those that exist.
        UnavailableError: the server cannot be reached, or fails.
    """
    there = versions(style)
    wanted = str(version)
    for candidate in there:
        if wanted == str(candidate.version) or wanted in candidate.aliases:
            return candidate
    if not there:
        styles = ", ".join(sorted({other.style for other in versions()})) or "nothing yet"
        raise UserError(f"no style {style} is registered at {public_uri()}; there is {styles}")
    numbers = ", ".join(" ".join([str(found.version), *(f"({name})" for name in found.aliases)]) for found in there)
    raise UserError(f"{style} has no version {wanted}; there is {numbers}")


def assign(style: str, alias: str, version: int, reason: str) -> ModelVersion:
    """Move an alias to a version, record the reason, and return the version.

    The reason is in the tag `decision.<alias>` of the version, JSON with the keys reason, who (user@host), time (ISO
    8601, UTC) and replaces (the number of the version that had the alias before, or null).

    Args:
        style: name of the registered model.
        alias: CANDIDATE or CHAMPION.
        version: version number.
        reason: why, in one sentence.

    Raises:
        UserError: the version does not exist.
        UnavailableError: the server cannot be reached, or fails.
    """
    before = next((other.version for other in versions(style) if alias in other.aliases), None)
    chosen = find(style, version)
    decision = {
        "reason": reason,
        "who": _who(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "replaces": before if before != chosen.version else None,
    }
    # Record the reason first, because a reason without an effect misleads less than an effect without a reason.
    annotate(style, chosen.version, {f"decision.{alias}": json.dumps(decision)})
    with connect() as client:
        client.set_registered_model_alias(style, alias, str(chosen.version))
    return find(style, chosen.version)


def remove(version: ModelVersion) -> None:
    """Delete a version, and move its run to MLflow's trash unless another version comes from the same run.

    Figures and files of a run in the trash can be restored until `mlflow gc` deletes them.

    Raises:
        UserError: the version has an alias.
        UnavailableError: the server cannot be reached, or fails.
    """
    there = versions()
    current = next((other for other in there if (other.style, other.version) == (version.style, version.version)), None)
    if current is not None and current.aliases:
        raise UserError(f"{version.style} {version.version} is {', '.join(current.aliases)}; it is not removed")
    shared = any(other.run_id == version.run_id and other != current for other in there)
    with connect() as client:
        if current is not None:
            client.delete_model_version(version.style, str(version.version))
        if version.run_id and not shared:
            _ignoring(UNKNOWN, client.delete_run, version.run_id)


def annotate(style: str, version: int, tags: Mapping[str, str]) -> None:
    """Set tags of a version; its other tags are kept."""
    with connect() as client:
        for name, value in tags.items():
            client.set_model_version_tag(style, str(version), name, str(value))


def fetch(version: ModelVersion, out: Path) -> Path:
    """Download the files of a version (model/, exports/, evaluation.json) into `out`; see `model_files.download`."""
    return download(version.run_id, out)


def _model_of(client: Any, run_id: str) -> str:
    """Return the URI of the model's files in a finished run.

    Raises:
        UserError: the run is unknown, unfinished or has no model.
    """
    from mlflow.exceptions import MlflowException

    try:
        info = client.get_run(run_id).info
    except MlflowException as error:
        if error.error_code not in UNKNOWN:
            raise
        raise UserError(f"MLflow at {public_uri()} knows no run {run_id}") from error
    if info.status != "FINISHED":
        raise UserError(f"run {run_id} is {info.status.lower()}; only a finished run can be registered")
    if SUMS not in {artifact.path for artifact in client.list_artifacts(run_id)}:
        raise UserError(f"run {run_id} holds no finished model; log one to it first")
    return f"{info.artifact_uri}/model"


def _create(client: Any, style: str, run_id: str, source: str, tags: dict[str, str]) -> None:
    _ignoring(("RESOURCE_ALREADY_EXISTS",), client.create_registered_model, style)
    for attempt in Retrying(
        # SQLite without a server reports "locked" while another process writes.
        stop=stop_after_attempt(4),
        wait=wait_exponential_jitter(multiplier=0.1, max=3),
        retry=retry_if_exception(lambda error: getattr(error, "error_code", "") in MAY_PASS),
        reraise=True,
    ):
        with attempt:
            client.create_model_version(style, source, run_id, tags=tags)


def _of_run(client: Any, style: str, run_id: str) -> list[int]:
    """Return the versions of a style that belong to a run, oldest first."""
    found = _all_pages(client.search_model_versions, filter_string=f"name = '{style}' and run_id = '{run_id}'")
    return sorted(int(version.version) for version in found)


def _ignoring(codes: tuple[str, ...], call: Any, *arguments: Any) -> None:
    from mlflow.exceptions import MlflowException

    try:
        call(*arguments)
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def _all_pages(search: Any, **filters: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **filters)
        found += page
        token = page.token
        if not token:
            return found


def _who() -> str:
    return f"{user_name()}@{socket.gethostname()}"

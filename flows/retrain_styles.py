"""The flow `retrain-styles`: trains the catalog's networks that have not been trained yet, and applies the gates."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import ValidationError

from flows.catalog import StyleEntry, Training, load_catalog
from flows.checks import registered
from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE, notify
from flows.outside import admit, admit_run
from flows.trainings import run_trainings
from tinystyle.errors import UserError, is_temporary, sentence

if TYPE_CHECKING:
    from flows.gates import Decision
    from tinystyle.tracking.registry import ModelVersion

__all__ = ["retrain_styles"]

JUDGED = "decision.gates"
"""Tag of a version that records the decision of the gates."""


@dataclass
class Work:
    """One network of the catalog, and what this flow run has done about it."""

    entry: StyleEntry
    training: Training
    version: ModelVersion | None = None
    """Version that this training produced; None before it, or if it failed."""
    trained: bool = False
    """Whether this flow run trained it."""
    fault: str = ""
    """What went wrong, in one sentence; empty if nothing did."""
    decision: str = ""
    """Decision of the gates and its reasons, in one line; empty if this flow run made none."""

    @property
    def undecided(self) -> bool:
        """Whether the version is registered, by any flow run, but the gates have not been applied to it yet."""
        return self.version is not None and JUDGED not in self.version.tags


@flow(name="retrain-styles", **ON_FAILURE)
def retrain_styles(
    catalog: str = "infra/catalog.yaml",
    dry_run: bool = False,
    checkpoints: str = "s3://checkpoints",
    spread: bool = True,
) -> dict[str, Any]:
    """Train the networks of a style catalog that are new or changed, and compare each with the champion.

    A network passes the gates if its files are verified and within the size budget, it has not collapsed, and its
    content loss, paint3 and paint4 are not worse than the champion's by more than the margin with 95% confidence, both
    measured by this flow. It then gets the alias candidate. `tinystyle promote` makes it the champion, or this flow
    does if the catalog says auto_promote: true. The flow does nothing if no style is new or changed.

    Args:
        catalog: YAML file with the styles: a path in the checkout, or a URI.
        dry_run: Only report which networks would be trained.
        checkpoints: Folder or URI under which the runs keep their checkpoints.
        spread: Train in flow runs of their own on the work pool; otherwise one after the other in this flow run.
    """
    try:
        admit({"catalog": catalog}, {"checkpoints": checkpoints})
        networks, refused = read(catalog)
        works = [_compared(entry, training) for entry, training in networks]
        due = [work for work in works if work.version is None and not work.fault]
        if not dry_run:
            train_due(due, checkpoints, spread)
            for work in works:
                judge_if_undecided(work)
        return _state(catalog, works, refused, len(due), dry_run)  # type: ignore[no-any-return]
    except FLOW_ERRORS as error:
        return failed(error)  # type: ignore[return-value]


@task(name="read-catalog", **NETWORK)
def read(catalog: str) -> tuple[list[tuple[StyleEntry, Training]], dict[str, str]]:
    """List all networks that the enabled entries of the catalog ask for, one for each alpha; and the refused entries.

    Returns:
        The networks, and by the name of each entry that is invalid, or not open to the caller, the reason.

    Raises:
        UserError: the catalog cannot be read.
    """
    found = load_catalog(catalog)
    entries, refused = [entry for entry in found.styles if entry.enabled], dict(found.refused)
    for entry in entries:
        try:
            admit_run({**entry.parameters, "style": entry.image})
        except UserError as error:
            refused[entry.name] = sentence(error) or str(error)
    for name, reason in refused.items():
        get_run_logger().error("%s: %s", name, reason)
    return [(entry, one) for entry in entries if entry.name not in refused for one in entry.trainings], refused


@task(name="compare", task_run_name="compare {training.name}", **NETWORK)
def compare(entry: StyleEntry, training: Training) -> Work:
    """Look for a registered version with the run key of `training`, that is, trained with the same inputs and settings.

    A mistake of the user, such as a missing style image, is returned as the `fault`.
    """
    try:
        version = registered(training)
    except (UserError, ValidationError) as error:
        if is_temporary(error):  # then the task is retried
            raise
        get_run_logger().error("%s: %s", training.name, sentence(error))
        return Work(entry, training, fault=sentence(error) or str(error))
    state = f"unchanged, version {version.version}" if version else "new or changed"
    get_run_logger().info("%s: %s", training.name, state)
    return Work(entry, training, version)


def _compared(entry: StyleEntry, training: Training) -> Work:
    """Call `compare`; what stays away becomes a `fault` too, so that it does not affect other styles."""
    try:
        return compare(entry, training)
    except UserError as error:
        return Work(entry, training, fault=sentence(error) or str(error))


def train_due(due: list[Work], checkpoints: str, spread: bool) -> None:
    """Train the networks in `due`, and store the registered version or the fault in each."""
    asked = [{**work.training.values(), "checkpoints": checkpoints} for work in due]
    for work, outcome in zip(due, run_trainings(asked, spread=spread) if asked else [], strict=True):
        work.version, work.trained = outcome.version, outcome.version is not None and not outcome.skipped
        work.fault = "" if outcome.version else outcome.message


@task(name="judge", task_run_name="judge {work.training.name}", **NETWORK)
def decide(work: Work) -> None:
    """Measure the version and the champion, apply the gates, and set the aliases; the registry records the reasons."""
    from flows.gates import judge
    from flows.judgments import show_decision
    from tinystyle.tracking import registry

    version = work.version
    assert version is not None
    there, decision = registry.versions(version.style), None
    champion = next((other for other in there if registry.CHAMPION in other.aliases), None)
    if champion and champion.version == version.version:
        work.decision = "accepted: the champion already"
    else:
        evidence = _evidence(version, work.training)
        against = _evidence(champion, work.training) if champion else None
        decision = judge(evidence, against, work.entry)
        show_decision(version, decision, evidence, against)
        work.decision = decision.sentence()
        if decision.accepted:
            registry.assign(version.style, registry.CANDIDATE, version.version, work.decision)
        if decision.accepted and work.entry.auto_promote:
            registry.assign(version.style, registry.CHAMPION, version.version, f"auto_promote; {work.decision}")
    registry.annotate(version.style, version.version, {JUDGED: work.decision})  # last, so an interruption repeats it
    work.version = registry.find(version.style, version.version)
    get_run_logger().info("%s version %d %s", version.style, version.version, work.decision)
    if decision:
        _tell(work.version, decision)


def _tell(version: ModelVersion, decision: Decision) -> None:
    """Tell the operator what the gates decided, and which alias the version has now."""
    from tinystyle.tracking.registry import CHAMPION

    event = "promotion" if CHAMPION in version.aliases else "candidate" if decision.accepted else "refusal"
    subject = f"{version.style} version {version.version}: {event}"
    facts: dict[str, str | int | None] = {"style": version.style, "version": version.version, "run_id": version.run_id}
    notify(subject, decision.headline(), event=event, **facts)


def judge_if_undecided(work: Work) -> None:
    """Apply the gates to the version unless that has been done; a UserError, such as damaged files, becomes `fault`."""
    if work.undecided:
        try:
            decide(work)
        except (UserError, ValidationError) as error:
            work.fault = sentence(error) or str(error)


def _evidence(version: ModelVersion, training: Training) -> Any:
    from flows.gates import measure
    from tinystyle.tracking import registry

    with tempfile.TemporaryDirectory(prefix="tinystyle-") as scratch:
        folder = registry.fetch(version, Path(scratch) / "model")
        return measure(f"version {version.version}", folder, training)


def _state(catalog: str, works: list[Work], refused: dict[str, str], due: int, dry_run: bool) -> Any:
    """Create the artifact, and return the final state of the flow run."""
    trained = sum(work.trained for work in works)
    faults = [f"{name}: {reason}" for name, reason in refused.items()]
    faults += [f"{work.training.name}: {work.fault}" for work in works if work.fault]
    if not works:
        message = "no networks to train"
    elif dry_run:
        message = f"{due} of {len(works)} networks would be trained"
    elif not due and not faults and not any(work.decision for work in works):
        message = f"nothing to do: all {len(works)} networks are trained and judged"
    else:
        judged = sum(bool(work.decision) for work in works)
        message = f"{trained} of {len(works)} networks trained, {judged} judged"
    if faults:
        message += f"; failed: {'; '.join(faults)}"
    rows = [_row(work, dry_run) for work in works]
    rows += [
        {"style": name, "state": "refused", "version": None, "aliases": [], "decision": reason}
        for name, reason in refused.items()
    ]
    create_markdown_artifact(markdown(catalog, message, rows), key="retrain-styles", description=message[:200])
    get_run_logger().info(message)
    data = {"trained": trained, "due": due, "styles": rows}
    return Failed(message=message) if faults else Completed(message=message, data=data)


def _row(work: Work, dry_run: bool) -> dict[str, Any]:
    if work.fault:
        state = "failed"
    elif work.version is None:
        state = "to be trained" if dry_run else "not trained"
    else:
        state = "trained" if work.trained else "unchanged"
    return {
        "style": work.training.name,
        "state": state,
        "version": work.version.version if work.version else None,
        "aliases": list(work.version.aliases) if work.version else [],
        "decision": work.fault or work.decision,
    }


def markdown(catalog: str, message: str, rows: list[dict[str, Any]]) -> str:
    """Return the report in Markdown: what was done, and why."""
    lines = [f"# {catalog}", "", message, "", "| style | state | version | aliases | why |", "|---|---|---:|---|---|"]
    for row in rows:
        version = "" if row["version"] is None else row["version"]
        lines.append(
            f"| {row['style']} | {row['state']} | {version} | {', '.join(row['aliases'])} | {row['decision']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(json.dumps(retrain_styles(dry_run=True), indent=2))

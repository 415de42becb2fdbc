"""The results of a train-style run: its final state, a page for people, and the result for flows on other machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed

from flows.cost import cost_of
from flows.pictures import embedded
from tinystyle.data import storage
from tinystyle.release.publishing import DEFAULT_ROOT
from tinystyle.tracking.connection import version_url

if TYPE_CHECKING:
    from tinystyle.evaluation.model_report import ModelReport
    from tinystyle.release.bundle import ReleaseFile
    from tinystyle.tracking.registry import ModelVersion
    from tinystyle.training.lease import Lease
    from tinystyle.training.record import RunRecord

__all__ = ["RESULT", "result_of", "run_link", "show_result", "skipped_state", "taken_over_state", "unfinished_state"]

RESULT = "train-style-result"
"""Key of the artifact that holds the return value of the flow."""


@task(name="show-result", cache_policy=NO_CACHE)
def show_result(version: ModelVersion, report: ModelReport, files: list[ReleaseFile], run: Path, model: Path) -> None:
    """Create two artifacts of the flow run: a Markdown page, and a table with `result_of`, which other flows read.

    Args:
        version: the registered version.
        report: its evaluation.
        files: its exported files.
        run: folder of the run.
        model: folder that `assemble` wrote.
    """
    page = _figures(version, report, files) + _places(version, run) + _picture(model, files)
    create_markdown_artifact(page, key=f"trained-{version.style}", description=f"Version {version.version}")
    create_table_artifact([result_of(version, skipped=False)], key=RESULT)


def _figures(version: ModelVersion, report: ModelReport, files: list[ReleaseFile]) -> str:
    page = f"# {version.style}, version {version.version}\n\n"
    page += f"{report.name}: {report.weights:,} weights. {run_link(version.run_id)}\n\n"
    page += f"On {report.count} held-out photos:\n\n"
    page += "| | content | style | paint3 | paint4 | bad blocks |\n|---|---:|---:|---:|---:|---:|\n"
    for row in report.rows:
        figures = " | ".join(f"{value:.3f}" for value in (row.content, row.style, row.paint3, row.paint4))
        page += f"| {row.name} | {figures} | {row.bad_blocks:.2%} |\n"
    page += "\n| file, verified | bytes | PSNR, dB | runs on |\n|---|---:|---:|---|\n"
    for file in files:
        page += f"| {file.name} | {file.bytes:,} | {file.psnr:.1f} | {file.runs_on} |\n"
    return page


def _places(version: ModelVersion, run: Path) -> str:
    """List where everything is, and what the training cost."""
    import torch

    from tinystyle.training.record import RunRecord
    from tinystyle.training.run_folder import RunFolder

    record, style, number = RunRecord.read(run), version.style, version.version
    url, cost = version_url(style, number), cost_of(record, run, gpu=torch.cuda.is_available())
    folder = RunFolder(run).checkpoints(record.config.execution)
    registered = f"[{style} {number}]({url})" if url else f"{style} {number}"
    rows = {
        "registered version": f"{registered}, run key `{record.lineage['key']}`",
        "files": f"`tinystyle models fetch {style} --version {number} --out FOLDER`",
        "checkpoints": f"`{folder}`, {record.step:,} steps",
        "photos": f"`{record.config.photos}`",
        "once published": f"`{storage.join(DEFAULT_ROOT, style, str(number))}`",
        "cost of the training": cost.sentence() if cost else "not measured",
    }
    return "\n| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _picture(model: Path, files: list[ReleaseFile]) -> str:
    preview = model / "exports" / f"{files[0].export_name}.png"
    if not preview.is_file():
        return ""
    with Image.open(preview) as picture:
        return f"\n{embedded(picture, 'photos and stylized photos')}\n"


def run_link(run_id: str) -> str:
    """Return a link to the run in MLflow's UI, or just its ID if there is no UI."""
    from tinystyle.tracking.connection import run_url

    url = run_url(run_id)
    return f"[The run in MLflow]({url})." if url else f"MLflow run `{run_id}`."


def result_of(version: ModelVersion, skipped: bool) -> dict[str, Any]:
    """Return the return value of train-style: style, version, run_id (of MLflow), key (run key) and skipped.

    Args:
        version: the registered version.
        skipped: whether it was registered before, so that nothing was trained.
    """
    names = {"style": version.style, "version": version.version, "run_id": version.run_id}
    return {**names, "key": version.tags.get("key", ""), "skipped": skipped}


def skipped_state(version: ModelVersion) -> State[Any]:
    """Return the final state of a flow run whose version was already registered."""
    message = f"{version.style} version {version.version} is already registered for exactly this run; set force to train it again"
    get_run_logger().info(message)
    create_table_artifact([result_of(version, skipped=True)], key=RESULT, description=message)
    return Completed(message=message, data=result_of(version, skipped=True))


def unfinished_state(record: RunRecord) -> State[Any]:
    """Return the state of a flow run whose training did not complete.

    One that was asked to stop, as when its machine is taken away, is due again at once, on any worker. One that was
    killed, or whose store or disk gave out, has crashed, after which the stack's keeper starts it again. One that cannot
    succeed has failed.
    """
    message = f"training {record.message}" if record.state == "stopped" else record.message
    if record.state not in ("stopped", "killed"):
        get_run_logger().error(message)
        return Crashed(message=message) if record.may_pass and deployment.id else Failed(message=message)
    if record.state == "killed":
        get_run_logger().error(message)
        return Crashed(message=message)
    if not flow_run.id:
        return Crashed(message=f"{message}; run it again to resume")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)
    if run.state and run.state.is_cancelling():
        return Cancelled(message=f"{message}; run it again to resume")
    if run.deployment_id is None:
        return Crashed(message=f"{message}; run it again to resume")
    return AwaitingRetry(message=f"{message}; any worker resumes it")


def taken_over_state(lease: Lease) -> State[Any]:
    """Return the final state of a flow run whose lease another one has taken, after it was silent for too long.

    If that is this flow run itself, started again on another machine, this process may not say anything of it.
    """
    if lease.holder() == str(flow_run.id):
        os._exit(0)
    return Crashed(message="this run was silent for so long that another run of the same network has taken over")

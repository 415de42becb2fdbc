"""The flow `ingest-coco`: raw photographs to a shard dataset, in partitions that are flow runs of their own.

Without a server: `python -m flows.ingest_coco SOURCE DATASET`, all partitions in this process.
"""

# Annotations are objects here, not strings: Prefect loads this file by its path, where it cannot resolve strings.
import argparse
import asyncio
import sys
from collections.abc import Awaitable
from typing import Annotated, Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.faults import NETWORK, failed
from tinystyle.data import storage
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import PartitionReport, Plan, merge_partitions, plan_partitions, reasons_of
from tinystyle.data.partitions import ingest_partition as ingest_photos
from tinystyle.errors import USER_ERRORS, UnavailableError, UserError

__all__ = ["ingest_coco", "ingest_partition"]

PARTITION = "ingest-partition/default"
_EVERY = 1000

# What the form says of a parameter is in the flows' docstrings; Prefect takes only the limits from here.
Place = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=16, le=2048)]
Partitions = Annotated[int, Field(ge=1, le=256)]


@flow(name="ingest-coco", flow_run_name="{source} to {dataset}")
async def ingest_coco(
    source: Place, dataset: Place, partitions: Partitions = 4, size: Size = 256, spread: bool = True
) -> dict[str, Any]:
    """Make a shard dataset of raw photographs, or continue or extend the one that stands.

    The same run again does what is missing, and nothing where nothing is.

    Args:
        source: Raw photographs: s3:// prefix, zip in S3, https address of a zip, or a folder that every worker sees.
        dataset: Where the shards and manifest.json go, such as s3://coco/datasets/coco.
        partitions: Flow runs that share the work; as many of them run at a time as the work pool has room for.
        size: Short side of the photos in pixels, 16 to 2048; training crops can be at most that.
        spread: Each partition as a flow run on the work pool; otherwise all of them one by one in this run.
    """
    try:
        if spread:
            await check_deployed(source, dataset)
        plan = plan_ingest(source, dataset, partitions, size)
        runs = [_partition(source, dataset, index, partitions, size, spread) for index in plan.to_do]
        faults = [fault for fault in await asyncio.gather(*runs) if fault]
        if faults:
            raise UnavailableError(
                f"{len(faults)} of {partitions} partitions failed; the others are kept, the same run again does the rest. "
                + "; ".join(faults)
            )
        manifest = merge(plan)
        show(dataset, manifest)
    except USER_ERRORS as error:
        return failed(error)  # type: ignore[return-value]
    held_out, lost = len(manifest.held_out), len(manifest.quarantined)
    message = f"{dataset}: {manifest.count:,} photos, {held_out:,} held out, {lost:,} quarantined"
    result = {
        "dataset": dataset,
        "photos": manifest.count,
        "held_out": held_out,
        "quarantined": lost,
        "sha256": manifest.sha256(),
    }
    return Completed(message=message, data=result)  # type: ignore[return-value]


@flow(name="ingest-partition", flow_run_name="{dataset}: partition {index} of {of}")
def ingest_partition(
    source: Place, dataset: Place, index: Partitions, of: Partitions, size: Size = 256
) -> dict[str, int]:
    """Ingest one partition of ingest-coco, or the rest of one that was interrupted; the dataset is complete after the merge.

    Args:
        source: Raw photographs, as ingest-coco was given.
        dataset: Where the dataset will lie, as ingest-coco was given.
        index: Which partition, counted from 1.
        of: Number of partitions in all.
        size: Short side of the photos in pixels.
    """
    try:
        report = ingest_one(source, dataset, index, of, size)
    except USER_ERRORS as error:
        return failed(error)  # type: ignore[return-value]
    lost = ", ".join(f"{count:,} {reason}" for reason, count in report.quarantined.items()) or "none"
    message = f"partition {index} of {of}: {report.photos:,} photos; quarantined: {lost}"
    return Completed(message=message, data={"photos": report.photos})  # type: ignore[return-value]


async def check_deployed(source: str, dataset: str) -> None:
    """Raise ValueError where partitions cannot run on other machines."""
    for name, place in (("source", source), ("dataset", dataset)):
        if not storage.is_remote(place) and not place.startswith(("/", "~", "file:///")):
            raise UserError(f"{name} {place} is relative to nothing that workers share; give a URI or an absolute path")
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(PARTITION)
        except ObjectNotFound as error:
            raise UserError(f"there is no deployment {PARTITION}; run `make deploy`, or set spread to false") from error


@task(name="plan", **NETWORK)
def plan_ingest(source: str, dataset: str, partitions: int, size: int) -> Plan:
    """Everything that can be known to be wrong, then who does what."""
    plan = plan_partitions(source, dataset, partitions, size=size)
    photos = sum(len(plan.names(index)) for index in plan.to_do)
    get_run_logger().info("%d files to ingest, in %d partitions", photos, len(plan.to_do))
    return plan


async def _partition(source: str, dataset: str, index: int, of: int, size: int, spread: bool) -> str | None:
    """Run one partition to its end; what went wrong, in one sentence, or None."""
    parameters = {"source": source, "dataset": dataset, "index": index, "of": of, "size": size}
    if spread:
        pending: Awaitable[Any] = run_deployment(PARTITION, parameters=parameters)  # type: ignore[assignment]
        state: State[Any] | None = (await pending).state
    else:
        state = ingest_partition(**parameters, return_state=True)
    if state is not None and state.is_completed():
        return None
    return f"partition {index}: {state.message or state.name if state else 'no state'}"


# A source that stops answering ends a partition; minutes later it may be there again.
@task(name="ingest", **NETWORK | {"retry_delay_seconds": [10, 60, 300]})
def ingest_one(source: str, dataset: str, index: int, of: int, size: int) -> PartitionReport:
    """Read, decode and write one partition's photos; a retry goes on where it stopped."""
    log = get_run_logger()

    def progress(done: int, total: int, quarantined: int) -> None:
        if done % _EVERY == 0 or done == total:
            log.info("%d of %d photos, %d quarantined", done, total, quarantined)

    return ingest_photos(source, dataset, index, of, size=size, progress=progress)


@task(name="merge", **NETWORK)
def merge(plan: Plan) -> Manifest:
    """The partitions' shards to one dataset, duplicates across partitions left out."""
    return merge_partitions(plan)


@task(name="show", **NETWORK)
def show(dataset: str, manifest: Manifest) -> None:
    """The counts, and why files were left out, as an artifact of the flow run."""
    rows = [
        ("photos", manifest.count),
        ("of these held out of training", len(manifest.held_out)),
        ("shards", len(manifest.shards)),
        ("bytes", sum(shard.bytes for shard in manifest.shards)),
        ("files left out", len(manifest.quarantined)),
        *((f"&nbsp;&nbsp;{reason}", count) for reason, count in reasons_of(manifest).items()),
    ]
    table = "\n".join(f"| {name} | {count:,} |" for name, count in rows)
    create_markdown_artifact(
        f"# {dataset}\n\n{manifest.size} px, from {manifest.source}\n\n| | |\n|---|---:|\n{table}\n\n"
        f"`{dataset}/manifest.json` names every file that was left out. Manifest hash `{manifest.sha256()}`.",
        key="ingest-coco",
        description=f"what {dataset} holds",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ingest photographs in this process, as the flow ingest-coco.")
    parser.add_argument("source")
    parser.add_argument("dataset")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    end: State[Any] = asyncio.run(ingest_coco(**vars(parser.parse_args()), spread=False, return_state=True))  # type: ignore[arg-type]
    sys.exit(0 if end.is_completed() else str(end.message))

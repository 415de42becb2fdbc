"""The flow `ingest-coco`: converts raw photos to a shard dataset, in partitions that are separate flow runs.

To run all partitions in this process, without a server: `python -m flows.ingest_coco SOURCE DATASET`.
"""

# Annotations are objects here, not strings, because Prefect loads this file by path and cannot resolve strings then.
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
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from flows.faults import FLOW_ERRORS, NETWORK, failed
from flows.notifications import ON_FAILURE
from flows.outside import admit, title
from tinystyle.data import addresses, storage
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import PartitionReport, Plan, merge_partitions, plan_partitions, reasons_of
from tinystyle.data.partitions import ingest_partition as ingest_photos
from tinystyle.data.syncing import sync_dataset
from tinystyle.errors import UnavailableError, UserError

__all__ = ["ingest_coco", "ingest_partition"]

PARTITION = "ingest-partition/default"
_EVERY = 1000

# Prefect's form takes descriptions from the docstrings of the flows, and only the limits from here.
Place = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=16, le=2048)]
Partitions = Annotated[int, Field(ge=1, le=256)]


def _run_name() -> str:
    given = flow_run.parameters
    if "index" in given:
        return title(f"{addresses.shown(given['dataset'])}:", "partition", given["index"], "of", given["of"])
    return title(given["source"], "to", given["dataset"])


@flow(name="ingest-coco", flow_run_name=_run_name, **ON_FAILURE)
async def ingest_coco(
    source: Place,
    dataset: Place,
    partitions: Partitions = 4,
    size: Size = 256,
    spread: bool = True,
    sync: bool = False,
) -> dict[str, Any]:
    """Make a shard dataset of raw photos, or resume or extend an existing one.

    Running it again does only what is missing, and nothing if the dataset is complete.

    Args:
        source: Raw photos: an s3:// prefix, a .zip in S3, the https address of a .zip, or a folder that all workers can
            access and the operator has opened.
        dataset: Location for the shards and manifest.json, such as s3://coco/datasets/coco.
        partitions: Number of flow runs that share the work; the work pool limits how many run at a time.
        size: Short side of the stored photos in pixels, 16 to 2048; training crops can be at most this large.
        spread: Run each partition as a flow run on the work pool; otherwise run them one by one in this flow run.
        sync: Also replace photos that have changed at the source, and drop those that have vanished.
    """
    try:
        admit({"source": source}, {"dataset": dataset})
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
        if sync:
            manifest = bring_in_line(source, dataset, size)
        show(dataset, manifest)
    except FLOW_ERRORS as error:
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


@flow(name="ingest-partition", flow_run_name=_run_name)
def ingest_partition(
    source: Place, dataset: Place, index: Partitions, of: Partitions, size: Size = 256
) -> dict[str, int]:
    """Ingest or resume one partition of ingest-coco, which merges all partitions into the dataset at the end.

    Args:
        source: Raw photos, as given to ingest-coco.
        dataset: Location of the dataset, as given to ingest-coco.
        index: Number of the partition, counted from 1.
        of: Total number of partitions.
        size: Short side of the stored photos in pixels.
    """
    try:
        admit({"source": source}, {"dataset": dataset})
        report = ingest_one(source, dataset, index, of, size)
    except FLOW_ERRORS as error:
        return failed(error)  # type: ignore[return-value]
    lost = ", ".join(f"{count:,} {reason}" for reason, count in report.quarantined.items()) or "none"
    message = f"partition {index} of {of}: {report.photos:,} photos; quarantined: {lost}"
    return Completed(message=message, data={"photos": report.photos})  # type: ignore[return-value]


async def check_deployed(source: str, dataset: str) -> None:
    """Check that partitions can run on other machines.

    Raises:
        UserError: `source` or `dataset` is a relative path, or the deployment of the partitions is missing.
    """
    for name, place in (("source", source), ("dataset", dataset)):
        if not storage.is_remote(place) and not storage.local_path(place).is_absolute():
            raise UserError(f"{name} {place} is relative to nothing that workers share; give a URI or an absolute path")
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(PARTITION)
        except ObjectNotFound as error:
            raise UserError(f"there is no deployment {PARTITION}; run `make deploy`, or set spread to false") from error


@task(name="plan", **NETWORK)
def plan_ingest(source: str, dataset: str, partitions: int, size: int) -> Plan:
    """Check that source and destination can be read and written, and assign the photos to partitions."""
    plan = plan_partitions(source, dataset, partitions, size=size)
    photos = sum(len(plan.names(index)) for index in plan.to_do)
    get_run_logger().info("%d files to ingest, in %d partitions", photos, len(plan.to_do))
    if plan.changes:
        get_run_logger().warning("%s: %s", dataset, plan.changes)
    return plan


async def _partition(source: str, dataset: str, index: int, of: int, size: int, spread: bool) -> str | None:
    """Run one partition to its end, and return what went wrong in one sentence, or None."""
    parameters = {"source": source, "dataset": dataset, "index": index, "of": of, "size": size}
    if spread:
        pending: Awaitable[Any] = run_deployment(PARTITION, parameters=parameters)  # type: ignore[assignment]
        state: State[Any] | None = (await pending).state
    else:
        state = ingest_partition(**parameters, return_state=True)
    if state is not None and state.is_completed():
        return None
    return f"partition {index}: {state.message or state.name if state else 'no state'}"


# A partition fails if its source stops answering; minutes later the source may be available again.
@task(name="ingest", **NETWORK | {"retry_delay_seconds": [10, 60, 300]})
def ingest_one(source: str, dataset: str, index: int, of: int, size: int) -> PartitionReport:
    """Read, decode and write the photos of one partition; a retry resumes it."""
    log = get_run_logger()

    def progress(done: int, total: int, quarantined: int) -> None:
        if done % _EVERY == 0 or done == total:
            log.info("%d of %d photos, %d quarantined", done, total, quarantined)

    return ingest_photos(source, dataset, index, of, size=size, progress=progress)


@task(name="merge", **NETWORK)
def merge(plan: Plan) -> Manifest:
    """Merge the partitions into one dataset, without duplicates across partitions."""
    return merge_partitions(plan)


@task(name="sync", **NETWORK)
def bring_in_line(source: str, dataset: str, size: int) -> Manifest:
    """Replace photos that have changed at the source, and drop those that have vanished; a retry resumes it."""
    manifest, changes = sync_dataset(source, dataset, size=size)
    get_run_logger().info("%s", changes)
    return manifest


@task(name="show", **NETWORK)
def show(dataset: str, manifest: Manifest) -> None:
    """Create the artifact of the flow run: the numbers of photos, and of files left out for each reason."""
    rows = [
        ("photos", manifest.count),
        ("held out of training", len(manifest.held_out)),
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
    parser = argparse.ArgumentParser(description="Run the flow ingest-coco in this process.")
    parser.add_argument("source")
    parser.add_argument("dataset")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--sync", action="store_true")
    end: State[Any] = asyncio.run(ingest_coco(**vars(parser.parse_args()), spread=False, return_state=True))  # type: ignore[arg-type]
    sys.exit(0 if end.is_completed() else str(end.message))

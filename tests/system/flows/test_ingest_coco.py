from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, ParameterTypeError

from flows.ingest_coco import PARTITION, ingest_coco
from tests.support.badimages import save_photographs
from tests.support.flows import QUIET, Platform
from tests.support.servers import ObjectStore
from tinystyle.data import storage
from tinystyle.data.ingest import ingest
from tinystyle.data.manifest import Manifest
from tinystyle.data.partitions import plan_partitions

pytestmark = [pytest.mark.platform, *QUIET]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "photos"
    save_photographs(folder, 24)
    (folder / "photo-0003.jpg").write_text("no photo")
    (folder / "photo-0020.jpg").write_bytes((folder / "photo-0001.jpg").read_bytes())
    return folder


@pytest.fixture(scope="module")
def expected(photos: Path) -> Manifest:
    return ingest(str(photos), str(photos.parent / "reference"), size=64, workers=1)


def run(source: Path | str, dataset: Path | str, **parameters: Any) -> Any:
    """The flow run's final state."""
    return asyncio.run(ingest_coco(str(source), str(dataset), size=64, return_state=True, **parameters))  # type: ignore[arg-type]


def partition_runs() -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=["ingest-partition"])))


def artifact() -> str:
    async def read() -> str:
        from prefect.artifacts import Artifact

        found = await Artifact.get("ingest-coco")
        assert found is not None
        return str(found.data)

    return asyncio.run(read())


@pytest.mark.usefixtures("platform")
def test_ingests_once(photos: Path, expected: Manifest, tmp_path: Path) -> None:
    before = len(partition_runs())
    state = run(photos, tmp_path / "out", partitions=3, spread=False)
    assert state.is_completed(), state.message
    manifest = Manifest.read(tmp_path / "out")
    assert (manifest.count, manifest.quarantined, manifest.held_out) == (22, expected.quarantined, expected.held_out)
    assert state.result() == {
        "dataset": str(tmp_path / "out"),
        "photos": 22,
        "held_out": len(manifest.held_out),
        "quarantined": 2,
        "sha256": manifest.sha256(),
    }
    assert len(partition_runs()) == before + 3
    for line in ("| photos | 22 |", "| &nbsp;&nbsp;not an image | 1 |", "| &nbsp;&nbsp;duplicate | 1 |"):
        assert line in artifact()
    again = run(photos, tmp_path / "out", partitions=3, spread=False)
    assert again.is_completed()
    assert len(partition_runs()) == before + 3, "nothing was to be done"
    assert Manifest.read(tmp_path / "out") == manifest


@pytest.mark.usefixtures("platform")
def test_a_sync_makes_what_a_fresh_ingest_makes(photos: Path, tmp_path: Path) -> None:
    raw = Path(shutil.copytree(photos, tmp_path / "raw"))
    assert run(raw, tmp_path / "out", partitions=2, spread=False).is_completed()
    (raw / "photo-0001.jpg").unlink()
    shutil.copy(raw / "photo-0002.jpg", raw / "photo-0005.jpg")
    save_photographs(raw, 2, first=40)
    state = run(raw, tmp_path / "out", partitions=2, spread=False, sync=True)
    fresh = ingest(str(raw), str(tmp_path / "fresh"), size=64, workers=1)
    assert state.result()["sha256"] == Manifest.read(tmp_path / "out").sha256() == fresh.sha256()


@pytest.mark.usefixtures("platform")
def test_a_failed_partition_is_named_and_the_others_kept(photos: Path, expected: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_partitions(str(photos), str(out), 3, size=64)
    obstacle = Path(plan.folder(2))
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("in the way")
    state = run(photos, out, partitions=3, spread=False)
    assert state.is_failed()
    assert state.message.startswith("1 of 3 partitions failed; the others are kept, the same run again does the rest.")
    assert f"partition 2: {obstacle} is a file" in state.message
    assert not (out / "manifest.json").exists()
    kept = [path.stat().st_ino for index in (1, 3) for path in Path(plan.folder(index)).glob("shard-*")]
    assert len(kept) == 2
    obstacle.unlink()
    assert run(photos, out, partitions=3, spread=False).is_completed()
    assert Manifest.read(out).count == expected.count
    assert (out / "shard-00000.arrow").stat().st_ino == kept[0], "made once"


@pytest.mark.usefixtures("platform")
def test_refused_before_anything_is_spent(photos: Path, tmp_path: Path) -> None:
    before = len(partition_runs())
    state = run(tmp_path / "nothing", tmp_path / "out", spread=False)
    assert (state.is_failed(), state.message) == (True, f"{tmp_path}/nothing: no such file or folder")
    state = run("photos", "s3://coco/datasets/x")
    assert "source photos is relative to nothing that workers share; give a URI" in state.message
    state = run(photos, tmp_path / "out")
    assert "there is no deployment ingest-partition/default; run `make deploy`" in state.message
    for wrong in ({"partitions": 0}, {"partitions": "many"}):
        state = run(photos, tmp_path / "out", **wrong)
        assert isinstance(state.data, ParameterTypeError) or "partitions" in state.message
    assert len(partition_runs()) == before
    assert not (tmp_path / "out").exists()


def test_partitions_spread_over_runs_of_a_deployment(
    photos: Path,
    expected: Manifest,
    platform: Platform,
    object_store: ObjectStore,
    tmp_path: Path,
) -> None:
    for path in photos.iterdir():
        storage.copy(path, f"s3://coco/raw/{path.name}")
    before = {run.id for run in partition_runs()}
    serve = "from flows.ingest_coco import ingest_partition; ingest_partition.serve(name='default', limit=2)"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", serve],
            env=platform.environment() | {"PREFECT_RUNNER_POLL_FREQUENCY": "1"},
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait_for_deployment(server)
        state = run("s3://coco/raw", "s3://coco/datasets/photos", partitions=2)
        assert state.is_completed(), (state.message, (tmp_path / "log").read_text()[-3000:])
        # Before the server ends, which reports a process that has not quite ended as one that was killed.
        runs = [run for run in partition_runs() if run.id not in before]
        assert sorted(run.name for run in runs) == [f"s3://coco/datasets/photos: partition {i} of 2" for i in (1, 2)]
        assert [(bool(run.deployment_id), run.state_name) for run in runs] == [(True, "Completed")] * 2
    finally:
        server.terminate()
        server.wait(30)
    manifest = Manifest.read("s3://coco/datasets/photos")
    assert (manifest.count, manifest.quarantined, manifest.held_out) == (22, expected.quarantined, expected.held_out)
    assert len(manifest.shards) == 2
    left = object_store.client().list_objects_v2(Bucket="coco", Prefix="datasets/photos/ingest-partitions")
    assert left.get("Contents", []) == []


def _wait_for_deployment(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            try:
                client.read_deployment_by_name(PARTITION)
            except ObjectNotFound:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return

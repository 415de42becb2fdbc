"""What the tests of the whole platform do first, by the commands of the pages in docs/."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from PIL import Image

from tests.support.pages import Checkout, commands
from tests.support.rest import MLflow, Prefect, s3
from tinystyle.commands.demo import write_photos

__all__ = ["check_run_and_version", "publish_first", "start_and_ingest"]

PHOTOS = 120


def put_photographs(checkout: Checkout, scratch: Path) -> None:
    """Pieces of the demo's photographs below s3://coco/raw/photos, and a file that is none."""
    whole = [Image.open(path).convert("RGB") for path in write_photos(scratch / "whole").values()]
    random = Random(0)
    with s3(checkout.environment) as store:
        for index in range(PHOTOS):
            file = scratch / f"{index:03d}.jpg"
            photo = whole[index % len(whole)]
            left, top = random.randrange(photo.width - 300), random.randrange(photo.height - 260)
            photo.crop((left, top, left + 300, top + 260)).save(file, quality=90)
            store.upload_file(str(file), "coco", f"raw/photos/{file.name}")
        store.put_object(Bucket="coco", Key="raw/photos/broken.jpg", Body=b"no photograph")


def start_and_ingest(checkout: Checkout, scratch: Path) -> None:
    """The operator's page as far as the dataset."""
    page = commands("operator.md")
    for block in page["Start"]:
        shown = checkout.run(block)
    assert shown.count("runs, process") == 7
    put_photographs(checkout, scratch)
    for block in page["Photographs"]:
        checkout.run(block)
    prefect = Prefect(checkout.environment)
    (whole,) = prefect.runs("ingest-coco")
    assert whole["state"]["message"].startswith(f"s3://coco/datasets/photos: {PHOTOS} photos, ")
    assert whole["state"]["message"].endswith(" held out, 1 quarantined")
    logs = [(checkout.folder / ".stack" / "log" / f"worker-{i}.log").read_text() for i in (1, 2)]
    for run in prefect.runs("ingest-partition"):
        assert run["state"]["type"] == "COMPLETED"
    assert [log.count("for flow 'ingest-partition'") for log in logs] == [1, 1], "one on each worker"


def check_run_and_version(checkout: Checkout) -> None:
    """What `Train a style` leaves in MLflow."""
    mlflow = MLflow(checkout.environment)
    version = mlflow.version("wave", 1)
    assert version["tags"]["weights"] == "11868"
    assert 14_000 < int(version["tags"]["bytes"]) < 16_000
    assert float(version["tags"]["psnr"]) >= 40
    run = mlflow.run(version["run_id"])
    assert run["status"] == "FINISHED"
    assert (run["params"]["network.alpha"], run["params"]["optimizer.steps"]) == ("0.3", "100")
    assert {"train/total", "train/content", "train/style"} <= run["metrics"].keys()
    assert run["tags"]["lineage.key"] == version["tags"]["key"]
    assert mlflow.steps(version["run_id"], "train/total")[-1] == 100
    assert mlflow.files(version["run_id"], "images")
    assert {
        "exports/wave-8.mlmodel",
        "exports/wave-8.mlmodel.md",
        "exports/StyleTransfer.swift",
        "exports/files.json",
    } <= set(mlflow.files(version["run_id"], "exports"))
    assert "model/model.safetensors" in mlflow.files(version["run_id"], "model")


def publish_first(checkout: Checkout) -> None:
    """`Publish`, as far as the proof that the published file is the trained network."""
    promoted, proven, _ = commands("engineer.md")["Publish"]
    checkout.run(promoted)
    assert MLflow(checkout.environment).alias("wave", "champion") == 1
    with s3(checkout.environment) as store:
        index = json.loads(store.get_object(Bucket="models", Key="index.json")["Body"].read())
    (style,) = index["styles"]
    assert (style["name"], style["current"]) == ("wave", 1)
    shown = checkout.run(proven)
    assert "all checksums match" in shown
    assert (checkout.folder / "wave.mlmodel").stat().st_size < 16_000

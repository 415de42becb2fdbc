"""Uploads and downloads the files of a finished model in its MLflow run. A SHA-256 checksum protects every file.

    model/, exports/, evaluation.json      laid out as in `tinystyle.release.bundle`, packages as NAME.mlpackage.zip
    evaluation-table.json                  the rows of the evaluation, in the format of tables in MLflow's UI
    SHA256SUMS                             checksums of all of these; uploaded last, so it marks a complete upload

All transfers go through the MLflow server, so no client needs a key to the object store.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.release.bundle import SUMS, Bundle
from tinystyle.release.package_zip import unzip_package, zip_package
from tinystyle.tracking import connection as mlflow_connection
from tinystyle.tracking.mlflow_model import write_mlmodel

__all__ = ["attach", "download", "log_model"]

FOLDERS = ("model", "exports")
TABLE = "evaluation-table.json"
WANTED = (*FOLDERS, "coreml", "evaluation.json")
"""What is fetched; versions that were registered when there were only Core ML files have `coreml` for `exports`."""
ZIP = ".zip"
PACKAGES = (".mlpackage", ".aimodel")


def log_model(run_id: str, folder: Path) -> None:
    """Upload a finished model to its run; a repeated upload replaces the earlier one.

    Args:
        run_id: ID of the MLflow run.
        folder: folder that `tinystyle.release.assemble` wrote: model/, exports/ and optionally evaluation.json, as
            above. A file that is still a folder, such as an .mlpackage, is zipped for the upload.

    Raises:
        UserError: a file is missing or does not match files.json; raised before anything is uploaded.
        UnavailableError: the server cannot be reached, or fails.
    """
    bundle = Bundle(Path(folder))
    if not bundle.model.is_file():
        raise UserError(f"{folder} holds no {bundle.model.relative_to(bundle.folder)}; it is no finished model")
    bundle.entries()
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as temporary:
        staged = Path(temporary) / "run"
        for name in FOLDERS:
            _stage(bundle.folder / name, staged / name)
        Bundle(staged).check()
        with mlflow_connection.quiet(timeout=120, retries=3):
            write_mlmodel(Bundle(staged).model, run_id)
        table = _stage_evaluation(bundle, staged)
        with mlflow_connection.connect() as client:
            client.log_artifacts(run_id, str(staged))
            if table:
                client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
            manifest = Path(temporary) / SUMS
            manifest.write_text(_sums(staged))
            client.log_artifact(run_id, str(manifest))


def attach(run_id: str, files: Sequence[Path], folder: str) -> None:
    """Upload files to the artifact folder `folder` of a run, which may be finished; `download` leaves them out.

    Raises:
        UnavailableError: the server cannot be reached, or fails.
    """
    with mlflow_connection.connect() as client:
        for path in files:
            client.log_artifact(run_id, str(path), folder)


def download(run_id: str, out: Path) -> Path:
    """Download the files of a model (model/, exports/ and evaluation.json) into `out` atomically.

    An .mlpackage or .aimodel is delivered twice: as the zip stored in the run, and unpacked beside it.

    Args:
        run_id: ID of the MLflow run.
        out: a folder that is empty or does not exist yet.

    Raises:
        UserError: `out` is not empty, the run has no finished model, or a file does not match its checksum.
        UnavailableError: the server cannot be reached, or fails.
        OSError: a file cannot be written.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder; give a new one")
    storage.check_writable(out if out.exists() else out.parent)
    # On the file system of `out`, which may be a mount point, so that files can be moved by renaming.
    with tempfile.TemporaryDirectory(prefix=".tinystyle-", dir=out if out.exists() else out.parent) as temporary:
        received, new = Path(temporary) / "received", Path(temporary) / "new"
        received.mkdir()
        _receive(run_id, received)
        _take(run_id, received, new)
        Bundle(new).check()
        if not out.exists():
            new.rename(out)
        else:
            listed = Bundle(new).exports
            for path in sorted(new.iterdir(), key=lambda path: path == listed):  # last what has the list of files
                path.rename(out / path.name)
    return out


def _stage(source: Path, destination: Path) -> None:
    """Copy a folder, and zip its packages."""
    destination.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.suffix in PACKAGES and path.is_dir():
            zip_package(path, destination / (path.name + ZIP))
        elif path.is_dir():
            _stage(path, destination / path.name)
        else:
            shutil.copyfile(path, destination / path.name)


def _stage_evaluation(bundle: Bundle, staged: Path) -> bool:
    """Copy evaluation.json, also as a table in MLflow's format, and return whether it exists."""
    report = bundle.report()
    if report is None:
        return False
    shutil.copyfile(bundle.evaluation, Bundle(staged).evaluation)
    # The format of `MlflowClient.log_table`, which is not used because it would append to an existing table.
    columns = list(report["rows"][0])
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in report["rows"]]}
    storage.write_bytes(staged / TABLE, json.dumps(table).encode())
    return True


def _sums(folder: Path) -> str:
    """Return the checksums of all files in `folder`, sorted by path, in the format of `sha256sum`."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{storage.sha256(folder / path)}  {path}\n" for path in paths)


def _receive(run_id: str, folder: Path) -> None:
    with mlflow_connection.connect() as client:
        there: list[Any] = client.list_artifacts(run_id)
        names = {artifact.path for artifact in there}
        if SUMS not in names:
            raise UserError(f"run {run_id} holds no finished model (no {SUMS}); train and export it again")
        for name in (SUMS, *(name for name in WANTED if name in names)):
            client.download_artifacts(run_id, name, str(folder))


def _take(run_id: str, received: Path, new: Path) -> None:
    """Verify the files listed in the manifest, move them from `received` to `new`, and unpack packages.

    Raises:
        UserError: a file is missing or damaged, or has an invalid path.
    """
    for line in (received / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if not path.parts or path.parts[0] not in WANTED:
            continue
        if ".." in path.parts:
            raise UserError(f"{SUMS} of run {run_id} names {name}; do not use it")
        if not (received / path).is_file() or storage.sha256(received / path) != expected:
            raise UserError(f"{name} of run {run_id} is missing or damaged (its SHA-256 differs); log the model again")
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (received / path).rename(new / path)
    for archive in sorted(path for package in PACKAGES for path in new.rglob(f"*{package}{ZIP}")):
        unzip_package(archive, archive.parent)

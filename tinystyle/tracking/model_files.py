"""The files of a finished model in its MLflow run: up whole, down whole, every byte by its SHA-256.

    model/model.safetensors, run.json      the network and its record
    coreml/files.json                      the Core ML files (`tinystyle.release.listing`)
    coreml/...                             these files, cards, previews, Swift; an .mlpackage as NAME.mlpackage.zip
    evaluation.json                        `ModelReport.as_dict()`, if there is one
    evaluation-table.json                  its rows, as MLflow's UI shows a table
    SHA256SUMS                             of all of these; uploaded last, so where it stands the upload was complete

They travel through the MLflow server: no client holds a key to the object store.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from tinystyle.data import storage
from tinystyle.errors import UserError
from tinystyle.release.listing import LISTING, read_listing
from tinystyle.release.package_zip import unzip_package, zip_package
from tinystyle.tracking import connection as mlflow_connection

__all__ = ["MANIFEST", "download", "log_model"]

FOLDERS = ("model", "coreml")
MANIFEST = "SHA256SUMS"
EVALUATION, TABLE = "evaluation.json", "evaluation-table.json"
WANTED = (*FOLDERS, EVALUATION)
ZIP = ".zip"
PACKAGE = ".mlpackage"


def log_model(run_id: str, folder: Path) -> None:
    """Upload a finished model to its run; again is no error, and replaces it.

    Args:
        run_id: of the MLflow run.
        folder: as `tinystyle.release.assemble` leaves it: model/, coreml/ and, if there is one, evaluation.json, as above.
            Where an .mlpackage is still a folder, it is zipped on the way.

    Raises:
        ValueError: something is missing or is not what files.json says; before anything is uploaded.
        OSError: the server cannot be reached, refuses or fails.
    """
    folder = Path(folder)
    for name in ("model/model.safetensors", f"coreml/{LISTING}"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} holds no {name}; it is no finished model")
    with tempfile.TemporaryDirectory(prefix="tinystyle-") as temporary:
        staged = Path(temporary) / "run"
        for name in FOLDERS:
            _stage(folder / name, staged / name)
        _check_files(staged / "coreml")
        table = _stage_evaluation(folder, staged)
        with mlflow_connection.connect() as client:
            client.log_artifacts(run_id, str(staged))
            if table:
                client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}]))
            manifest = Path(temporary) / MANIFEST
            manifest.write_text(_sums(staged))
            client.log_artifact(run_id, str(manifest))


def download(run_id: str, out: Path) -> Path:
    """The files of a model, model/, coreml/ and evaluation.json, into `out`, whole or not at all.

    An .mlpackage comes twice, as the zip of the run and unpacked beside it.

    Args:
        run_id: of the MLflow run.
        out: a folder that is empty or not there yet.

    Raises:
        ValueError: `out` is in use, the run holds no finished model, or a file is not what its checksum says.
        OSError: the server cannot be reached, refuses or fails.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder; give a new one")
    storage.check_writable(out if out.exists() else out.parent)
    # On the file system of `out`, which may be a mount point of its own.
    with tempfile.TemporaryDirectory(prefix=".tinystyle-", dir=out if out.exists() else out.parent) as temporary:
        received, new = Path(temporary) / "received", Path(temporary) / "new"
        received.mkdir()
        _receive(run_id, received)
        _take(run_id, received, new)
        _check_files(new / "coreml")
        if not out.exists():
            new.rename(out)
        else:
            for path in sorted(new.iterdir(), reverse=True):  # coreml, with the list of what there is, last
                path.rename(out / path.name)
    return out


def _stage(source: Path, destination: Path) -> None:
    """Copy a folder, its packages as zips."""
    destination.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.suffix == PACKAGE and path.is_dir():
            zip_package(path, destination / (path.name + ZIP))
        elif path.is_dir():
            _stage(path, destination / path.name)
        else:
            shutil.copyfile(path, destination / path.name)


def _stage_evaluation(folder: Path, staged: Path) -> bool:
    """Copy evaluation.json, its rows in MLflow's form of a table too; whether there is one."""
    if not (folder / EVALUATION).is_file():
        return False
    shutil.copyfile(folder / EVALUATION, staged / EVALUATION)
    try:
        rows = json.loads((folder / EVALUATION).read_bytes())["rows"]
        # As `MlflowClient.log_table` writes it, which appends where one stands.
        columns = list(rows[0])
        table = {"columns": columns, "data": [[row[column] for column in columns] for row in rows]}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{folder / EVALUATION} is damaged; it must be the report of an evaluation, with rows"
        ) from error
    storage.write_bytes(staged / TABLE, json.dumps(table).encode())
    return True


def _check_files(coreml: Path) -> None:
    """Every entry of files.json is a file of the size and content it says."""
    for entry in read_listing(coreml):
        file = coreml / entry.name
        if not file.is_file():
            raise UserError(f"{LISTING} names {entry.name}, which is not there; export again")
        if (file.stat().st_size, storage.sha256(file)) != (entry.bytes, entry.sha256):
            raise UserError(
                f"{entry.name} is not what {LISTING} says (its SHA-256 differs); do not use it, export again"
            )


def _sums(folder: Path) -> str:
    """What `sha256sum` prints of all files below `folder`, by path."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{storage.sha256(folder / path)}  {path}\n" for path in paths)


def _receive(run_id: str, folder: Path) -> None:
    with mlflow_connection.connect() as client:
        there: list[Any] = client.list_artifacts(run_id)
        names = {artefact.path for artefact in there}
        if MANIFEST not in names:
            raise UserError(f"run {run_id} holds no finished model (no {MANIFEST}); train and export it again")
        for name in (MANIFEST, *(name for name in WANTED if name in names)):
            client.download_artifacts(run_id, name, str(folder))


def _take(run_id: str, received: Path, new: Path) -> None:
    """Move what the manifest lists from `received` to `new`, checked, and unpack packages."""
    for line in (received / MANIFEST).read_text().splitlines():
        expected, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if not path.parts or path.parts[0] not in WANTED:
            continue
        if ".." in path.parts:
            raise UserError(f"{MANIFEST} of run {run_id} names {name}; do not use it")
        if not (received / path).is_file() or storage.sha256(received / path) != expected:
            raise UserError(f"{name} of run {run_id} is missing or damaged (its SHA-256 differs); log the model again")
        (new / path).parent.mkdir(parents=True, exist_ok=True)
        (received / path).rename(new / path)
    for archive in sorted(new.rglob(f"*{PACKAGE}{ZIP}")):
        unzip_package(archive, archive.parent)

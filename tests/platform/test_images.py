"""The images of docker/, built here, used as a container uses them: not as root, on a read-only root, on the loopback."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pytest

from tests.support.images import Image, Images, skip_unless_images_can_be_built
from tests.support.photos import synthetic_photo
from tests.support.postgresql import running_postgresql
from tests.support.servers import free_block

pytestmark = [pytest.mark.images, pytest.mark.timeout(3000)]
USER = 10001
START_SECONDS = 240
STYLE = ("--style", "builtin:mosaic", "--perceptual", "efficientnet-lite0", "--steps", "20", "--size", "64")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """In a new folder; TINYSTYLE_IMAGES names one that keeps them, for whoever works on these tests."""
    skip_unless_images_can_be_built()
    kept = os.environ.get("TINYSTYLE_IMAGES")
    return Images(Path(kept) if kept else tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def base(images: Images) -> str:
    return images.base()


@pytest.fixture(scope="module")
def trainer(images: Images, base: str) -> Iterator[Image]:
    images.build("trainer", base)
    with images.mounted("trainer") as image:
        yield image


@pytest.fixture(scope="module")
def server(images: Images, base: str) -> Iterator[Image]:
    images.build("server", base)
    with images.mounted("server") as image:
        yield image


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder of the image's user, with 40 photographs in photos/."""
    # pytest's own folders are closed to other users.
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    work = tmp_path / "work"
    (work / "photos").mkdir(parents=True)
    (work / "cache").mkdir()
    for seed in range(40):
        synthetic_photo(seed, 160, 128).save(work / "photos" / f"{seed}.png")
    for path in (work, work / "photos", work / "cache"):
        os.chown(path, USER, USER)
    return work


def test_trainer_trains_exports_and_verifies(trainer: Image, work: Path) -> None:
    mounts = {work: "/work", work / "cache": "/cache"}

    def tinystyle(*arguments: str) -> str:
        ended = trainer.run(*arguments, mounts=mounts)
        assert ended.returncode == 0, f"{arguments}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    tinystyle("train", *STYLE, "--photos", "photos", "--out", "run", "--no-track")
    assert json.loads((work / "run" / "run.json").read_text())["state"] == "completed"
    assert (work / "run" / "model.safetensors").stat().st_uid == USER
    tinystyle("export", "run/model.safetensors", "--format", "mlmodel", "--out", "mosaic.mlmodel", "--size", "96x64")
    tinystyle("verify", "mosaic.mlmodel", "--against", "run/model.safetensors", "--photos", "photos")


@pytest.mark.parametrize("name", ["trainer", "server"])
def test_image_is_small_closed_and_clean(name: str, request: pytest.FixtureRequest) -> None:
    image: Image = request.getfixturevalue(name)
    print(f"{name}: {image.bytes / 1e9:.2f} GB")
    assert image.bytes < {"trainer": 1.5e9, "server": 1.8e9}[name]
    assert image.config["User"] == "10001:10001"
    assert image.config["Healthcheck"]["Test"][0] == "CMD"
    assert image.config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0 AND CC-BY-4.0"
    who = image.run("sh", "-c", "id -u; touch /app/x /opt/venv/x /etc/x; touch /tmp/x && echo wrote", entrypoint=False)
    assert who.stdout.split() == [str(USER), "wrote"]
    assert who.stderr.count("Read-only file system") == 3, who.stderr
    assert sorted(path.name for path in (image.root / "app").iterdir()) == ["flows", "infra"]
    packages = {path.name for path in (image.root / "opt/venv/lib/python3.11/site-packages").iterdir()}
    assert not [package for package in packages if package.startswith(("nvidia_cu", "nvidia_nccl", "triton"))]
    assert not {"pytest", "mypy", "tests"} & packages
    assert not (image.root / "requirements").exists()
    assert not list((image.root / "app").rglob("secrets*"))


class Containers:
    """Containers of one platform, on the loopback, with the secrets of `folder`."""

    def __init__(self, folder: Path, addresses: Mapping[str, str]) -> None:
        self.folder, self.addresses = folder, addresses
        self._open = ExitStack()

    def environment(self, **more: str) -> dict[str, str]:
        return {**self.addresses, "TINYSTYLE_BIND": "127.0.0.1", "OMP_NUM_THREADS": "1", **more}

    def mounts(self) -> dict[Path, str]:
        return {self.folder / "secrets": "/run/secrets", self.folder / "work" / "cache": "/cache"}

    def once(self, image: Image, *command: str, **environment: str) -> str:
        """Run a container to its end."""
        program = ("python", "-m", "infra.container", *command)
        ended = image.run(*program, mounts=self.mounts(), environment=self.environment(**environment), entrypoint=False)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def serve(self, image: Image, role: str, port: int, ready: Callable[[], bool], **environment: str) -> None:
        """Start a container, and wait until it is ready."""
        log = self.folder / f"{role}.log"
        command = image.command(
            "python", "-m", "infra.container", "serve", role, mounts=self.mounts() | self._data(role),
            environment=self.environment(TINYSTYLE_PORT=str(port), HOSTNAME=role, **environment), entrypoint=False,
        )  # fmt: skip
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        self._open.callback(end, process)
        deadline = time.monotonic() + START_SECONDS
        while not answers(ready):
            assert process.poll() is None, f"{role} ended:\n{log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"{role} is not ready:\n{log.read_text()[-3000:]}"
            time.sleep(0.5)

    def _data(self, role: str) -> dict[Path, str]:
        return {self.folder / "data": "/data"} if role == "store" else {}

    def close(self) -> None:
        self._open.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a container by the first process of its namespace, with which all others end; none may be left.

    The signal that unshare has this process sent when it ends itself is gone since that process became another user.
    """
    unshare = psutil.Process(process.pid)
    inside = unshare.children(recursive=True)
    for first in unshare.children():
        first.kill()
    process.wait()
    assert not psutil.wait_procs(inside, timeout=10)[1]


def answers(ready: Callable[[], bool]) -> bool:
    try:
        return ready()
    except httpx.HTTPError:
        return False


@pytest.fixture
def containers(work: Path) -> Containers:
    """The secrets of a platform in files, and an empty folder for its store."""
    folder = work.parent
    for name in ("secrets", "data"):
        (folder / name).mkdir()
        os.chown(folder / name, USER, USER)
    for name in ("prefect_password", "mlflow_password", "mlflow_cookie_key", "s3_secret_key", "store_signing_key"):
        (folder / "secrets" / name).write_text(secrets.token_hex(16) + "\n")
    (folder / "secrets" / "s3_access_key").write_text("tinystyle\n")
    return Containers(folder, {})


def test_servers_start_and_a_style_is_trained_through_them(
    trainer: Image, server: Image, containers: Containers, work: Path
) -> None:
    first = free_block(12)
    ports = {name: first + i for i, name in enumerate(("prefect", "mlflow", "coordinator", "worker"))}
    store = first + len(ports)
    prefect, mlflow = f"http://127.0.0.1:{ports['prefect']}", f"http://127.0.0.1:{ports['mlflow']}"
    containers.addresses = {
        "PREFECT_API_URL": f"{prefect}/api",
        "MLFLOW_TRACKING_URI": mlflow,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}",
    }
    password = (work.parent / "secrets" / "prefect_password").read_text().strip()
    api = httpx.Client(base_url=f"{prefect}/api", auth=("admin", password), timeout=20, trust_env=False)

    def online(name: str) -> bool:
        found = api.post("/work_pools/tinystyle/workers/filter", json={}).raise_for_status().json()
        return name in [worker["name"] for worker in found if worker["status"] == "ONLINE"]

    with running_postgresql() as postgresql, api, closing(containers):
        address = urlsplit(postgresql)
        (work.parent / "secrets" / "database_password").write_text(unquote(address.password or ""))
        database = {"TINYSTYLE_DATABASE": f"postgresql://{address.username}@{address.hostname}:{address.port}"}

        containers.once(server, "databases", **database)
        containers.serve(server, "store", store, lambda: httpx.get(f"http://127.0.0.1:{store}/healthz").is_success)
        containers.serve(server, "prefect", ports["prefect"], lambda: api.get("/health").is_success, **database)
        assert httpx.post(f"{prefect}/api/work_pools/filter", json={}).status_code == httpx.codes.UNAUTHORIZED
        containers.serve(
            server, "mlflow", ports["mlflow"], lambda: httpx.get(f"{mlflow}/health").is_success, **database
        )
        search = httpx.post(f"{mlflow}/api/2.0/mlflow/experiments/search", json={"max_results": 1})
        assert search.status_code == httpx.codes.UNAUTHORIZED
        bootstrapped = containers.once(server, "bootstrap")
        assert "bucket checkpoints: made" in bootstrapped
        containers.serve(server, "coordinator", ports["coordinator"], lambda: online("coordinator"))
        containers.serve(trainer, "worker", ports["worker"], lambda: online("worker"))

        ingest = ("tinystyle", "ingest", "/cache/photos", "s3://coco/datasets/photos", "--size", "64")
        (work / "photos").rename(work / "cache" / "photos")
        containers.once(trainer, "run", "--", *ingest)
        asked = {"style": "builtin:mosaic", "photos": "s3://coco/datasets/photos", "steps": 20, "size": 64}
        parameters = {**asked, "perceptual": "efficientnet-lite0", "export_size": "96x64"}
        deployment = api.get("/deployments/name/train-style/default").raise_for_status().json()["id"]
        run = api.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters})
        state = final_state(api, run.raise_for_status().json()["id"])
        assert state["type"] == "COMPLETED", f"{state}\n{(work.parent / 'worker.log').read_text()[-4000:]}"


def final_state(api: httpx.Client, run: str) -> dict[str, str]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        state: dict[str, str] = api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            break
        time.sleep(1)
    return state

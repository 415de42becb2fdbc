"""The job `bootstrap` of a cluster, on a real Prefect server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.places import REPOSITORY

pytestmark = pytest.mark.platform
PASSWORD = "password-of-prefect"
TEMPLATE = "infra/kubernetes/base/job-template.json"
TRAINING = {"gpus": 2, "memory": "16Gi", "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}


@pytest.fixture
def api(tmp_path: Path, free_port: int) -> Iterator[httpx.Client]:
    """A client of a Prefect server that knows nothing yet."""
    prefect = Path(sys.executable).with_name("prefect")
    settings = {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_API_AUTH_STRING": f"admin:{PASSWORD}"}
    process = subprocess.Popen(
        [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(free_port)],
        env={**os.environ, **settings, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{free_port}/api"
    try:
        with httpx.Client(base_url=address, auth=("admin", PASSWORD), timeout=30, trust_env=False) as client:
            deadline = time.monotonic() + 120
            while not answers(client):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
            yield client
    finally:
        process.terminate()
        process.wait(20)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


def test_pool_has_the_template_and_trainings_their_gpus(api: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "prefect_password").write_text(PASSWORD)
    settings = {
        "PREFECT_API_URL": str(api.base_url).rstrip("/"),
        "TINYSTYLE_SECRETS": str(tmp_path),
        "TINYSTYLE_TRAINER_IMAGE": "images/trainer:cpu",
        "TINYSTYLE_TRAINING_JOB": json.dumps(TRAINING),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))}
    command = [sys.executable, "-m", "infra.container", "bootstrap", "--job-template", TEMPLATE]
    for _ in range(2):  # again, as after an upgrade
        subprocess.run(command, cwd=REPOSITORY, env=kept | settings, check=True, capture_output=True)

    pool = api.get("/work_pools/tinystyle").raise_for_status().json()
    assert pool["type"] == "kubernetes"
    assert pool["base_job_template"]["variables"]["properties"]["image"]["default"] == "images/trainer:cpu"
    queues = api.post("/work_pools/tinystyle/queues/filter", json={}).raise_for_status().json()
    assert {queue["name"] for queue in queues} == {"default", "training", "ingest"}
    variables = {
        name: api.get(f"/deployments/name/{name}/default").raise_for_status().json()["job_variables"]
        for name in ("train-style", "sweep-styles", "publish")
    }
    assert variables == {"train-style": TRAINING, "sweep-styles": {}, "publish": {}}, "what waits takes no GPU"

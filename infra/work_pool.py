"""Manages the Prefect work pool that deployments use, through the server's REST API.

Prefect's own client would take seconds to import, and would read its settings from this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from infra.settings import trusting

__all__ = ["NAME", "QUEUES", "WORKER_OPTIONS", "ensure_work_pool", "forget_worker", "prefect_api", "worker_complaint"]

NAME = "tinystyle"
QUEUES = {
    "training": "Runs that occupy a machine or a GPU: one at a time for each worker",
    "ingest": "Partitions of a dataset: one at a time for each worker",
}
"""Work queues in addition to Prefect's own queue `default`, which is for flows that wait for others. The
coordinator runs any number of those: if they counted toward the limit of a worker, a sweep could wait forever for
its own children."""
_DESCRIPTIONS = {
    "process": "Processes of the machines that run a worker",
    "kubernetes": "Jobs of a Kubernetes cluster",
}
WORKER_OPTIONS = ("--work-queue", "training", "--work-queue", "ingest", "--limit", "1")


def _busy(error: BaseException) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.is_server_error


# With SQLite, the server responds with status 503 while another request writes.
_again_while_busy = retry(
    retry=retry_if_exception(_busy), stop=stop_after_delay(60), wait=wait_fixed(0.5), reraise=True
)


@_again_while_busy
def ensure_work_pool(
    environment: Mapping[str, str], kind: str = "process", job_template: Mapping[str, Any] | None = None
) -> None:
    """Create the pool and its queues if absent, and give the pool its job template.

    Without a template the pool's is left as it is; the first worker of processes fills it in.

    Raises:
        httpx.HTTPError: the server does not answer or refuses.
    """
    with prefect_api(environment) as api:
        pool = {"name": NAME, "type": kind, "description": _DESCRIPTIONS[kind]}
        _created(api.post("/work_pools/", json=pool))
        if job_template is not None:
            api.patch(f"/work_pools/{NAME}", json={"base_job_template": job_template}).raise_for_status()
        for name, description in QUEUES.items():
            _created(api.post(f"/work_pools/{NAME}/queues", json={"name": name, "description": description}))


@_again_while_busy
def forget_worker(environment: Mapping[str, str], name: str) -> None:
    """Delete the server's record of an earlier worker with this name, which would make the new one seem online at once.

    Raises:
        httpx.HTTPError: the server does not answer or refuses.
    """
    with prefect_api(environment) as api:
        answer = api.delete(f"/work_pools/{NAME}/workers/{name}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()


def worker_complaint(environment: Mapping[str, str], name: str) -> str | None:
    """Return why worker `name` does not accept runs yet; None once the server lists it as online."""
    try:
        with prefect_api(environment) as api:
            answer = api.post(f"/work_pools/{NAME}/workers/filter", json={})
            answer.raise_for_status()
            online = [worker["name"] for worker in answer.json() if worker["status"] == "ONLINE"]
    except httpx.HTTPError as error:
        return str(error)
    return None if name in online else "the server does not list it as online"


def prefect_api(environment: Mapping[str, str]) -> httpx.Client:
    """Return a client of Prefect's REST API, with the address, password and authority that `environment` names."""
    user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
    return httpx.Client(
        base_url=environment["PREFECT_API_URL"], auth=(user, password), timeout=20, trust_env=False,
        verify=trusting(environment.get("PREFECT_API_SSL_CERT_FILE")),
    )  # fmt: skip


def _created(answer: httpx.Response) -> None:
    if answer.status_code != httpx.codes.CONFLICT:
        answer.raise_for_status()

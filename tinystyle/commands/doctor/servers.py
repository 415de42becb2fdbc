"""Checks of Prefect and MLflow: they answer, accept the credentials, fit the clients, and have what flows need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from tinystyle.commands.doctor.connections import addresses, ask, why
from tinystyle.commands.doctor.findings import Finding, fail, ok, skipped, warn

__all__ = ["DEPLOYMENTS", "POOL", "QUEUES", "mlflow", "prefect"]

POOL, QUEUES = "tinystyle", ("default", "training", "ingest")
"""Work pool of the deployments, and its queues."""
DEPLOYMENTS = (
    "ingest-coco/default",
    "ingest-partition/default",
    "train-style/default",
    "sweep-styles/default",
    "retrain-styles/default",
    "publish/default",
    "keep-house/default",
)
"""Deployments of infra/prefect.yaml."""
_START = "start it (`make stack`), or correct {}"
_TUNNEL = "see its log (.stack/log); behind a tunnel or proxy, see that it leads to the server"


class _RefusedError(Exception):
    """The server answers with a status that is no success."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"status {answer.status_code}")
        self.status = answer.status_code


def prefect(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check Prefect's server, its work pool, workers and deployments."""
    address = addresses(environment).get("prefect")
    if address is None:
        yield skipped("prefect", "PREFECT_API_URL is not set; flows run without a server")
        return
    user, _, password = environment.get("PREFECT_API_AUTH_STRING", "").partition(":")

    def api(method: str, path: str, **options: Any) -> Any:
        answer = ask(environment, method, address + path, auth=(user, password), **options)
        if not answer.is_success:
            raise _RefusedError(answer)
        return answer.json()

    try:
        version = str(api("GET", "/admin/version"))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        yield fail("prefect", f"{address} cannot be reached: {why(error)}", _START.format("PREFECT_API_URL"))
        return
    except _RefusedError as error:
        if error.status in (401, 403):
            remedy = "set PREFECT_API_AUTH_STRING to admin:PASSWORD, as in .stack/env"
            yield fail("prefect", f"{address} refuses the credentials", remedy)
        elif error.status == 404:
            yield fail("prefect", f"{address} is not Prefect's API", "correct PREFECT_API_URL; it ends in /api")
        else:
            yield fail("prefect", f"{address} answers with {error}", _TUNNEL)
        return
    yield ok("prefect", f"{address} answers and accepts the credentials")
    yield _versions("prefect", version)
    try:
        yield from _pool(api)
        yield from _deployments(api)
    except (httpx.HTTPError, ValueError, _RefusedError) as error:
        yield fail("prefect", f"{address} fails: {why(error)}", _TUNNEL)


def _pool(api: Any) -> Iterator[Finding]:
    try:
        pool = api("GET", f"/work_pools/{POOL}")
    except _RefusedError as error:
        if error.status != 404:
            raise
        yield fail("workers", f"there is no work pool {POOL}", "run `make stack`, or start a worker (`make worker`)")
        return
    if pool["is_paused"]:
        yield fail("workers", f"the work pool {POOL} is paused", f"run `prefect work-pool resume {POOL}`")
    workers = api("POST", f"/work_pools/{POOL}/workers/filter", json={})
    online = sorted(worker["name"] for worker in workers if worker["status"] == "ONLINE")
    if not online:
        remedy = "run `make stack` or `make worker`; see .stack/log/worker-1.log if they ended"
        yield fail("workers", f"no worker of the pool {POOL} is online; {len(workers)} are known", remedy)
        return
    yield ok("workers", f"online: {', '.join(online)}")
    queues = {queue["name"]: queue for queue in api("POST", f"/work_pools/{POOL}/queues/filter", json={})}
    for name in QUEUES:
        queue = queues.get(name)
        if queue is None:
            yield fail("workers", f"the pool has no queue {name}", "run `make stack`, which makes it")
        elif queue["is_paused"]:
            yield fail(
                "workers", f"the queue {name} is paused", f"run `prefect work-queue resume {name} --pool {POOL}`"
            )
        elif queue["status"] != "READY":
            who = "the coordinator (`make stack`)" if name == "default" else "a worker (`make stack` or `make worker`)"
            yield warn("workers", f"no worker serves the queue {name}; its runs wait", f"start {who}")


def _deployments(api: Any) -> Iterator[Finding]:
    found = {}
    for name in DEPLOYMENTS:
        try:
            found[name] = api("GET", f"/deployments/name/{name}")
        except _RefusedError as error:
            if error.status != 404:
                raise
    if missing := [name for name in DEPLOYMENTS if name not in found]:
        yield fail("deployments", f"not applied: {', '.join(missing)}", "run `make deploy`")
    else:
        yield ok("deployments", f"all {len(found)} are applied")
    for name, deployment in found.items():
        if deployment["paused"]:
            yield warn(
                "deployments", f"{name} is paused", f"run `prefect deployment resume {name}`, or resume it in the UI"
            )


def mlflow(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check MLflow's server, or the SQLite file that takes its place."""
    address = addresses(environment).get("mlflow")
    if address is None:
        yield _without_server(environment.get("MLFLOW_TRACKING_URI", ""))
        return
    user, password = (environment.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    auth = (user, password) if user else None
    try:
        search = f"{address}/api/2.0/mlflow/experiments/search"
        answer = ask(environment, "POST", search, auth=auth, json={"max_results": 1})
        version = ask(environment, "GET", f"{address}/version", auth=auth)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield fail("mlflow", f"{address} cannot be reached: {why(error)}", _START.format("MLFLOW_TRACKING_URI"))
        return
    if answer.status_code in (401, 403):
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, as in .stack/env"
        yield fail("mlflow", f"{address} refuses the credentials of user {user!r}", remedy)
    elif not answer.is_success:
        yield fail("mlflow", f"{address} answers with status {answer.status_code}", _TUNNEL)
    else:
        yield ok("mlflow", f"{address} answers and accepts the credentials")
        if version.is_success:
            yield _versions("mlflow", version.text.strip())


def _without_server(uri: str) -> Finding:
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    if uri.startswith("sqlite:///") and not path.is_file():
        remedy = "correct MLFLOW_TRACKING_URI; nothing, if no run has been tracked yet"
        return warn("mlflow", f"{path} does not exist", remedy)
    return skipped("mlflow", f"no server; runs are tracked in {uri}" if uri else "MLFLOW_TRACKING_URI is not set")


def _versions(package: str, server: str) -> Finding:
    """Compare the version of a server with that of its client; patch releases fit each other."""
    try:
        client = metadata.version(package)
    except metadata.PackageNotFoundError:
        return ok(package, f"server {server}; the client is not installed here")
    if client.split(".")[:2] != server.split(".")[:2]:
        remedy = "upgrade both to the versions of constraints.txt, the server first"
        return fail(package, f"server {server} and client {client} do not fit together", remedy)
    return ok(package, f"server {server}, client {client}")

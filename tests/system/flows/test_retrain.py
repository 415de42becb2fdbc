"""retrain-styles: trains what is new or changed and nothing else, judges it beside the champion, and says why."""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client

from flows.notifications import ENVIRONMENT
from flows.retrain_styles import JUDGED, retrain_styles
from tests.support.flows import QUIET, Platform
from tests.support.receiver import Receiver, running_receiver
from tinystyle.tracking import registry

pytestmark = [pytest.mark.platform, *QUIET]


def retrain(platform: Platform, *styles: dict[str, Any], **options: Any) -> Any:
    """With a catalog of these styles."""
    given = {name: platform.parameters[name] for name in ("photos", "size", "perceptual", "export_size", "steps")}
    catalog = platform.folder / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"defaults": {**given, "alphas": [0.1]}, "styles": list(styles)}))
    checkpoints = platform.parameters["checkpoints"]
    return retrain_styles(str(catalog), checkpoints=checkpoints, spread=False, return_state=True, **options)


def decision_of(style: str) -> str:
    """The newest page of the gates."""
    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": [f"gates-{style}"]}}}
        (artifact,) = client.request("POST", "/artifacts/latest/filter", json=wanted).json()
    return str(artifact["data"])


@pytest.fixture
def messages(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:  # noqa: ARG001
    """What the operator is told, by a webhook."""
    with running_receiver() as receiver:
        Webhook(url=receiver.address).save("gates", overwrite=True)
        monkeypatch.setenv(ENVIRONMENT, "webhook/gates")
        yield receiver


def test_from_new_to_champion_to_a_worse_one(platform: Platform, messages: Receiver, tmp_path: Path) -> None:
    style = {"name": "sea", "image": "builtin:wave", "steps": 30, "margin": 0}
    state = retrain(platform, style, dry_run=True)
    assert state.message == "1 of 1 networks would be trained"
    assert not registry.versions("sea")

    poison = tmp_path / "poison.jpg"
    poison.write_text("not an image")
    state = retrain(
        platform, {"name": "misspelled", "imag": "builtin:wave"}, {"name": "poison", "image": str(poison)}, style
    )
    assert state.is_failed()
    start = "1 of 2 networks trained, 1 judged; failed: misspelled: `image` is missing; poison: style "
    assert state.message.startswith(start), "which stops no other"
    (first,) = registry.versions("sea")
    assert first.aliases == (registry.CANDIDATE,), "the champion is a person's choice"
    assert "no champion to compare with" in first.tags[JUDGED]

    state = retrain(platform, style)
    assert state.is_completed()
    assert state.message == "nothing to do: all 1 networks are trained and judged"
    assert len(registry.versions("sea")) == 1

    registry.assign("sea", registry.CHAMPION, first.version, "a test's choice")
    changed = {**style, "steps": 10, "auto_promote": True}
    state = retrain(platform, changed)
    assert state.message == "1 of 1 networks trained, 1 judged"
    worse = registry.find("sea", 2)
    assert worse.aliases == ()
    assert worse.tags[JUDGED].startswith("refused: ")
    assert "of version 1" in worse.tags[JUDGED]
    assert registry.find("sea", registry.CHAMPION).version == 1
    page = decision_of("sea")
    assert page.startswith("# sea version 2: refused\n\nrefused: ")
    assert "on 2 photos, too few for an interval" in page
    (picture,) = re.findall(r"!\[photos, champion and challenger\]\(data:image/jpeg;base64,([^)]+)\)", page)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).width > 900, "three columns"
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    kept = {artifact.path for artifact in client.list_artifacts(worse.run_id, "gates")}
    assert kept == {"gates/comparison.png", "gates/decision.json"}
    registry.fetch(worse, tmp_path / "fetched")  # which is as it was
    (row,) = state.result()["styles"]
    assert (row["version"], row["decision"]) == (2, worse.tags[JUDGED])

    # What is registered and was not judged, by whatever accident, is judged without training.
    MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).delete_model_version_tag("sea", "2", JUDGED)
    state = retrain(platform, {**changed, "margin": 1})
    assert state.message == "0 of 1 networks trained, 1 judged"
    assert registry.find("sea", 2).aliases == (registry.CANDIDATE, registry.CHAMPION)

    told = [message for message in map(json.loads, messages.bodies) if message.get("style") == "sea"]
    assert [(message["event"], message["version"]) for message in told] == [
        ("candidate", 1), ("refusal", 2), ("promotion", 2),
    ]  # fmt: skip
    assert told[1]["subject"] == "sea version 2: refusal"
    assert told[1]["body"].startswith("refused: ")
    failures = [message["flow"] for message in map(json.loads, messages.bodies) if message["event"] == "failure"]
    assert "retrain-styles" in failures, "for the poison"


def test_a_catalog_that_is_wrong(platform: Platform) -> None:
    state = retrain(platform, {"name": "wave", "image": "builtin:wave", "alphas": [0]})
    assert state.is_failed()
    assert state.message == "no networks to train; failed: wave: `alpha` 0.0: input should be greater than 0"

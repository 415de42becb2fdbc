"""Parameters from outside: each of these is refused in one sentence, with nothing written and nothing fetched."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.ingest_coco import ingest_coco, ingest_partition
from flows.keep_house import keep_house
from flows.outside import admit
from flows.publish import publish
from flows.retrain_styles import retrain_styles
from flows.sweep_styles import sweep_styles
from flows.train_style import train_style
from tests.support.flows import QUIET, Platform
from tests.support.hostile import HostileServer
from tests.support.places import REPOSITORY
from tinystyle.data.permission import ALLOW
from tinystyle.errors import UserError

pytestmark = [pytest.mark.platform, *QUIET]

TRAIN: dict[str, dict[str, Any]] = {
    "a local file": {"style": "/etc/passwd"},
    "a local file, as a URI": {"style": "file:///etc/passwd"},
    "a local file by way of the checkout": {"style": "infra/../../../etc/passwd.png"},
    "a secret of the checkout": {"style": ".stack/env"},
    "a device": {"style": "/dev/zero"},
    "the loopback": {"style": "http://127.0.0.1:{inner}/col/delete?collection=checkpoints"},
    "the loopback, without a query": {"style": "http://127.0.0.1:{inner}/delete"},
    "the loopback in IPv6": {"style": "http://[::ffff:127.0.0.1]:{inner}/a.png"},
    "the loopback as a number": {"style": "http://2130706433:{inner}/a.png"},
    "the loopback by name": {"style": "http://localhost:{inner}/a.png"},
    "every interface": {"style": "http://0.0.0.0:{inner}/a.png"},
    "a redirect to the loopback": {"style": "http://127.0.0.1:{outer}/to/{inner}"},
    "a redirect to the metadata": {"style": "http://127.0.0.1:{outer}/metadata"},
    "redirects without end": {"style": "http://127.0.0.1:{outer}/loop"},
    "the metadata of a cloud": {"style": "http://169.254.169.254/latest/meta-data/"},
    "a private network": {"style": "https://10.0.0.1/a.png"},
    "a body without end": {"style": "http://127.0.0.1:{outer}/endless"},
    "a body that drips": {"style": "http://127.0.0.1:{outer}/drip"},
    "a decompression bomb": {"style": "http://127.0.0.1:{outer}/bomb.png"},
    "an SVG": {"style": "http://127.0.0.1:{outer}/page.svg"},
    "a page": {"style": "http://127.0.0.1:{outer}/page.html"},
    "an archive within an address": {"style": "zip://x::file:///etc/passwd"},
    "another file system": {"style": "reference://x"},
    "a folder of an address": {"style": "dir://x::http://127.0.0.1:{inner}/"},
    "a NUL": {"style": "a\0.png"},
    "a line break": {"style": "http://example.org/\r\nX-Injected: 1"},
    "a reversed name": {"style": "s3://coco/\u202egnp.exe"},
    "a long address": {"style": "s3://coco/" + "x" * 100_000},
    "a signature": {"style": "https://example.org/a.png?X-Amz-Signature=HUSH"},
    "a password": {"style": "https://user:HUSH@example.org/a.png"},
    "keys of a bucket": {"style": "s3://AKIA:HUSH@bucket/a.png"},
    "another bucket by ..": {"photos": "s3://coco/../models"},
    "options of S3": {"photos": "s3://coco/photos?endpoint_url=http://127.0.0.1:{inner}"},
    "an unlisted dataset": {"photos": "/root"},
    "photos of the loopback": {"photos": "http://127.0.0.1:{inner}/photos.zip"},
    "weights of the loopback": {"perceptual_weights": "http://127.0.0.1:{inner}/w.pth"},
    "weights that are a local file": {"perceptual_weights": "/etc/shadow"},
    "a model that is a local file": {"init_from": "/root/.ssh/id_rsa"},
    "a teacher that is a local file": {"teacher": "/root/.ssh/id_rsa"},
    "checkpoints in a local folder": {"checkpoints": "{home}/out"},
    "checkpoints on a server": {"checkpoints": "http://127.0.0.1:{inner}/"},
    "a place where processes meet": {"rdzv_endpoint": "127.0.0.1:{inner}", "nodes": 2},
    "a name with ..": {"name": "../../models"},
    "a name with a line break": {"name": "a\n"},
    "a name that looks like another": {"name": "w\u0430ve"},
    "a parent that is no run": {"parent_run": "../../x"},
    "not a number": {"learning_rate": float("nan")},
    "infinity": {"content_weight": float("inf")},
    "a training of years": {"steps": 10**15},
    "a network of terabytes": {"alpha": 1e9},
    "a size below one": {"size": -1},
    "files without end": {"files": ["mlmodel-8"] * 10_000},
    "weights without end": {"style_layer_weights": [1.0] * 10_000},
    "a size of a picture": {"export_size": "9" * 5000 + "x480"},
}
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sweep: styles without end": (sweep_styles, {"styles": [f"s3://coco/{index}.png" for index in range(10_000)]}),
    "sweep: networks without end": (sweep_styles, {"styles": ["builtin:wave"], "sweep": {"seed": list(range(10_000))}}),
    "sweep: one style is local": (sweep_styles, {"styles": ["builtin:wave", "/etc/passwd"]}),
    "sweep: a swept address": (sweep_styles, {"styles": ["builtin:wave"], "sweep": {"photos": ["/root", "/etc"]}}),
    "sweep: not a number": (sweep_styles, {"styles": ["builtin:wave"], "sweep": {"seed": ["a", "b"]}}),
    "catalog: a local file": (retrain_styles, {"catalog": "/etc/passwd"}),
    "catalog: the loopback": (retrain_styles, {"catalog": "http://127.0.0.1:{inner}/catalog.yaml"}),
    "catalog: without end": (retrain_styles, {"catalog": "http://127.0.0.1:{outer}/endless"}),
    "catalog: aliases of aliases": (retrain_styles, {"catalog": "memory://hostile/laughs.yaml"}),
    "catalog: a local style": (retrain_styles, {"catalog": "memory://hostile/local.yaml"}),
    "catalog: a tag that runs code": (retrain_styles, {"catalog": "memory://hostile/tag.yaml"}),
    "ingest: a local folder": (ingest_coco, {"source": "/etc", "dataset": "s3://coco/x"}),
    "ingest: to a local folder": (ingest_coco, {"source": "s3://coco/raw", "dataset": "{home}/out"}),
    "ingest: a pattern": (ingest_coco, {"source": "s3://coco/raw", "dataset": "s3://coco/*"}),
    "ingest: the loopback": (
        ingest_coco,
        {"source": "http://127.0.0.1:{inner}/a.zip", "dataset": "s3://coco/x", "spread": False},
    ),
    "ingest: a signed source": (ingest_coco, {"source": "https://h.example/a.zip?sig=HUSH", "dataset": "s3://coco/x"}),
    "partition: a local folder": (ingest_partition, {"source": "/etc", "dataset": "s3://coco/x", "index": 1, "of": 1}),
    "publish: to a local folder": (publish, {"style": "wave", "root": "{home}/out"}),
    "publish: to a server": (publish, {"style": "wave", "root": "http://127.0.0.1:{inner}/"}),
    "publish: a name with ..": (publish, {"style": "../wave", "root": "s3://models"}),
    "house: local checkpoints": (keep_house, {"checkpoints": "/etc", "dry_run": False}),
    "house: published in a local folder": (keep_house, {"root": "{home}/out"}),
    "house: published on a server": (keep_house, {"root": "http://127.0.0.1:{inner}/"}),
    "publish: links for ever": (publish, {"style": "wave", "presign_hours": 10**9}),
}
CASES = {**{name: (train_style, parameters) for name, parameters in TRAIN.items()}, **OTHERS}
LAUGHS = (
    "a: &a [x]\n"
    + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "styles: *i"
)
FILES = {
    "laughs.yaml": LAUGHS,
    "local.yaml": "styles: [{name: a, image: /etc/passwd}]",
    "tag.yaml": "styles: !!python/object/apply:os.system ['touch /tmp/run-by-yaml']",
}


@pytest.fixture(scope="module")
def inner() -> Iterator[HostileServer]:
    """A server that nobody from outside may reach."""
    with HostileServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def outer(inner: HostileServer) -> Iterator[HostileServer]:
    """A server that the operator lists, and that means harm."""
    redirects = {
        f"/to/{inner.port}": f"http://127.0.0.1:{inner.port}/a.png",
        "/metadata": "http://169.254.169.254/latest/",
    }
    with HostileServer(redirects).running() as server:
        yield server


@pytest.fixture
def outsider(outer: HostileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a caller from outside, in which nothing may appear."""
    from tinystyle.data import storage

    for name, text in FILES.items():
        storage.write_bytes(f"memory://hostile/{name}", text.encode())
    monkeypatch.setenv(ALLOW, f"http://127.0.0.1:{outer.port}")
    monkeypatch.setattr("tinystyle.styles.load.LIMIT", (64_000_000, 0.5))
    monkeypatch.setattr("flows.catalog.LIMIT", (1_000_000, 0.5))
    return tmp_path


def call(flow: Any, parameters: dict[str, Any]) -> Any:
    state = flow(**parameters, return_state=True)
    return asyncio.run(state) if asyncio.iscoroutine(state) else state


def filled(value: Any, ports: dict[str, Any]) -> Any:
    if isinstance(value, str):
        for name, port in ports.items():
            value = value.replace(f"{{{name}}}", str(port))
        return value
    return value


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_parameter_is_one_sentence(
    name: str,
    platform: Platform,
    inner: HostileServer,
    outer: HostileServer,
    outsider: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient

    flow, hostile = CASES[name]
    ports = {"inner": inner.port, "outer": outer.port, "home": outsider}
    parameters = {key: filled(value, ports) for key, value in hostile.items()}
    checkpoints = platform.folder / "of-outsiders"
    checkpoints.mkdir(exist_ok=True)
    open_to_all = {**platform.parameters, "checkpoints": str(checkpoints)}
    monkeypatch.setenv(ALLOW, f"{os.environ[ALLOW]},file:{open_to_all['photos']},file:{checkpoints}")
    if flow is train_style:
        parameters = {"style": "builtin:wave", **open_to_all, **parameters}
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    before = [experiment.name for experiment in client.search_experiments()]
    state = call(flow, parameters)
    assert state.is_failed(), state
    assert state.message
    assert len(state.message) < 700
    assert state.message.isprintable(), state.message
    assert "HUSH" not in state.message
    assert not re.search("no such file|credentials|connect|no deployment", state.message), "refused before it was tried"
    assert "Traceback" not in state.message
    assert inner.asked == []
    assert list(outsider.iterdir()) == []
    assert [experiment.name for experiment in client.search_experiments()] == before
    assert list(checkpoints.iterdir()) == []
    assert not Path("/tmp/run-by-yaml").exists()


@pytest.mark.usefixtures("outsider")
def test_an_image_of_the_checkout_is_open_by_every_parameter_that_names_styles() -> None:
    image = str(REPOSITORY / "docs" / "images" / "styles.jpg")
    admit({"style": image, "styles": image}, {})
    with pytest.raises(UserError, match=r"`photos`.*a local path is not open"):
        admit({"photos": image}, {})


@pytest.mark.usefixtures("platform", "outsider")
def test_a_flow_run_has_no_secret_in_its_name() -> None:
    from prefect.client.orchestration import get_client

    hostile = "https://user:HUSH@h.example/a.zip?sig=HUSH"
    for flow, parameters in (
        (train_style, {"style": hostile, "photos": "s3://none/x"}),
        (ingest_coco, {"source": hostile, "dataset": "s3://coco/x"}),
        (ingest_partition, {"source": hostile, "dataset": "s3://coco/x", "index": 1, "of": 1}),
    ):
        state = call(flow, parameters)
        with get_client(sync_client=True) as client:
            name = client.read_flow_run(state.state_details.flow_run_id).name
        assert "HUSH" not in name
        assert name.endswith(("a small 0.3", "https://h.example/a.zip to s3://coco/x", "s3://coco/x: partition 1 of 1"))


def test_a_run_of_a_deployment_is_closed_without_an_operator_s_list(platform: Platform) -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(train_style)
        deployment_id = client.create_deployment(
            flow_id, "of-a-test", entrypoint="flows/train_style.py:train_style", path=str(REPOSITORY)
        )
        given = {**platform.parameters, "style": "/etc/passwd"}
        run = client.create_flow_run_from_deployment(deployment_id, parameters=given)
        environment = {**platform.environment(), "PREFECT__FLOW_RUN_ID": str(run.id)}
        environment.pop(ALLOW, None)
        command = [sys.executable, "-m", "prefect.engine"]  # as a worker starts it
        ended = subprocess.run(
            command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
        )
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.is_failed(), ended.stdout + ended.stderr
    assert "`style` /etc/passwd: a local path is not open to flow runs from elsewhere; give s3://" in str(state.message)

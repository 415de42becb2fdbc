"""Servers that are not there, or never answer: one sentence, within seconds."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.bundles import bundle_in
from tests.support.command_line import Run
from tinystyle.errors import UserError
from tinystyle.tracking.registry import log_model


@pytest.mark.parametrize("uri", ["s3://bucket/photos", "http://127.0.0.1:{port}/photos.zip"])
def test_a_server_that_does_not_answer_fails_within_seconds(
    uri: str, run: Run, free_port: int, tmp_path: Path, no_object_store: pytest.MonkeyPatch
) -> None:
    no_object_store.setenv("AWS_ACCESS_KEY_ID", "any")
    no_object_store.setenv("AWS_SECRET_ACCESS_KEY", "any")
    no_object_store.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    began = time.monotonic()
    code, _, error = run("ingest", uri.format(port=free_port), str(tmp_path / "out"))
    assert time.monotonic() - began < 15
    assert code == 2
    assert error.count("\n") == 1
    assert f"127.0.0.1:{free_port}" in error


@pytest.mark.parametrize("option", ["--photos s3://bucket/photos", "--style s3://bucket/a.png", "--init-from s3://b/x"])
def test_i13_what_is_not_public_asks_for_credentials_in_capitals(
    option: str, run: Run, free_port: int, photo_folder: Path, tmp_path: Path, no_object_store: pytest.MonkeyPatch
) -> None:
    no_object_store.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    line = f"train --style builtin:wave --photos {photo_folder} --out {tmp_path / 'out'} --no-track --size 32 --style-size 32"
    code, _, error = run(*line.split(), "--perceptual", "efficientnet-lite0", *option.split())
    last = error.splitlines()[-1]
    assert (code, last.startswith("Error: ")) == (2, True)
    assert option.split()[1] in last
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in last


def test_a_finished_model_is_refused_only_by_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    model = bundle_in(tmp_path / "model", tmp_path)
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1 .*Connection refused"):
        log_model("0" * 32, model)


LINES = ("models", "models show mosaic", "models fetch mosaic --out new", "promote mosaic 1")


@pytest.mark.parametrize("line", LINES)
def test_no_server_is_one_sentence(
    line: str, run: Run, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:secret@127.0.0.1:{free_port}")
    code, output, error = run(*line.split())
    assert (code, output) == (2, "")
    assert error == (
        f"Error: the MLflow server at http://127.0.0.1:{free_port} cannot be reached (Connection refused); "
        "start it, or set MLFLOW_TRACKING_URI\n"
    )
    assert not any(tmp_path.iterdir())


def test_a_server_that_never_answers_is_one_sentence_within_seconds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        code, _, error = run("models")
        assert time.monotonic() - began < 10
    assert code == 2
    assert re.search(r"cannot be reached \(timed out\)", error)

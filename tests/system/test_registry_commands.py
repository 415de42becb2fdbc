"""The commands of the registry, over a real MLflow server with passwords and over a plain SQLite store."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.command_line import Run
from tests.support.files import contents
from tests.support.mlflow_store import TAGS, finished_run
from tinystyle.commands.terminal import screen
from tinystyle.tracking import registry

# MLflow's parts warn each other of what is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.usefixtures("store")
def test_promote_list_show_and_fetch_by_command(
    run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        registry.register("commands", finished_run("commands", finished), TAGS)
    registry.assign("commands", registry.CANDIDATE, 2, "passed the gates")
    code, output, error = run("models", "fetch", "commands", "--out", tmp_path / "out")
    assert (code, output) == (2, "")
    assert error == "Error: commands has no version champion; there is 2 (candidate), 1\n"
    code, _, error = run("promote", "commands", "7")
    assert (code, error) == (2, "Error: commands has no version 7; there is 2 (candidate), 1\n")

    assert run("promote", "commands", "1") == (0, "commands 1 is now the champion\n", "")
    assert run("promote", "commands", "1") == (0, "commands 1 is already the champion\n", "")
    promoted = run("promote", "commands", "candidate", "--reason", "the sky is calmer")
    assert promoted == (0, "commands 2 is now the champion, in place of 1\n", "")

    _, output, _ = run("models", "--style", "commands", "--json")
    newest, oldest = json.loads(output)
    assert (newest["version"], newest["aliases"]) == (2, ["candidate", "champion"])
    assert (oldest["version"], oldest["aliases"]) == (1, [])
    decision = json.loads(newest["tags"]["decision.champion"])
    assert (decision["reason"], decision["replaces"]) == ("the sky is calmer", 1)
    assert "@" in decision["who"]
    assert decision["time"].endswith("+00:00")
    assert json.loads(newest["tags"]["decision.candidate"])["reason"] == "passed the gates"

    monkeypatch.setattr(screen, "width", 120)
    _, output, _ = run("models")
    (row,) = (line for line in output.splitlines() if "champion" in line and "commands" in line)
    assert " ".join(row.split()).startswith("commands 2 candidate, champion small 0.1 15,297 8 47.1 1.530 ")
    _, output, _ = run("models", "show", "commands")
    assert "the sky is calmer (" in output
    assert ", in place of 1)" in output
    monkeypatch.setattr(screen, "width", 80)
    _, output, _ = run("models")
    assert "candidate" in output
    assert "…" not in output, "nothing is cut off on a narrow terminal"

    code, output, _ = run("models", "fetch", "commands", "--out", tmp_path / "out")
    assert (code, "all checksums match" in output) == (0, True)
    assert (tmp_path / "out" / "exports" / "mosaic-8.mlpackage" / "Manifest.json").is_file()
    before = contents(tmp_path / "out")
    code, _, error = run("models", "fetch", "commands", "1", "--out", tmp_path / "out")
    assert (code, error) == (2, f"Error: {tmp_path / 'out'} is not an empty folder; give a new one\n")
    assert contents(tmp_path / "out") == before


@pytest.mark.usefixtures("store")
def test_an_unknown_style_is_one_sentence_with_what_there_is(run: Run, finished: Path) -> None:
    registry.register("known", finished_run("known", finished), {})
    for line in ("models show unknown", "models fetch unknown 1 --out never", "promote unknown 1"):
        code, output, error = run(*line.split())
        assert (code, output, error.count("\n")) == (2, "", 1)
        assert error.startswith("Error: no style unknown is registered at ")
        assert "known" in error.split("; there is ")[1]
    assert run("models", "--style", "unknown") == (0, "no style unknown is registered yet\n", "")


@pytest.mark.platform
@pytest.mark.parametrize("store", ["server"], indirect=True)
@pytest.mark.usefixtures("store")
def test_a_wrong_password_is_one_sentence_within_seconds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    began = time.monotonic()
    code, output, error = run("models")
    assert time.monotonic() - began < 10
    assert (code, output) == (2, "")
    assert error == (
        f"Error: the MLflow server at {os.environ['MLFLOW_TRACKING_URI']} refuses the credentials; "
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n"
    )


def add_user(name: str, password: str) -> None:
    """Through the server's REST interface, as its administrator."""
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    uri, *credentials = (os.environ[variable] for variable in names)
    authorization = f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
    urllib.request.urlopen(
        urllib.request.Request(
            f"{uri}/api/2.0/mlflow/users/create",
            json.dumps({"username": name, "password": password}).encode(),
            {"Authorization": authorization, "Content-Type": "application/json"},
        ),
        timeout=30,
    ).close()


@pytest.mark.platform
@pytest.mark.parametrize("store", ["server"], indirect=True)
@pytest.mark.usefixtures("store")
def test_who_may_only_read_fetches_but_does_not_promote(
    run: Run, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("guarded", finished_run("guarded", finished), {})
    add_user("reader", "only for reading")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "only for reading")
    assert run("models", "fetch", "guarded", "1", "--out", tmp_path / "out")[0] == 0
    code, _, error = run("promote", "guarded", "1")
    assert code == 2
    assert error.endswith("does not permit this to user 'reader'; ask its administrator\n")
    assert registry.find("guarded", 1).aliases == ()

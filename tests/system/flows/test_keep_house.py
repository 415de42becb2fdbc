"""The flow keep-house: a dry run lists exactly what the real one removes, and a part that fails stops no other."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

from flows import keep_house as module
from flows.keep_house import keep_house
from flows.publish import publish
from tests.support.flows import QUIET
from tinystyle.release.publishing import publish_folder

pytestmark = [*QUIET, pytest.mark.usefixtures("platform"), pytest.mark.platform]


@pytest.fixture
def folders(tmp_path: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A stack's folder with a log of 21 MB, an empty cache, and a place where something is published."""
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(module.STACK, str(tmp_path / "stack"))
    (tmp_path / "stack" / "log").mkdir(parents=True)
    (tmp_path / "stack" / "log" / "store.log").write_bytes(bytes(21 * 10**6))
    (tmp_path / "stack" / "log" / "prefect.log").write_bytes(bytes(1000))
    publish_folder(assembled, style="other", version=1, root=str(tmp_path / "models"))
    return {"root": str(tmp_path / "models"), "checkpoints": str(tmp_path / "checkpoints")}


def run(**parameters: Any) -> Any:
    return keep_house(**parameters, return_state=True)


def old_run(days: int, failed: bool) -> str:
    """The ID of a flow run that ended so many days ago, with a line in its log; the server takes no ends of the past."""
    state = "FAILED" if failed else "COMPLETED"
    with get_client(sync_client=True) as client:
        made = client.create_flow_run(publish, parameters={"style": "old"})
        wanted = {"state": {"type": state, "name": state.title()}, "force": True}
        client.request("POST", "/flow_runs/{id}/set_state", path_params={"id": made.id}, json=wanted).raise_for_status()
        now = datetime.now(UTC)
        line = {
            "name": "test",
            "level": 20,
            "message": "said",
            "timestamp": now.isoformat(),
            "flow_run_id": str(made.id),
        }
        client.request("POST", "/logs/", json=[line]).raise_for_status()
    file = str(PREFECT_API_DATABASE_CONNECTION_URL.value()).rpartition("sqlite+aiosqlite:///")[2].partition("?")[0]
    with sqlite3.connect(file, timeout=30) as database:
        ended = f"{now - timedelta(days=days):%Y-%m-%d %H:%M:%S.%f}"
        changed = database.execute("UPDATE flow_run SET end_time = ? WHERE id = ?", (ended, str(made.id)))
        assert changed.rowcount == 1
    database.close()
    return str(made.id)


def known_runs() -> set[str]:
    with get_client(sync_client=True) as client:
        return {str(each.id) for each in client.read_flow_runs(limit=200)}


def test_a_dry_run_lists_what_the_real_one_removes(folders: dict[str, str], tmp_path: Path) -> None:
    ended = {(days, failed): old_run(days, failed) for days in (10, 40, 100) for failed in (False, True)}
    listed = run(**folders).result()
    assert known_runs() >= set(ended.values())
    assert (tmp_path / "stack" / "log" / "store.log").stat().st_size == 21 * 10**6, "nothing has happened"

    state = run(**folders, dry_run=False)
    removed = state.result()
    assert (listed["dry_run"], removed["dry_run"]) == (True, False)
    assert removed["removals"] == listed["removals"]
    assert not removed["faults"]
    assert state.message.startswith("removed 3 flow run, 1 log, 21.0 MB")

    gone = {ended[40, False], ended[100, False], ended[100, True]}
    assert not known_runs() & gone
    assert known_runs() >= set(ended.values()) - gone, "those that failed are kept longer"
    assert (tmp_path / "stack" / "log" / "store.log").stat().st_size == 0
    assert (tmp_path / "stack" / "log" / "store.log.1.gz").exists()
    assert run(**folders).message == "would remove nothing, 0.0 MB"

    with get_client(sync_client=True) as client:
        wanted = {"artifacts": {"key": {"any_": ["keep-house"]}}, "sort": "CREATED_DESC"}
        pages = [str(each["data"]) for each in client.request("POST", "/artifacts/filter", json=wanted).json()]
    assert any("| log | " in page and "21,000,000" in page for page in pages)


def test_a_clock_that_is_fast_removes_nothing_early(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ended = old_run(10, failed=False)

    class Fast(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=50)

    monkeypatch.setattr(module, "datetime", Fast)
    state = run(**folders, dry_run=False)
    assert state.message == "removed 1 log, 21.0 MB"
    assert ended in known_runs()


def test_without_a_publication_versions_are_kept(folders: dict[str, str], tmp_path: Path) -> None:
    state = run(**{**folders, "root": str(tmp_path / "nowhere")})
    assert state.is_completed()
    since = f"since nothing is published at {tmp_path / 'nowhere'}"
    assert state.message.startswith(
        f"would remove 1 log, 21.0 MB; keeps all checkpoints, {since}, all versions, {since}"
    )


def test_a_part_that_fails_stops_no_other(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models" / "index.json").write_text("damaged")
    state = run(**folders, dry_run=False)
    assert state.is_failed()
    assert state.message.startswith("removed 1 log, 21.0 MB; failed: checkpoints: ")
    assert "; versions: " in state.message
    assert (tmp_path / "stack" / "log" / "store.log").stat().st_size == 0


def test_no_days_at_all_are_refused(folders: dict[str, str]) -> None:
    state = run(**folders, version_days=0)
    assert state.is_failed()
    assert state.message == "version_days 0: give at least one day"

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path

import pytest

from tests.support.runs import micro_config
from tinystyle.errors import UserError
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RUN_FILE


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(config=micro_config(Path("/photos")), lineage={"key": "k"}, dataset="/photos")


def test_there_and_back(record: RunRecord, tmp_path: Path) -> None:
    record.update(tmp_path, state="stopped", step=7, rate_scale=0.25, results={"held_out_total": 1.5})
    assert RunRecord.read(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [RUN_FILE]


def test_numbers_that_json_does_not_have_are_left_out(record: RunRecord, tmp_path: Path) -> None:
    record.update(tmp_path, results={"held_out_total": math.nan, "images_per_second": math.inf, "held_out_style": 0.5})
    assert RunRecord.read(tmp_path).results == {"held_out_style": 0.5}
    json.loads((tmp_path / RUN_FILE).read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"config": {}}', b'{"state": "unknown"}'])
def test_a_damaged_record_is_one_sentence_with_a_way_out(content: bytes, tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).write_bytes(content)
    with pytest.raises(UserError, match=rf"{tmp_path}/run.json is damaged"):
        RunRecord.read(tmp_path)


def test_no_record(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RunRecord.read(tmp_path)


def test_a_copy_goes_where_checkpoints_have_a_place_of_their_own(record: RunRecord, tmp_path: Path) -> None:
    record.write_beside_checkpoints()
    place = f"memory://{uuid.uuid4().hex}"
    execution = record.config.execution.model_copy(update={"checkpoints": place})
    record.config = record.config.model_copy(update={"execution": execution})
    record.write_beside_checkpoints()
    assert RunRecord.read(place) == record
    assert not [*tmp_path.iterdir()]

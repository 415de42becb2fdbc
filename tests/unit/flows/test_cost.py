"""What a training cost, from its speed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cost import PRICE, Cost, cost_of
from tests.support.runs import micro_config
from tinystyle.training.record import RunRecord
from tinystyle.training.run_folder import RunFolder


@pytest.fixture
def record() -> RunRecord:
    """100 steps of four photos, on two processes of three threads."""
    config = micro_config(Path("photos"), devices=2, threads=3)
    return RunRecord(config=config, lineage={}, dataset="photos", step=100)


def measured(folder: Path, *speeds: float | None) -> Path:
    lines = (json.dumps({"step": step, "images_per_second": speed}) for step, speed in enumerate(speeds, 1))
    RunFolder(folder).metrics.write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_devices_and_cores_are_counted(record: RunRecord, tmp_path: Path) -> None:
    images = 100 * record.config.data.batch_size
    run = measured(tmp_path, 10.0, 40.0)  # half of the steps at each speed
    assert cost_of(record, run, gpu=True) == Cost(pytest.approx(images * 0.0625), "GPU", 2)
    cores = cost_of(record, run, gpu=False)
    assert cores is not None
    assert (cores.count, cores.device_seconds) == (6, pytest.approx(images * 0.0625 * 6))


@pytest.mark.parametrize("speeds", [(), (float("nan"),), (None,)])
def test_no_speed_no_cost(speeds: tuple[float | None, ...], record: RunRecord, tmp_path: Path) -> None:
    assert cost_of(record, tmp_path, gpu=True) is None
    assert cost_of(record, measured(tmp_path, *speeds), gpu=True) is None


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("", "3,600 GPU seconds (1,800 s on 2)"),
        ("2.5 EUR", "3,600 GPU seconds (1,800 s on 2), 2.5000 EUR at 2.5 EUR an hour"),
        ("3", "3,600 GPU seconds (1,800 s on 2), 3.0000 at 3 an hour"),
        ("much", "TINYSTYLE_PRICE_PER_HOUR is 'much', which is no price; give a number, as in 2.50 EUR"),
    ],
)
def test_in_words(price: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRICE, price)
    assert Cost(1800.0, "GPU", 2).sentence().endswith(said)

"""What a new version must reach, and what is measured for it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flows.catalog import StyleEntry, Training
from flows.gates import Evidence, judge, measure
from tests.support.assembled import untrained
from tests.support.photos import synthetic_photo
from tests.support.runs import micro_config
from tinystyle.data import storage
from tinystyle.data.ingest import ingest
from tinystyle.exports.export import export_model
from tinystyle.model_file import load_model
from tinystyle.release.assemble import assemble
from tinystyle.release.bundle import Bundle
from tinystyle.stylize.sample_photos import verification_photos

ENTRY = StyleEntry(name="wave", image="builtin:wave", budget_bytes=20_000, margin=0.02)
GOOD = Evidence("version 2", content=[0.5], paint3=[0.3], paint4=[0.9], collapsed=None, unverified=None, bytes=15_000)


@pytest.mark.parametrize(
    ("challenger", "champion", "accepted", "reason"),
    [
        (GOOD, None, True, "paint4 0.9000, no champion to compare with"),
        (
            GOOD,
            replace(GOOD, label="version 1", paint4=[0.885]),
            True,
            "against 0.8850 of version 1 (+1.7% on 1 photos, too few for an interval; at most +2.0%)",
        ),
        (
            GOOD,
            replace(GOOD, label="version 1", paint4=[0.88]),
            False,
            "against 0.8800 of version 1 (+2.3% on 1 photos, too few for an interval; at most +2.0%)",
        ),
        (replace(GOOD, bytes=20_000), None, True, "20,000 bytes of a budget of 20,000"),
        (replace(GOOD, bytes=20_001), None, False, "20,001 bytes exceed a budget of 20,000"),
        (replace(GOOD, collapsed="two photos alike"), None, False, "two photos alike"),
        (replace(GOOD, unverified="a.mlmodel reached 30.0 dB"), None, False, "a.mlmodel reached 30.0 dB"),
        (replace(GOOD, paint3=[float("nan")]), None, False, "paint3 nan"),
        (
            replace(GOOD, content=[0.52]),
            replace(GOOD, label="version 1", paint4=[2.0]),
            False,
            "content 0.5200 against 0.5000",
        ),
        (
            replace(GOOD, paint3=[0.32]),
            replace(GOOD, label="version 1", content=[2.0]),
            False,
            "paint3 0.3200 against 0.3000",
        ),
    ],
)
def test_each_gate(challenger: Evidence, champion: Evidence | None, accepted: bool, reason: str) -> None:
    decision = judge(challenger, champion, ENTRY)
    assert decision.accepted is accepted
    assert len(decision.reasons) == 6
    assert any(reason in found for found in decision.reasons)
    assert accepted or reason in decision.reasons[0], "what it failed comes first"
    assert decision.sentence().startswith("accepted: " if accepted else "refused: ")
    assert decision.headline() == ("accepted: passed all 6 gates" if accepted else f"refused: {decision.reasons[0]}")


def test_no_budget_and_a_better_one() -> None:
    free = ENTRY.model_copy(update={"budget_bytes": None})
    assert judge(replace(GOOD, bytes=10**9), replace(GOOD, content=[5.0]), free).accepted


@pytest.fixture(scope="module")
def training(dataset: Path) -> Training:
    values = {"photos": str(dataset), "size": 48, "perceptual": "efficientnet-lite0"}
    return Training.of({"style": "builtin:mosaic", "alpha": 0.1, **values})


@pytest.fixture(scope="module")
def fetched(micro_run: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version's files."""
    folder = tmp_path_factory.mktemp("version") / "files"
    model = load_model(micro_run / "model.safetensors")
    photos = verification_photos(str(dataset), 2)
    assemble(model, folder, style="mosaic", files=["mlmodel-16", "onnx-16"], size="64x48", photos=photos)
    return folder


@pytest.mark.slow
def test_a_version_is_measured_from_its_files(fetched: Path, training: Training) -> None:
    found = measure("version 1", fetched, training)
    assert len(found.content) == len(found.paint3) == 2, "a figure for each of the photos"
    assert min(found.content) > 0
    assert all(0 < paint < 2 for paint in (*found.paint3, *found.paint4))
    for photo, picture in found.pictures:
        assert photo.size == picture.size
        assert photo.tobytes() != picture.tobytes()
    assert (found.collapsed, found.unverified) == (None, None)
    assert found.bytes == max(path.stat().st_size for path in (fetched / "exports").glob("mosaic-16.*[lx]"))
    assert micro_config(fetched).network.alpha == training.run.network.alpha


@pytest.mark.slow
def test_a_file_that_is_not_the_verified_one(fetched: Path, training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "version"
    shutil.copytree(fetched, folder)
    with (folder / "exports" / "mosaic-16.mlmodel").open("ab") as file:
        file.write(b"\0")
    assert measure("version 1", folder, training).unverified == "mosaic-16.mlmodel is not the file that was verified"


@pytest.mark.slow
def test_a_file_of_another_network(fetched: Path, training: Training, tmp_path: Path) -> None:
    folder = tmp_path / "version"
    shutil.copytree(fetched, folder)
    bundle = Bundle(folder)
    core_ml, other = bundle.entries()
    bundle.file(other).unlink()
    export_model(untrained(7), bits=16, size=(64, 48), out=bundle.file(other))
    size, digest = bundle.file(other).stat().st_size, storage.sha256(bundle.file(other))
    bundle.write_entries([core_ml, other.model_copy(update={"bytes": size, "sha256": digest})])
    unverified = measure("version 1", folder, training).unverified
    assert unverified
    assert unverified.startswith("mosaic-16.onnx is NOT verified")
    assert str(tmp_path) not in unverified


@pytest.fixture(scope="module")
def judged_on(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training whose dataset holds out as many photos as an interval needs."""
    folder = tmp_path_factory.mktemp("judges")
    names = [f"{index:02d}.png" for index in range(14)]
    (folder / "photos").mkdir()
    for index, name in enumerate(names):
        synthetic_photo(index).save(folder / "photos" / name)
    ingest(str(folder / "photos"), str(folder / "shards"), size=64, held_out=names[:12], workers=1)
    values = {"photos": str(folder / "shards"), "size": 48, "perceptual": "efficientnet-lite0"}
    return Training.of({"style": "builtin:mosaic", "alpha": 0.1, **values})


def version_of(run: Path, training: Training, folder: Path, noise: float = 0.0) -> Evidence:
    """The measurements of a network, with noise of this share of the deviation on each of its weights."""
    model = load_model(run / "model.safetensors")
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.network.parameters():
            weights.add_(noise * weights.std(unbiased=False) * torch.randn(weights.shape, generator=random))
    photos = [("a.png", synthetic_photo(50))]
    assemble(model, folder, style="mosaic", files=["mlmodel-16"], size="64x48", photos=photos)
    return measure(folder.name, folder, training)


@pytest.mark.slow
def test_noise_is_accepted_and_what_is_truly_worse_is_not(micro_run: Path, judged_on: Training, tmp_path: Path) -> None:
    """One is worse by what photos happen to make of it, and would be refused by its mean; the other by a fifth or more."""
    champion, near, far = (
        version_of(micro_run, judged_on, tmp_path / name, noise)
        for name, noise in (("champion", 0.0), ("near", 0.03), ("far", 0.3))
    )
    worst = max(judge(near, champion, ENTRY).comparisons, key=lambda found: found.change.mean if found.change else 0)
    assert worst.change is not None
    entry = ENTRY.model_copy(update={"margin": max(0.0, worst.change.mean / 2)})
    decision = judge(near, champion, entry)
    assert worst.change.mean > entry.margin
    assert worst.change.low < entry.margin < worst.change.high
    assert decision.accepted, decision.sentence()
    assert "95% interval" in decision.sentence()
    assert "over 12 photos" in decision.sentence()

    refused = judge(far, champion, entry.model_copy(update={"margin": 0.05}))
    assert not refused.accepted
    assert refused.headline().startswith(("refused: content ", "refused: paint3 ", "refused: paint4 "))
    assert judge(champion, champion, entry.model_copy(update={"margin": 0.0})).accepted, "nobody is worse than itself"

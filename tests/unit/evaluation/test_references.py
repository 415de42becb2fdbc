from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.photos import synthetic_photo
from tinystyle.data.ingest import ingest
from tinystyle.data.photos import reference_photos
from tinystyle.data.shards import ShardDataset
from tinystyle.evaluation.references import KEPT, reference_statistics
from tinystyle.nets.perceptual import load_perceptual_network
from tinystyle.nets.perceptual.features import PerceptualNetwork
from tinystyle.nets.perceptual.gram import gram_matrix
from tinystyle.nets.perceptual.references import ReferenceStatistics


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardDataset:
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "photos").mkdir()
    for seed in range(12):
        synthetic_photo(seed, 96, 64 + 8 * (seed % 3)).save(folder / "photos" / f"{seed}.png")
    ingest(str(folder / "photos"), str(folder / "shards"), size=64)
    return ShardDataset(folder / "shards")


@pytest.fixture
def network() -> PerceptualNetwork:
    return load_perceptual_network("narrow").prepare(torch.device("cpu"), torch.bfloat16)


@pytest.fixture
def passes(network: PerceptualNetwork) -> list[Tensor]:
    """The images that the network has seen since."""
    seen: list[Tensor] = []
    network.register_forward_hook(lambda _module, arguments, _features: seen.append(arguments[0]))
    return seen


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYSTYLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "references"


def distances(statistics: ReferenceStatistics, network: PerceptualNetwork) -> list[float]:
    torch.manual_seed(0)
    found = [statistics.energy]
    for name, gram_cc in statistics.grams.items():
        found.append(statistics.gram_distance(name, torch.rand(gram_cc.shape)))
    found += [statistics.sliced_distance(name, torch.randn(50, 64).sort(0).values) for name in network.paint_layers]
    return found


def test_a_distance_by_the_mean_gram_is_the_mean_of_the_distances(
    network: PerceptualNetwork, shards: ShardDataset
) -> None:
    photos = reference_photos(shards, 64, 64)
    statistics = ReferenceStatistics.measure(network, photos)
    style = photos[0].flip(3) / 2
    for layer in network.style_layers:
        style_cc = gram_matrix(network(style, {layer})[layer])[0]
        grams = [gram_matrix(network(photo, {layer})[layer])[0] for photo in photos]
        expected = torch.stack([(gram_cc - style_cc).square().mean() for gram_cc in grams]).mean().item()
        assert statistics.gram_distance(layer, style_cc) == pytest.approx(expected, rel=1e-5)


def test_the_second_style_needs_no_pass_and_gets_the_same_to_the_bit(
    network: PerceptualNetwork, shards: ShardDataset, passes: list[Tensor]
) -> None:
    first = distances(reference_statistics(network, shards, 64), network)
    assert len(passes) == len(reference_photos(shards, 64))
    passes.clear()
    assert distances(reference_statistics(network, shards, 64), network) == first
    assert passes == []


def test_another_size_number_format_or_number_of_threads_is_computed(
    network: PerceptualNetwork, shards: ShardDataset, passes: list[Tensor]
) -> None:
    reference_statistics(network, shards, 64)
    for change in ("size", "format", "threads"):
        passes.clear()
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(threads + (change == "threads"))
            other = network.prepare(torch.device("cpu"), torch.float32) if change == "format" else network
            reference_statistics(other, shards, 48 if change == "size" else 64)
        finally:
            torch.set_num_threads(threads)
            network.prepare(torch.device("cpu"), torch.bfloat16)
        assert passes, change


def test_a_damaged_file_is_computed_again_and_replaced(
    network: PerceptualNetwork, shards: ShardDataset, passes: list[Tensor], cache: Path
) -> None:
    first = distances(reference_statistics(network, shards, 64), network)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\xff" * 100):
        file.write_bytes(damaged)
        passes.clear()
        assert distances(reference_statistics(network, shards, 64), network) == first
        assert passes
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_to_is_no_reason_to_stop(
    network: PerceptualNetwork, shards: ShardDataset, cache: Path
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder would be")
    assert reference_statistics(network, shards, 64).energy > 0


def test_the_oldest_go_when_there_are_too_many(network: PerceptualNetwork, shards: ShardDataset, cache: Path) -> None:
    for side in range(32, 32 + KEPT + 2):
        reference_statistics(network, shards, side)
    assert len(list(cache.iterdir())) == KEPT

from __future__ import annotations

import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from tinystyle.data.datamodule import CropDataset, GlobalBatches
from tinystyle.data.photos import photo_tensor
from tinystyle.data.shards import ShardDataset, evenly_spaced
from tinystyle.errors import UserError


@pytest.fixture(scope="module")
def crops(dataset: Path) -> CropDataset:
    return CropDataset(ShardDataset(dataset), size=48, seed=3)


def test_an_epoch_shows_every_training_photo_once_and_no_held_out_one(crops: CropDataset) -> None:
    count = len(crops.indices)
    assert count == 22
    for epoch in range(3):
        seen = [crops._photo_of(i) for i in range(epoch * count, (epoch + 1) * count)]
        assert sorted(seen) == crops.shards.training
    assert [crops._photo_of(i) for i in range(count)] != [crops._photo_of(i + count) for i in range(count)]


def test_a_crop_depends_on_seed_and_index_alone(crops: CropDataset, dataset: Path) -> None:
    forwards = [crops[i] for i in range(60)]
    other = pickle.loads(pickle.dumps(CropDataset(ShardDataset(dataset), size=48, seed=3)))
    for i in reversed(range(60)):
        assert torch.equal(other[i], forwards[i])
    reseeded = CropDataset(ShardDataset(dataset), size=48, seed=4)
    assert not all(torch.equal(reseeded[i], forwards[i]) for i in range(10))


def test_crops_are_squares_of_the_size_and_vary(crops: CropDataset) -> None:
    first, again = (crops[next(i for i in range(start, start + 22) if crops._photo_of(i) == 5)] for start in (0, 22))
    assert first.shape == again.shape == (3, 48, 48)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, again)


def test_crops_show_parts_of_all_sizes_from_enlarged_to_the_whole(dataset: Path) -> None:
    shards = ShardDataset(dataset)
    zoomed, plain = (CropDataset(shards, size=48, seed=3, zoom=zoom) for zoom in (3.0, 1.0))
    assert (zoomed.sides, plain.sides) == ((16, 96), (48, 96))
    assert all(zoomed[i].shape == (3, 48, 48) for i in range(22))

    def detail(crops: CropDataset) -> float:
        return float(np.mean([crops[i].float().diff(dim=2).abs().mean() for i in range(22)]))

    assert detail(zoomed) < 0.8 * detail(plain), "what is enlarged is smooth"


def test_a_photo_tensor_may_be_scaled_down_but_never_up() -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    assert photo_tensor(photo, 20).shape == (1, 3, 20, 30)
    assert photo_tensor(photo, 50).shape == photo_tensor(photo).shape == (1, 3, 40, 60)


def test_the_ranks_shares_make_up_the_global_batch_from_any_step() -> None:
    whole = list(islice(GlobalBatches(0, 6, rank=0, world_size=1), 8))
    assert whole[0] == [0, 1, 2, 3, 4, 5]
    for world_size in (2, 3, 6):
        ranks = [list(islice(GlobalBatches(5, 6, rank, world_size), 3)) for rank in range(world_size)]
        for step in range(3):
            assert [i for rank in ranks for i in rank[step]] == whole[5 + step]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"4 .* 3 processes"):
        GlobalBatches(0, 4, 0, 3)


def test_evenly_spaced() -> None:
    assert evenly_spaced(list(range(10)), 4) == [0, 2, 5, 7]
    assert evenly_spaced([7, 8], 4) == [7, 8]
    assert len(set(evenly_spaced(list(np.arange(1000)), 64))) == 64

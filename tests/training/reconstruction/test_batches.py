"""Draws that depend on seed and epoch alone, and changes that hit image, region and view alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from anomalabel.config import AugmentationSettings
from anomalabel.reconstruction.mosaic import hide
from anomalabel.training.reconstruction.batches import CHANGES, UNCHANGED, Draws, draw_epoch, make_batch
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices

CPU = torch.device("cpu")


def test_an_epoch_draws_as_many_as_asked_and_is_the_same_again() -> None:
    batches = draw_epoch(7, 10, 4, (8, 16), seed=3, epoch=2)
    again = draw_epoch(7, 10, 4, (8, 16), seed=3, epoch=2)
    assert [len(one.numbers) for one in batches] == [4, 4, 2]
    for one, same in zip(batches, again, strict=True):
        assert torch.equal(one.numbers, same.numbers)
        assert torch.equal(one.changes, same.changes)
        assert one.block == same.block
    others = [draw_epoch(7, 10, 4, (8, 16), seed, epoch) for seed, epoch in ((3, 3), (2, 2), (2, 3))]
    drawn = {tuple(torch.cat([one.numbers for one in each]).tolist()) for each in (batches, *others)}
    assert len(drawn) == 4


def test_every_slice_and_block_has_the_same_chance() -> None:
    batches = draw_epoch(5, 20000, 10, (4, 8), seed=0, epoch=0)
    counts = torch.bincount(torch.cat([one.numbers for one in batches]))
    # Binomial: 4000 +- 57.
    assert counts.sub(4000).abs().max() < 230
    # 1000 +- 22.
    assert abs(sum(one.block == 4 for one in batches) - 1000) < 90


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_a_batch_between_them(world: int) -> None:
    (draws,) = draw_epoch(9, 4, 4, (8,), seed=0, epoch=0)
    parts = [draws.part(Processes(rank, world)) for rank in range(world)]
    numbers = torch.cat([one.numbers for one in parts])
    assert sorted(numbers.tolist()) == sorted(draws.numbers.tolist())
    assert max(len(one.numbers) for one in parts) - min(len(one.numbers) for one in parts) <= 1
    assert torch.equal(parts[-1].changes, draws.changes[world - 1 :: world])


def test_without_changes_a_batch_is_the_slices_and_their_mosaic(learnt: HealthySlices) -> None:
    numbers = torch.tensor([3, 0, 3])
    batch = make_batch(learnt, Draws(numbers, torch.zeros(3, CHANGES), 8), UNCHANGED, CPU)
    assert torch.equal(batch.images[:, 0], learnt.images[numbers].float())
    assert torch.equal(batch.inside[:, 0], learnt.inside[numbers])
    assert torch.equal(batch.shown, hide(batch.images, learnt.hidden[numbers], 8))
    assert not torch.equal(batch.shown, batch.images)
    assert batch.names == ("3.png", "0.png", "3.png")


def test_saliency_none_hides_nothing(learnt: HealthySlices) -> None:
    batch = make_batch(learnt, Draws(torch.tensor([1]), torch.zeros(1, CHANGES), None), UNCHANGED, CPU)
    assert torch.equal(batch.shown, batch.images)


@pytest.mark.parametrize(("key", "column", "axis"), [("mirror_left_right", 0, 1), ("mirror_up_down", 1, 0)])
def test_mirrors_turn_image_region_and_view_alike(learnt: HealthySlices, key: str, column: int, axis: int) -> None:
    inside = learnt.inside.clone()
    inside[:, :9, :20] = False
    slices = replace(learnt, inside=inside)
    changes = torch.full((2, CHANGES), 0.9)
    changes[1, column] = 0.4
    settings = AugmentationSettings(intensity_jitter=0, **{key: True})
    batch = make_batch(slices, Draws(torch.tensor([2, 5]), changes, 4), settings, CPU)
    assert torch.equal(batch.images[0, 0], slices.images[2].float())
    mirrored = slices.images[5].float().flip(axis)
    assert torch.equal(batch.images[1, 0], mirrored)
    assert torch.equal(batch.inside[1, 0], slices.inside[5].flip(axis))
    assert torch.equal(batch.shown[1], hide(mirrored[None, None], slices.hidden[5].flip(axis)[None], 4)[0])
    assert torch.equal(slices.inside, inside)
    untouched = make_batch(slices, Draws(torch.tensor([5]), changes[1:], 4), UNCHANGED, CPU)
    assert torch.equal(untouched.images[0, 0], slices.images[5].float())


def test_intensity_changes_by_factor_and_exponent(learnt: HealthySlices) -> None:
    changes = torch.tensor([[0.9, 0.9, 1.0, 0.0], [0.9, 0.9, 0.5, 0.5]])
    batch = make_batch(learnt, Draws(torch.tensor([4, 4]), changes, 8), AugmentationSettings(intensity_jitter=0.5), CPU)
    image = learnt.images[4].float()
    # Factor 1 + 0.5, exponent 2^-0.5.
    assert torch.allclose(batch.images[0, 0], (image**0.70710678 * 1.5).clamp(0, 1), atol=1e-6)
    assert torch.allclose(batch.images[1, 0], image, atol=1e-6)
    assert torch.equal(batch.shown[0], hide(batch.images[:1], learnt.hidden[4:5], 8)[0])
    assert float(batch.images.max()) <= 1


def test_slices_without_a_region_each_are_our_mistake(learnt: HealthySlices) -> None:
    with pytest.raises(ValueError, match="each slice needs"):
        HealthySlices(learnt.images, learnt.hidden[1:], learnt.inside, learnt.names)
    with pytest.raises(ValueError, match="square"):
        HealthySlices(learnt.images[0], learnt.hidden, learnt.inside, learnt.names)
    with pytest.raises(ValueError, match="bool"):
        HealthySlices(learnt.images, learnt.hidden.float(), learnt.inside, learnt.names)

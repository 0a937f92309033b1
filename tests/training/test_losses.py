from __future__ import annotations

import math

import pytest
import torch

from anomalabel.training.losses import caption_loss, patch_loss, planted_pair_loss, status_loss

EAST, NORTH = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
ONE = torch.tensor(1.0)


def test_caption_loss_of_two_orthogonal_pairs_by_hand() -> None:
    both = torch.cat([EAST, NORTH])
    expected = -math.log(math.e / (math.e + 1))
    assert caption_loss(both, both, torch.eye(2, dtype=torch.bool), ONE).item() == pytest.approx(expected, abs=1e-6)


def test_caption_loss_accepts_every_text_that_is_true() -> None:
    images = torch.cat([EAST, EAST])
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert caption_loss(images, images, everything, ONE).item() == pytest.approx(math.log(2), abs=1e-6)


def test_status_loss_is_low_for_the_right_side_and_high_for_the_wrong_one() -> None:
    right = status_loss(EAST, EAST, NORTH, torch.tensor([1.0]), ONE)
    wrong = status_loss(EAST, EAST, NORTH, torch.tensor([0.0]), ONE)
    assert right.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)
    assert wrong.item() == pytest.approx(math.log1p(math.exp(1)), abs=1e-6)


def test_pair_loss_wants_the_planted_image_nearer_to_the_disease() -> None:
    right = planted_pair_loss(EAST, NORTH, EAST, NORTH, ONE)
    assert right.item() == pytest.approx(2 * math.log1p(math.exp(-1)), abs=1e-6)
    assert planted_pair_loss(NORTH, EAST, EAST, NORTH, ONE) > right


def test_patch_loss_weighs_few_lesion_patches_as_much_as_many_healthy_ones() -> None:
    patches = torch.cat([EAST, NORTH.repeat(9, 1)])[None]
    coverage = torch.tensor([[1.0] + [0.0] * 9])
    known = torch.tensor([True])
    expected = math.log1p(math.exp(-1))
    assert patch_loss(patches, coverage, known, EAST, NORTH, ONE).item() == pytest.approx(expected, abs=1e-6)
    all_healthy = NORTH.repeat(10, 1)[None]
    missed = patch_loss(all_healthy, coverage, known, EAST, NORTH, ONE)
    assert missed.item() == pytest.approx((math.log1p(math.exp(1)) + expected) / 2, abs=1e-6)


def test_patches_of_an_unknown_place_and_half_covered_ones_do_not_count() -> None:
    patches = EAST.repeat(2, 1)[None].requires_grad_()
    loss = patch_loss(patches, torch.tensor([[0.1, 1.0]]), torch.tensor([False]), EAST, NORTH, ONE)
    loss.backward()
    assert loss.item() == 0
    assert patches.grad is not None
    assert not patches.grad.any()
    half = patch_loss(patches, torch.tensor([[0.1, 1.0]]), torch.tensor([True]), EAST, NORTH, ONE)
    assert half.item() == pytest.approx(math.log1p(math.exp(-1)), abs=1e-6)

"""Each loss against numbers by hand and loops that are slow and obvious."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.training.losses import (
    caption_loss,
    one_word_loss,
    patch_text_loss,
    planted_pair_loss,
    simclr_loss,
    status_loss,
)

EAST, NORTH = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
RIGHT, WRONG = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
"""softplus(-1) and softplus(1): what a choice between cosines 1 and 0 costs at scale 1."""


def units(count: int, seed: int, width: int = 5) -> Tensor:
    return functional.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


def table(rows: list[list[int]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def choose_slowly(logits: list[list[float]], true: Tensor, false: Tensor) -> float:
    """Mean over rows with both kinds: each true one against all false ones."""
    rows = []
    for row, values in enumerate(logits):
        wrong = [math.exp(value) for column, value in enumerate(values) if false[row, column]]
        right = [math.exp(value) for column, value in enumerate(values) if true[row, column]]
        if wrong and right:
            rows.append(sum(-math.log(value / (value + sum(wrong))) for value in right) / len(right))
    return sum(rows) / len(rows) if rows else 0.0


def test_one_text_for_each_image_is_clips_loss() -> None:
    images, texts, same = units(6, 0), units(6, 1), torch.eye(6, dtype=torch.bool)
    logits = 7 * images @ texts.T
    answer = torch.arange(6)
    clip = (functional.cross_entropy(logits, answer) + functional.cross_entropy(logits.T, answer)) / 2
    torch.testing.assert_close(caption_loss(images, texts, same, ~same, 7), clip)


def test_every_true_text_counts_and_unknown_ones_do_not() -> None:
    texts = torch.cat([EAST, EAST, NORTH, EAST])
    loss = caption_loss(EAST, texts, table([[1, 1, 0, 0]]), table([[0, 0, 1, 0]]), 1)
    assert loss.item() == pytest.approx(RIGHT / 2), "no text has a right and a wrong image, that direction counts 0"


@pytest.mark.parametrize("seed", range(5))
def test_caption_loss_is_that_of_loops(seed: int) -> None:
    images, texts = units(7, seed), units(9, seed + 100)
    known = torch.randint(3, (7, 9), generator=torch.Generator().manual_seed(seed))
    true, false = known == 1, known == 2
    true[0], false[1], true[:, 0] = False, False, False
    logits = (4 * images @ texts.T).tolist()
    turned = [list(column) for column in zip(*logits, strict=True)]
    slow = (choose_slowly(logits, true, false) + choose_slowly(turned, true.T, false.T)) / 2
    assert caption_loss(images, texts, true, false, 4).item() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize(("true", "false"), [(0, 0), (1, 0), (0, 1)])
def test_rows_without_a_right_and_a_wrong_text_give_zero_and_finite_gradients(true: int, false: int) -> None:
    images, texts = units(3, 0).requires_grad_(), units(3, 1).requires_grad_()
    loss = caption_loss(images, texts, table([[true] * 3] * 3), table([[false] * 3] * 3), 100)
    loss.backward()
    assert loss.item() == 0
    for vectors in (images, texts):
        assert vectors.grad is not None
        assert not vectors.grad.any()


def test_one_empty_row_among_others_leaves_their_gradients_finite() -> None:
    images = units(2, 0).requires_grad_()
    loss = caption_loss(images, units(2, 1), table([[1, 0], [0, 0]]), table([[0, 1], [0, 0]]), 5)
    loss.backward()
    assert loss.item() > 0
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert images.grad[0].any()
    assert not images.grad[1].any()


def test_one_word_loss_by_hand() -> None:
    both = torch.cat([EAST, NORTH])
    assert one_word_loss(both, both, both.flip(0), 1).item() == pytest.approx(RIGHT)
    assert one_word_loss(both, both.flip(0), both, 1).item() == pytest.approx(WRONG)
    assert one_word_loss(EAST, EAST, EAST, 9).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "loss",
    [
        lambda none: one_word_loss(none, none, none, 10),
        lambda none: status_loss(none, none, none, torch.zeros(0), 10),
        lambda none: planted_pair_loss(none, none, none, none, 10),
    ],
)
def test_no_rows_give_zero(loss) -> None:
    none = torch.zeros(0, 4, requires_grad=True)
    value = loss(none)
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_simclr_is_that_of_loops(temperature: float) -> None:
    first, second = units(4, 2), units(4, 3)
    views = [*first, *second]
    costs = []
    for row, view in enumerate(views):
        partner = (row + 4) % 8
        others = [float(view @ other) / temperature for column, other in enumerate(views) if column != row]
        right = float(view @ views[partner]) / temperature
        costs.append(math.log(sum(math.exp(value) for value in others)) - right)
    assert simclr_loss(first, second, temperature).item() == pytest.approx(sum(costs) / 8, rel=1e-5)


def test_status_loss_is_low_for_the_right_side_and_high_for_the_wrong_one() -> None:
    assert status_loss(EAST, EAST, NORTH, torch.tensor([1.0]), 1).item() == pytest.approx(RIGHT)
    assert status_loss(EAST, EAST, NORTH, torch.tensor([0.0]), 1).item() == pytest.approx(WRONG)
    both = status_loss(torch.cat([EAST, EAST]), EAST, NORTH, torch.tensor([1.0, 0.0]), 1)
    assert both.item() == pytest.approx((RIGHT + WRONG) / 2)
    undecided = status_loss(EAST, EAST, NORTH, torch.tensor([0.5]), 1)
    assert undecided.item() == pytest.approx((RIGHT + WRONG) / 2), "half an answer lies between both"


def test_pair_loss_wants_the_planted_image_nearer_to_the_disease() -> None:
    assert planted_pair_loss(EAST, NORTH, EAST, NORTH, 1).item() == pytest.approx(2 * RIGHT)
    assert planted_pair_loss(NORTH, EAST, EAST, NORTH, 1).item() == pytest.approx(2 * WRONG)
    assert planted_pair_loss(EAST, EAST, EAST, NORTH, 1).item() == pytest.approx(2 * math.log(2))


DISEASE_THEN_HEALTH = torch.cat([EAST, NORTH])
IF_INSIDE = (table([[1, 0]]), table([[0, 1]]))
IF_OUTSIDE = (table([[0, 1]]), table([[1, 0]]))


def patch_loss(patches: Tensor, place: list[float]) -> float:
    texts = DISEASE_THEN_HEALTH
    return patch_text_loss(patches[None], texts, torch.tensor([place]), IF_INSIDE, IF_OUTSIDE, 1).item()


def test_patches_inside_go_to_the_disease_and_those_outside_to_health() -> None:
    patches = torch.cat([EAST, NORTH])
    assert patch_loss(patches, [1, 0]) == pytest.approx(RIGHT)
    assert patch_loss(patches, [0, 1]) == pytest.approx(WRONG)


def test_few_lesion_patches_weigh_as_much_as_many_healthy_ones() -> None:
    assert patch_loss(NORTH.repeat(10, 1), [1.0] + [0.0] * 9) == pytest.approx((WRONG + RIGHT) / 2)


def test_patches_of_an_unknown_place_do_not_count() -> None:
    nowhere = math.nan
    assert patch_loss(torch.cat([EAST, NORTH, NORTH]), [1, 0, nowhere]) == pytest.approx(RIGHT)
    assert patch_loss(torch.cat([EAST, EAST]), [1, nowhere]) == pytest.approx(RIGHT), "one side alone"
    patches = EAST[None].requires_grad_()
    loss = patch_text_loss(patches, DISEASE_THEN_HEALTH, torch.tensor([[nowhere]]), IF_INSIDE, IF_OUTSIDE, 1)
    loss.backward()
    assert loss.item() == 0
    assert patches.grad is not None
    assert not patches.grad.any()


def test_each_image_has_its_own_true_texts() -> None:
    patches = torch.stack([EAST, NORTH])
    inside = (table([[1, 0], [0, 1]]), table([[0, 1], [1, 0]]))
    place = torch.ones(2, 1)
    loss = patch_text_loss(patches, DISEASE_THEN_HEALTH, place, inside, IF_OUTSIDE, 1)
    assert loss.item() == pytest.approx(RIGHT)

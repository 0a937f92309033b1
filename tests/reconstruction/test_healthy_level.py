"""The healthy level: means and deviations of a neighbourhood, and single images left out of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anomalabel.errors import ModelError
from anomalabel.reconstruction.healthy_level import LEAST_DEVIATION, ErrorSums, HealthyLevel

CELLS = 9
REACH = 2
"""Cells on either side that count: a neighbourhood of 5."""


def drawn(seed: int, slices: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Errors of places that differ, and a field of view of about two thirds."""
    generator = torch.Generator().manual_seed(seed)
    hard = 1 + 3 * torch.rand(CELLS, CELLS, generator=generator)
    errors = hard * torch.rand(slices, CELLS, CELLS, generator=generator)
    return errors, torch.rand(slices, CELLS, CELLS, generator=generator) < 0.66


def reference(errors: torch.Tensor, inside: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cell by cell, numpy's mean and standard deviation of all that the neighbourhood shows."""
    values, seen = errors.double().numpy(), inside.numpy()
    mean, deviation = np.empty((CELLS, CELLS)), np.empty((CELLS, CELLS))
    overall = values[seen].std()
    for row in range(CELLS):
        for column in range(CELLS):
            near = np.s_[:, max(row - REACH, 0) : row + REACH + 1, max(column - REACH, 0) : column + REACH + 1]
            shown = values[near][seen[near]]
            mean[row, column] = shown.mean() if shown.size else values[seen].mean()
            deviation[row, column] = (shown.std() if shown.size else overall) + LEAST_DEVIATION * overall
    return mean, deviation


def same(level: HealthyLevel, expected: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(level.mean, expected[0], rtol=1e-5)
    np.testing.assert_allclose(level.deviation, expected[1], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_level_is_numpys_mean_and_deviation_of_the_neighbourhood(seed):
    errors, inside = drawn(seed)
    level = ErrorSums.of(errors, inside).level()
    same(level, reference(errors, inside))
    assert (level.mean.dtype, level.deviation.dtype) == (torch.float32, torch.float32)


def test_what_is_outside_does_not_count():
    errors, inside = drawn(0)
    spoilt = torch.where(inside, errors, 1e6)
    same(ErrorSums.of(spoilt, inside).level(), reference(errors, inside))


def test_a_place_that_no_slice_shows_has_the_level_of_all_places():
    errors, inside = drawn(3)
    inside[:, :5, :5] = False
    level = ErrorSums.of(errors, inside).level()
    same(level, reference(errors, inside))
    shown = errors[inside].double()
    # The corner's whole neighbourhood is unseen; cells nearer to what is seen know something of it.
    assert float(level.mean[2, 2]) == pytest.approx(float(shown.mean()))
    assert float(level.deviation[2, 2]) == pytest.approx(1.1 * float(shown.std(correction=0)))
    assert float(level.mean[3, 3]) != pytest.approx(float(shown.mean()))


@pytest.mark.parametrize("number", range(4))
def test_an_image_left_out_leaves_the_level_of_the_others(number):
    errors, inside = drawn(5, slices=8)
    owners = torch.tensor([0, 1, 1, 1, 2, 3, 3, 3])
    # One that is alone in showing a corner, with errors far from the others'.
    inside[:, :3, :3] = False
    inside[4, :3, :3] = True
    errors[4] *= 1000
    images = [ErrorSums.of(errors[owners == one], inside[owners == one]) for one in range(4)]
    total = images[0] + images[1] + images[2] + images[3]
    same(total.level(), reference(errors, inside))
    others = owners != number
    same((total - images[number]).level(), reference(errors[others], inside[others]))


def test_errors_in_deviations_by_hand():
    level = HealthyLevel(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, 1.0], [2.0, 4.0]]))
    errors = torch.tensor([[[2.0, 2.0], [1.0, 12.0]], [[0.0, 0.0], [0.0, 0.0]]])
    expected = [[[2.0, 0.0], [-1.0, 2.0]], [[-2.0, -2.0], [-1.5, -1.0]]]
    assert level.standardised(errors).tolist() == expected
    assert level.to(torch.device("cpu")).standardised(errors).tolist() == expected


@pytest.mark.parametrize(
    ("errors", "inside", "message"),
    [
        (torch.rand(3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.bool), r"Nothing is seen.*foreground mask off"),
        (torch.full((3, 4, 4), 0.7), torch.ones(3, 4, 4, dtype=torch.bool), r"same error everywhere.*copies"),
        (torch.zeros(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool), "same error everywhere"),
    ],
)
def test_images_that_tell_nothing_are_refused(errors, inside, message):
    with pytest.raises(ModelError, match=message):
        ErrorSums.of(errors, inside).level()

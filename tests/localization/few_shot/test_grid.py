"""Levels of several resolutions on one grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.localization.few_shot.grid import GridFeatures, common_grid, grid_features, on_common_grid
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.preprocessing.framing import SquareFrame


def of_sides(side, *sides, seen=None):
    grid = (max(sides), max(sides))
    frame = SquareFrame.around(grid, (1.0, 1.0), side, np.ones(grid, dtype=bool))
    levels = tuple(torch.arange(2.0 * n * n).reshape(2, n, n) for n in sides)
    return SlicePatches(frame, np.ones(grid, dtype=bool) if seen is None else seen, levels)


@pytest.mark.parametrize(
    ("side", "sides", "expected"),
    [
        (224, (28, 14, 7), 14),
        (224, (28, 14), 14),
        (224, (28,), 28),
        (224, (56, 28, 7), 28),
        (384, (12, 24, 24), 24),
        # None is fine enough: the finest.
        (224, (7, 4), 7),
        (32, (4, 2), 2),
    ],
)
def test_the_coarsest_grid_of_patches_up_to_16_pixels(side, sides, expected):
    assert common_grid(of_sides(side, *sides)) == (expected, expected)


def test_finer_levels_are_averaged_and_coarser_ones_interpolated():
    constant = of_sides(64, 8, 4, 2)
    constant = replace(constant, levels=tuple(torch.full_like(level, 3.0) for level in constant.levels))
    for level in on_common_grid(constant).levels:
        assert level.shape == (2, 4, 4)
        torch.testing.assert_close(level, torch.full((2, 4, 4), 3.0))
    # Columns 0 to 7: an antialiased half is symmetric, so inside it is the mean of its neighbours.
    ramp = replace(of_sides(64, 8, 4), levels=(torch.arange(8.0).expand(1, 8, 8), torch.zeros(1, 4, 4)))
    halved = on_common_grid(ramp).levels[0][0]
    torch.testing.assert_close(halved[:, 1:3], torch.tensor([2.5, 4.5]).expand(4, 2))


def test_a_patch_is_seen_where_any_part_of_it_is():
    seen = np.zeros((8, 8), dtype=bool)
    seen[3, 6] = True
    there = on_common_grid(of_sides(64, 8, 4, seen=seen)).seen
    assert there.shape == (4, 4)
    assert np.argwhere(there).tolist() == [[1, 3]]


def test_a_slice_on_the_grid_stays_bit_by_bit():
    once = on_common_grid(of_sides(64, 8, 4))
    twice = on_common_grid(once)
    for first, second in zip(once.levels, twice.levels, strict=True):
        assert torch.equal(first, second)
    np.testing.assert_array_equal(once.seen, twice.seen)


def test_patches_come_row_by_row_and_slices_can_be_chosen(slices):
    several = slices(0, 3)
    features = grid_features(several)
    assert isinstance(features, GridFeatures)
    assert (len(features), features.grid) == (3, (3, 4))
    assert [tuple(level.shape) for level in features.levels] == [(3, 12, 5), (3, 12, 6), (3, 12, 4)]
    torch.testing.assert_close(features.levels[1][2, 1 * 4 + 3], several[2].levels[1][:, 1, 3])
    assert features.seen[0].tolist() == [False] * 4 + [True] * 8
    chosen = features.of(torch.tensor([2, 0]))
    assert torch.equal(chosen.levels[0][0], features.levels[0][2])
    assert torch.equal(chosen.seen[1], features.seen[0])
    assert chosen.grid == (3, 4)

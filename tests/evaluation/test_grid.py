"""Maps, masks and boxes on the grid that is judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.grid import MAXIMUM_SIDE, EvaluationGrid


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ((1, 200, 256), (200, 256)),
        ((1, 512, 512), (256, 256)),
        ((1, 1000, 500), (256, 128)),
        ((1, 3, 5000), (1, 256)),
        ((20, 512, 512), (20, 512, 512)),
    ],
)
def test_only_large_pictures_are_reduced(source, shape):
    assert EvaluationGrid.of(source).shape == shape


def test_a_map_is_averaged_over_what_was_seen():
    grid = EvaluationGrid((1, 4, 4), (2, 2))
    values = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    values[0, 0, 0] = np.nan
    values[0, 2:, :2] = [[np.nan, np.nan], [np.nan, 7]]
    reduced = grid.of_map(values)
    assert reduced[0, 0] == pytest.approx((1 + 4 + 5) / 3)
    assert reduced[0, 1] == pytest.approx((2 + 3 + 6 + 7) / 4)
    assert np.isnan(reduced[1, 0])
    assert reduced[1, 1] == pytest.approx((10 + 11 + 14 + 15) / 4)


def test_a_mask_takes_the_pixel_under_the_centre():
    mask = np.zeros((1, 6, 6), dtype=bool)
    mask[0, 4, 1] = True
    reduced = EvaluationGrid((1, 6, 6), (2, 2)).of_mask(mask)
    assert reduced.tolist() == [[False, False], [True, False]]


def test_what_is_not_reduced_stays():
    values = np.random.default_rng(0).random((1, 7, 9), dtype=np.float32)
    grid = EvaluationGrid.of((1, 7, 9))
    np.testing.assert_array_equal(grid.of_map(values), values[0])
    np.testing.assert_array_equal(grid.of_mask(values > 0.5), values[0] > 0.5)
    assert grid.of_box(Box((0, 2, 3), (0, 4, 8), 0.5)) == Box((2, 3), (4, 8), 0.5)
    volume = EvaluationGrid.of((3, 7, 9))
    assert volume.of_box(Box((0, 2, 3), (1, 4, 8))) == Box((0, 2, 3), (1, 4, 8))


@given(st.integers(300, 900), st.integers(300, 900), st.data())
def test_a_box_stays_around_its_mask(rows, columns, data):
    grid = EvaluationGrid.of((1, rows, columns))
    top, left = data.draw(st.integers(0, rows - 40)), data.draw(st.integers(0, columns - 40))
    bottom, right = top + data.draw(st.integers(8, 39)), left + data.draw(st.integers(8, 39))
    mask = np.zeros((1, rows, columns), dtype=bool)
    mask[0, top : bottom + 1, left : right + 1] = True
    row, column = np.nonzero(grid.of_mask(mask))
    box = grid.of_box(Box((top, left), (bottom, right)))
    assert (row.min(), column.min()) == pytest.approx(box.low, abs=1)
    assert (row.max(), column.max()) == pytest.approx(box.high, abs=1)


@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_a_box_of_one_pixel_stays_in_the_picture(rows, columns, data):
    grid = EvaluationGrid.of((1, rows, columns))
    place = data.draw(st.tuples(st.integers(0, rows - 1), st.integers(0, columns - 1)))
    box = grid.of_box(Box(place, place))
    for low, high, length in zip(box.low, box.high, grid.shape, strict=True):
        assert 0 <= low <= high < length <= MAXIMUM_SIDE


def test_areas_in_millimetres_stay_true():
    affine = np.diag([0.5, 0.25, 3.0, 1.0])
    grid = EvaluationGrid.of((1, 512, 1024))
    reduced = grid.affine_ras(affine)
    pixels = np.prod(grid.shape)
    assert abs(np.linalg.det(reduced)) * pixels == pytest.approx(abs(np.linalg.det(affine)) * 512 * 1024)
    assert reduced[0, 0] == pytest.approx(2.0)

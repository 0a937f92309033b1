"""Maps averaged over neighbourhoods, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.localization.scales import multi_scale


def slow(one: np.ndarray, seen: np.ndarray, scales: tuple[int, ...]) -> np.ndarray:
    result = np.full(one.shape, np.nan)
    for row, column in zip(*np.nonzero(seen), strict=True):
        means = []
        for scale in scales:
            reach = scale // 2
            near = np.s_[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
            means.append(one[near][seen[near]].mean(dtype=np.float64))
        result[row, column] = np.mean(means)
    return result


@given(st.integers(0, 10_000), st.sampled_from([(1,), (3,), (1, 3), (1, 3, 5), (7, 1)]))
@settings(max_examples=40, deadline=None)
def test_scales_are_those_of_the_loop(seed, scales):
    generator = np.random.default_rng(seed)
    maps = (100 + generator.standard_normal((2, 5, 7))).astype(np.float32)
    seen = generator.random((2, 5, 7)) < 0.7
    maps[~seen] = np.nan
    expected = np.stack([slow(one, where, scales) for one, where in zip(maps, seen, strict=True)])
    np.testing.assert_allclose(multi_scale(maps, seen, scales), expected, rtol=1e-6)


def test_one_patch_seen_by_hand():
    maps = np.zeros((1, 3, 3), np.float32)
    maps[0, 1, 1] = 9
    seen = np.ones((1, 3, 3), bool)
    assert multi_scale(maps, seen, (1, 3))[0, 1, 1] == 5
    assert multi_scale(maps, seen, (1, 3))[0, 0, 0] == pytest.approx(9 / 4 / 2)
    seen[0, 0, :] = False
    assert multi_scale(maps, seen, (3,))[0, 1, 1] == 1.5


def test_scale_one_is_the_map_itself_and_what_was_not_seen_stays_unknown():
    maps = np.random.default_rng(0).random((1, 4, 4)).astype(np.float32)
    seen = np.ones((1, 4, 4), bool)
    seen[0, 0, 0] = False
    result = multi_scale(maps, seen, (1,))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[seen], maps[seen])
    assert np.isnan(result[~seen]).all()
    assert np.isnan(multi_scale(maps, np.zeros_like(seen), (1, 3))).all()


def test_a_large_scale_lifts_a_broad_change_over_a_noisy_patch():
    maps = np.zeros((1, 12, 12), np.float32)
    maps[0, 1:6, 1:6] = 1
    maps[0, 9, 9] = 1.5
    seen = np.ones(maps.shape, bool)
    assert multi_scale(maps, seen, (1,)).argmax() == 9 * 12 + 9
    result = multi_scale(maps, seen, (1, 3, 5))[0]
    assert np.unravel_index(result.argmax(), result.shape) == (3, 3)

"""Specks go, lesions keep their peaks, and nothing rises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anomalabel.localization.suppression import suppress_specks

SIDE = 64
AREA = 0.005
"""20.5 pixels of a slice."""


def bump(row: int, column: int, height: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))


def scene(background: float = 0.2, noise: float = 0.0) -> np.ndarray:
    """A lesion at (20, 20), and a speck at (45, 50) that is brighter."""
    flat = background + noise * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    return (flat + bump(20, 20, 0.6, 6) + bump(45, 50, 0.9, 0.8)).astype(np.float32)


def test_a_speck_goes_and_a_lesion_keeps_its_peak():
    before = scene()
    after = suppress_specks(before, AREA)
    assert np.unravel_index(before.argmax(), before.shape) == (45, 50)
    assert np.unravel_index(after.argmax(), after.shape) == (20, 20)
    assert after[20, 20] == before[20, 20]
    np.testing.assert_array_equal(after[:40, :40], before[:40, :40])
    assert after[45, 50] < 0.25


def test_noise_around_them_changes_neither():
    before = scene(noise=0.02)
    after = suppress_specks(before, AREA)
    lesion = np.unravel_index(before[10:30, 10:30].argmax(), (20, 20))
    assert np.unravel_index(after.argmax(), after.shape) == (lesion[0] + 10, lesion[1] + 10)
    assert after.max() == before[10:30, 10:30].max()
    assert after[43:48, 48:53].max() < 0.27


def test_a_spike_on_a_lesion_is_cut_down_to_the_lesion():
    before = bump(30, 30, 0.4, 8).astype(np.float32)
    before[30, 36] = 2
    after = suppress_specks(before, AREA)
    assert after[30, 36] == pytest.approx(before[30, 37], abs=0.08)
    assert after.max() == pytest.approx(0.4, abs=0.02)


def test_a_step_is_judged_by_its_area_alone():
    before = np.zeros((SIDE, SIDE), np.float32)
    before[4:8, 4:9] = 1
    before[20:23, 20:27] = 1
    after = suppress_specks(before, 21 / SIDE**2)
    assert after[4:8, 4:9].max() == 0
    assert (after[20:23, 20:27] == 1).all()
    np.testing.assert_array_equal(suppress_specks(before, 20 / SIDE**2), before)


def test_the_share_is_of_what_was_seen_and_islands_touch_at_corners():
    before = np.zeros((SIDE, SIDE), np.float32)
    for step in range(6):
        before[10 + step, 10 + step] = 1
    np.testing.assert_array_equal(suppress_specks(before, 6 / SIDE**2), before)
    before[:, 20:] = np.nan
    np.testing.assert_array_equal(suppress_specks(before, 6 / (20 * SIDE)), before)
    assert np.nanmax(suppress_specks(before, 6.5 / (20 * SIDE))) == 0


def test_slices_of_a_volume_are_judged_one_by_one():
    volume = np.stack([scene(), scene()[::-1], np.full((SIDE, SIDE), np.nan, np.float32)])
    after = suppress_specks(volume, AREA)
    assert after.dtype == np.float32
    for one, result in zip(volume, after, strict=True):
        np.testing.assert_array_equal(result, suppress_specks(one, AREA))


@pytest.mark.parametrize("value", [0.0, -3.5, 7.0, np.nan])
def test_constant_and_unseen_maps_stay(value):
    before = np.full((2, 9, 9), value, np.float32)
    np.testing.assert_array_equal(suppress_specks(before, 0.5), before)


def test_a_lone_island_in_the_unseen_is_no_reason_to_fail():
    before = np.full((9, 9), np.nan, np.float32)
    before[4, 4] = 5
    np.testing.assert_array_equal(suppress_specks(before, 0.5), before)


def slow_opening(above: np.ndarray, pixels: int) -> np.ndarray:
    """Each pixel's highest level at which its island has the area."""
    opened = np.full(above.shape, above.min())
    for level in np.unique(above):
        labels, _ = ndimage.label(above >= level, np.ones((3, 3)))
        large = np.bincount(labels.ravel())[labels] >= pixels
        opened[large & (labels > 0)] = level
    return opened


@st.composite
def maps(draw) -> np.ndarray:
    """Few levels, so that plateaus and ties are common, or smooth; some unseen."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    levels = draw(st.sampled_from([2, 4, 0]))
    if levels:
        values = generator.integers(0, levels, shape).astype(np.float32)
    else:
        values = ndimage.gaussian_filter(generator.standard_normal(shape), draw(st.floats(0, 2))).astype(np.float32)
    values[generator.random(shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    return values


@given(maps(), st.floats(0.01, 0.6))
@settings(max_examples=200, deadline=None)
def test_nothing_rises_and_a_second_pass_changes_nothing(before, area):
    after = suppress_specks(before, area)
    np.testing.assert_array_equal(np.isnan(after), np.isnan(before))
    seen = np.isfinite(before)
    assert (after[seen] <= before[seen]).all()
    np.testing.assert_array_equal(suppress_specks(after, area), after)
    if seen.any():
        median = np.sort(before[seen])[(seen.sum() - 1) // 2]
        changed = seen & (after != before)
        assert (before[changed] > median).all()
        assert (after[changed] >= median).all()
        opened = slow_opening(np.where(seen & (before > median), before, median), int(np.ceil(area * seen.sum())))
        assert (after[seen] >= np.minimum(opened, before)[seen]).all()


@given(maps(), st.floats(0.01, 0.6))
@settings(max_examples=200, deadline=None)
def test_each_peak_that_remains_is_a_peak_of_the_map_or_a_plateau_of_the_area(before, area):
    """Kept peaks have the area at half of their height; what is left of the others has the area at its own height."""
    after = suppress_specks(before, area)
    seen = np.isfinite(before)
    if not seen.any():
        return
    pixels = int(np.ceil(area * seen.sum()))
    median = np.sort(before[seen])[(seen.sum() - 1) // 2]
    above = np.where(seen & (after > median), after, median)
    for level in np.unique(above[above > median]):
        labels, count = ndimage.label(above >= level, np.ones((3, 3)))
        for number in range(1, count + 1):
            island = labels == number
            if above[island].max() > level:
                continue
            opened = slow_opening(above, pixels)[island].max()
            if opened < level:
                assert (before[island] == level).all()
                assert level - opened <= opened - median

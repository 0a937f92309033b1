"""Growing a finding inside its box, against flood fill by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.scene.growing import grow
from hypothesis import given, settings
from hypothesis import strategies as st


def boxed(index_min, index_max, peak):
    return SimpleNamespace(
        id="one", label="anomaly", index_min=tuple(index_min), index_max=tuple(index_max), peak_index=tuple(peak)
    )


def places(mask: np.ndarray) -> set[tuple[int, int, int]]:
    return {tuple(int(part) for part in row[::-1]) for row in np.argwhere(mask)}


def flood(values, threshold, low, high, seed) -> set:
    """(i, j, k) places reached from a seed, one voxel after the other."""
    found, waiting = set(), [seed]
    while waiting:
        here = waiting.pop()
        inside = all(a <= b <= c for a, b, c in zip(low, here, high, strict=True))
        if here in found or not inside or not values[here[::-1]] > threshold:
            continue
        found.add(here)
        steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
        waiting += [tuple(a + b for a, b in zip(here, step, strict=True)) for step in steps]
    return found


def test_it_takes_what_touches_the_peak_and_nothing_outside_the_box():
    values = np.zeros((4, 6, 8), np.float32)
    values[1, 2, 2:7] = 0.8
    values[2, 3, 2] = 0.6
    values[3, 5, 1] = 0.9
    values[1, 2, 3] = np.nan
    region = grow(values, 0.5, boxed((1, 1, 1), (5, 5, 3), (4, 2, 1)))
    assert places(region.mask) == {(4, 2, 1), (5, 2, 1)}, "unseen cuts, the box cuts"
    region = grow(values, 0.5, boxed((1, 1, 1), (5, 5, 3), (2, 2, 1)))
    assert places(region.mask) == {(2, 2, 1), (2, 3, 2)}, "a corner in common is enough"
    assert region.note == ""


def test_what_equals_the_threshold_is_outside():
    values = np.zeros((1, 1, 3), np.float32)
    values[0, 0] = (0.5, 0.75, 0.5)
    assert places(grow(values, 0.5, boxed((0, 0, 0), (2, 0, 0), (1, 0, 0))).mask) == {(1, 0, 0)}


def test_a_box_dragged_off_its_peak_grows_from_its_own_largest_value():
    values = np.zeros((1, 4, 9), np.float32)
    values[0, 1, 0] = 1.0
    values[0, 1, 4] = 0.7
    values[0, 2, 6:8] = (0.8, 0.9)
    region = grow(values, 0.5, boxed((3, 0, 0), (8, 3, 0), (0, 1, 0)))
    assert places(region.mask) == {(6, 2, 0), (7, 2, 0)}
    region = grow(values, 0.5, boxed((3, 0, 0), (8, 3, 0), (3, 3, 0)))
    assert places(region.mask) == {(6, 2, 0), (7, 2, 0)}, "a peak below the threshold is none"


@pytest.mark.parametrize("fill", [0.1, np.nan])
def test_a_box_with_nothing_above_is_taken_whole_and_says_so(fill):
    region = grow(np.full((3, 4, 5), fill, np.float32), 0.5, boxed((1, 2, 0), (9, 9, 1), (1, 2, 0)))
    assert places(region.mask) == {(i, j, k) for i in range(1, 5) for j in (2, 3) for k in (0, 1)}
    assert "whole box" in region.note


def test_a_box_outside_the_image_is_refused():
    with pytest.raises(SceneError, match="outside") as caught:
        grow(np.ones((3, 4, 5), np.float32), 0.5, boxed((5, 0, 0), (7, 2, 2), (5, 0, 0)))
    assert caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9))
def test_it_equals_flood_fill(seed, threshold):
    draw = np.random.default_rng(seed)
    shape = tuple(int(size) for size in draw.integers(1, 7, 3))
    values = draw.random(shape).astype(np.float32)
    values[draw.random(shape) < 0.1] = np.nan
    size = np.array(shape[::-1])
    low = np.array([draw.integers(0, part) for part in size])
    high = np.array([draw.integers(a, b) for a, b in zip(low, size, strict=True)])
    peak = tuple(int(draw.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
    region = grow(values, threshold, boxed(low.tolist(), high.tolist(), peak))
    box = values[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1]
    if not (box > threshold).any():
        assert region.note
        assert region.mask.sum() == box.size
        return
    if not values[peak[::-1]] > threshold:
        k, j, i = np.unravel_index(np.nanargmax(box), box.shape)
        peak = (int(i + low[0]), int(j + low[1]), int(k + low[2]))
    assert places(region.mask) == flood(values, threshold, low.tolist(), high.tolist(), peak)

"""Several methods' maps as one: values against a slow reference, and speed enough for a slider."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.scene.blend import Blend, blend
from AnomaLabelLib.scene.geometry import same_grid
from AnomaLabelLib.scene.runs import add_run, find_runs
from example_results import affine, inference_result, volume_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MATRIX = affine((15, -25, 70), (0.7, 0.9, 4.0), (-31, 12, 88), (1, -1, 1))
SHAPE = (2, 3, 4)


def run_of(scene, values: np.ndarray, threshold: float, matrix: np.ndarray = MATRIX):
    source = volume_node(scene, np.zeros(values.shape, np.float32), matrix)
    return add_run(scene, inference_result(values, matrix, [], threshold=threshold), source, "run")


def filled(value: float, **places: float) -> np.ndarray:
    values = np.full(SHAPE, value, np.float32)
    for name, other in places.items():
        values.flat[int(name[1:])] = other
    return values


def values_of(volume) -> np.ndarray:
    return slicer.util.arrayFromVolume(volume)


def test_each_map_counts_in_units_of_its_own_threshold(scene):
    runs = [run_of(scene, filled(0.6, _1=np.nan), 0.2), run_of(scene, filled(8.0, _1=12.0, _2=np.nan), 4.0)]
    volume = blend(scene, runs, (1.0, 3.0), "both")
    expected = filled((1 * 3.0 + 3 * 2.0) / 4, _1=3.0, _2=3.0)
    np.testing.assert_allclose(values_of(volume), expected, rtol=1e-6)
    assert same_grid(volume, runs[0].heatmap)


def test_a_threshold_at_or_below_zero_is_shifted_as_in_the_colour_scale(scene):
    runs = [run_of(scene, filled(-2.0, _1=0.0, _2=-6.0), -2.0)]
    np.testing.assert_allclose(values_of(blend(scene, runs, (5.0,), "one")), filled(1.0, _1=2.0, _2=-1.0), rtol=1e-6)


def test_nobody_saw_it_and_nobody_who_counts_saw_it(scene):
    runs = [run_of(scene, filled(1.0, _1=np.nan, _2=np.nan), 1.0), run_of(scene, filled(1.0, _1=np.nan), 1.0)]
    made = Blend(scene, runs, "both")
    made.mix((1.0, 0.0))
    assert np.flatnonzero(np.isnan(values_of(made.volume))).tolist() == [1, 2]
    made.mix((0.5, 0.5))
    assert np.flatnonzero(np.isnan(values_of(made.volume))).tolist() == [1]


def slow_blend(maps, thresholds, weights) -> np.ndarray:
    out = np.full(maps[0].shape, np.nan)
    for place in np.ndindex(out.shape):
        total = share = 0.0
        for values, threshold, weight in zip(maps, thresholds, weights, strict=True):
            if np.isfinite(values[place]) and weight > 0:
                total += weight * (1 + (values[place] - threshold) / abs(threshold))
                share += weight
        if share:
            out[place] = total / share
    return out


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.floats(0.1, 9).flatmap(lambda size: st.sampled_from((size, -size))), st.sampled_from((0, 0.5, 2))),
        min_size=1,
        max_size=4,
    ).filter(lambda rows: any(weight for _threshold, weight in rows)),
)
def test_it_equals_the_obvious_mean(scene, seed, rows):
    draw = np.random.default_rng(seed)
    maps = []
    for _row in rows:
        values = draw.normal(size=SHAPE).astype(np.float32)
        values[draw.random(SHAPE) < 0.3] = np.nan
        values.flat[0] = 1.0
        maps.append(values)
    thresholds, weights = zip(*rows, strict=True)
    runs = [run_of(scene, values, threshold) for values, threshold in zip(maps, thresholds, strict=True)]
    volume = blend(scene, runs, weights, "all")
    np.testing.assert_allclose(values_of(volume), slow_blend(maps, thresholds, weights), rtol=2e-4, atol=2e-4)


def test_slices_counted_from_the_other_end_are_put_in_order(scene):
    values = np.arange(1, 25, dtype=np.float32).reshape(SHAPE)
    turned = MATRIX.copy()
    turned[:3, 3] += turned[:3, 2]
    turned[:3, 2] *= -1
    runs = [run_of(scene, values, 1.0), run_of(scene, values[::-1], 1.0, turned)]
    np.testing.assert_allclose(values_of(blend(scene, runs, (1, 1), "both")), values, rtol=1e-6)


def test_it_is_drawn_from_one_to_two_and_is_no_run(scene):
    runs = [run_of(scene, filled(0.6), 0.2)]
    made = Blend(scene, runs, "one")
    display = made.volume.GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((1.0, 2.0))
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(1.0)
    assert [run.id for run in find_runs(scene)] == [runs[0].id]
    before = scene.GetNumberOfNodes()
    made.remove()
    assert scene.GetNumberOfNodes() == before - 2
    made.remove()


def test_other_grids_and_wrong_weights_are_refused(scene):
    runs = [run_of(scene, filled(1.0), 1.0), run_of(scene, filled(1.0), 1.0, np.eye(4))]
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="different grids") as caught:
        Blend(scene, runs, "both")
    assert caught.value.remedy
    with pytest.raises(SceneError, match="0 results"):
        Blend(scene, [], "none")
    assert scene.GetNumberOfNodes() == before
    made = Blend(scene, runs[:1], "one")
    for weights in ((), (1.0, 1.0), (0.0,), (-1.0,), (float("nan"),)):
        with pytest.raises(SceneError, match="weights"):
            made.mix(weights)

"""Regions of a map above a threshold, against the server's own rules."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from AnomaLabelLib.scene import regions as regions_module
from AnomaLabelLib.scene.regions import RegionMap
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from anomalabel.localization.findings import extract_findings

EYE = np.eye(4)


def check_against_server(values: np.ndarray, threshold: float, uncertainty: np.ndarray | None = None) -> None:
    with warnings.catch_warnings():
        # The server's mean over a region of which nothing is known warns; ours says NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = {
            each.peak_index: each for each in extract_findings(values, EYE, threshold, 0, "spot", "run", uncertainty)
        }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = RegionMap(values, uncertainty).at(threshold)
    assert {tuple(peak) for peak in found.peak.tolist()} == set(expected)
    assert found.score.tolist() == sorted(found.score.tolist(), reverse=True)
    for place, peak in enumerate(found.peak.tolist()):
        each = expected[tuple(peak)]
        assert found.score[place] == each.score
        assert found.voxels[place] == each.volume_mm3
        assert tuple(found.index_min[place]) == each.index_min
        assert tuple(found.index_max[place]) == each.index_max
        assert found.mean[place] == pytest.approx(each.mean_score, rel=1e-12)
        if each.uncertainty is not None:
            assert found.uncertainty[place] == pytest.approx(each.uncertainty, rel=1e-4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_regions_are_those_of_the_server(data):
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    numbers = st.sampled_from((np.float32("nan"), *np.linspace(-1, 1, 6, dtype=np.float32)))
    values = data.draw(arrays.arrays(np.float32, shape, elements=numbers))
    check_against_server(values, data.draw(st.sampled_from((-2.0, -0.6, 0.2, 0.7, 1.0))))


@pytest.mark.parametrize("seed", range(4))
def test_larger_maps_with_holes_in_what_was_seen(seed):
    generator = np.random.default_rng(seed)
    values = ndimage.gaussian_filter(generator.normal(size=(19, 31, 40)), 1.3).astype(np.float32)
    values[generator.random(values.shape) < 0.05] = np.nan
    values[:3] = np.nan
    uncertainty = generator.random(values.shape, dtype=np.float32)
    uncertainty[np.isnan(values)] = np.nan
    for quantile in (0.5, 0.8, 0.95):
        check_against_server(values, float(np.nanquantile(values, quantile)), uncertainty)


def test_noise_takes_the_other_way_to_the_same_regions(monkeypatch):
    generator = np.random.default_rng(5)
    values = generator.random((12, 15, 17), dtype=np.float32)
    monkeypatch.setattr(regions_module, "MANY_RUNS", 0)
    for threshold in (0.6, 0.9, 0.97):
        check_against_server(values, threshold)


def test_the_end_of_a_row_does_not_touch_the_start_of_the_next():
    values = np.zeros((3, 4, 5), np.float32)
    for ends in (((0, 0, 4), (0, 1, 0)), ((0, 3, 2), (1, 0, 2)), ((1, 3, 4), (2, 0, 0))):
        values[:] = 0
        for each in ends:
            values[each] = 1
        assert RegionMap(values).at(0.5).score.size == 2, ends


def test_voxels_that_touch_at_a_corner_are_one_region():
    values = np.zeros((4, 4, 4), np.float32)
    for step, score in enumerate((0.6, 0.9, 0.7)):
        values[step, 2 - step, step] = score
    found = RegionMap(values).at(0.5)
    assert found.peak.tolist() == [[1, 1, 1]]
    assert found.index_min.tolist() == [[0, 0, 0]]
    assert found.index_max.tolist() == [[2, 2, 2]]
    assert found.voxels.tolist() == [3]
    assert found.mean[0] == pytest.approx((0.6 + 0.9 + 0.7) / 3)


def test_what_equals_the_threshold_is_out_as_on_the_server():
    values = np.array([[[0.1, 0.3, 0.1]]], np.float32)
    assert RegionMap(values).at(0.3).score.size == 0
    assert RegionMap(values).at(np.nextafter(np.float32(0.3), np.float32(0))).score.size == 1


def test_uncertainty_is_averaged_where_it_is_known():
    values = np.array([[[1, 1, 0, 1, 1]]], np.float32)
    uncertainty = np.array([[[0.2, np.nan, 9, np.nan, np.nan]]], np.float32)
    found = RegionMap(values, uncertainty).at(0.5)
    assert found.uncertainty[0] == pytest.approx(0.2)
    assert np.isnan(found.uncertainty[1])


def test_the_region_of_a_voxel():
    values = np.array([[[0.9, 0.2, 0.8, 0.8]], [[0.1, 0.1, 0.1, 0.1]]], np.float32)
    found = RegionMap(values).at(0.5)
    indices = np.array([(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0), (0, 0, 1)])
    assert found.at(indices).tolist() == [0, -1, 1, 1, -1]
    assert RegionMap(values).at(2.0).at(indices).tolist() == [-1] * 5


def test_a_map_is_looked_at_as_often_as_wanted():
    generator = np.random.default_rng(6)
    values = ndimage.gaussian_filter(generator.normal(size=(10, 12, 14)), 1).astype(np.float32)
    kept = RegionMap(values)
    for threshold in (0.1, -0.1, 0.3, 0.05, 0.2):
        again, fresh = kept.at(threshold), RegionMap(values).at(threshold)
        np.testing.assert_array_equal(again.index_min, fresh.index_min)
        np.testing.assert_array_equal(again.voxels, fresh.voxels)

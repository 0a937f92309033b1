"""Scaling and the region rule of clap.txt eq. 2, by hand."""

import numpy as np
import pytest

from anomalabel.attention.clap import REGION_SD, region_threshold, scale_to_unit, suspected_region


def test_scaling_by_hand():
    values = np.array([[1.0, 2.0], [3.0, 5.0]], dtype=np.float32)
    np.testing.assert_allclose(scale_to_unit(values, 1, 5), [[0, 0.25], [0.5, 1]])


def test_values_beyond_the_range_are_clipped():
    values = np.array([-1.0, 2.0, 7.0], dtype=np.float32)
    np.testing.assert_allclose(scale_to_unit(values, 0, 4), [0, 0.5, 1])


def test_a_map_without_range_is_zero():
    scaled = scale_to_unit(np.full((2, 3), 4.0, dtype=np.float32), 4, 4)
    np.testing.assert_array_equal(scaled, np.zeros((2, 3)))


def test_the_region_rule_by_hand():
    anomaly_map = np.array([0.0, 0.0, 0.0, 1.0], dtype=np.float32)
    assert REGION_SD == 0.674
    assert region_threshold(anomaly_map) == pytest.approx(0.25 + 0.674 * np.sqrt(3) / 4)
    assert region_threshold(anomaly_map, sd=2.0) == pytest.approx(0.25 + 2 * np.sqrt(3) / 4)
    np.testing.assert_array_equal(suspected_region(anomaly_map), [False, False, False, True])
    np.testing.assert_array_equal(suspected_region(anomaly_map, sd=2.0), [False] * 4)


def test_the_upper_quarter_of_a_normal_distribution_is_suspected():
    anomaly_map = np.random.default_rng(0).normal(3, 2, (100, 100, 20)).astype(np.float32)
    assert suspected_region(anomaly_map).mean() == pytest.approx(0.25, abs=0.003)


def test_unseen_voxels_neither_count_nor_belong():
    seen = np.array([0.0, 0.0, 0.0, 1.0], dtype=np.float32)
    with_gaps = np.concatenate([seen, np.full(96, np.nan, dtype=np.float32)])
    assert region_threshold(with_gaps) == pytest.approx(region_threshold(seen))
    np.testing.assert_array_equal(np.flatnonzero(suspected_region(with_gaps)), [3])


def test_a_flat_map_has_no_region():
    assert not suspected_region(np.full((3, 4), 0.1, dtype=np.float32)).any()


def test_the_threshold_of_a_large_map_is_summed_in_double_precision():
    anomaly_map = np.full(20_000_000, 0.1, dtype=np.float32)
    assert region_threshold(anomaly_map) == pytest.approx(float(np.float32(0.1)), abs=1e-9)

"""Findings at any threshold: the server's own at its threshold, the same ids while the threshold moves."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from AnomaLabelLib.scene.ownership import HEATMAP_ROLE, claim
from AnomaLabelLib.scene.region_findings import RegionFinder
from AnomaLabelLib.server.report import parse_report
from example_results import affine, finding, report, volume_node
from scipy import ndimage

from anomalabel.localization.findings import extract_findings

MATRIX = affine((25, -40, 60), (0.7, 1.1, 2.5), (12, -40, 7), (-1, 1, 1))
THRESHOLD = 0.5
RUN_ID = "7d3f4f2c-58d5-4dc4-9c55-1f9d1d6f8a10"


def bumps(*tops: tuple[tuple[int, int, int], float]) -> np.ndarray:
    """(12, 14, 60) map of bumps at (i, j, k) that fall off by 0.1 per voxel along i, with NaN at its end."""
    values = np.zeros((12, 14, 60), np.float32)
    i = np.arange(60)
    for (top_i, j, k), height in tops:
        values[k, j] = np.maximum(values[k, j], height - 0.1 * np.abs(i - top_i))
    values[:, :, -3:] = np.nan
    return values


def finder(scene, values, threshold=THRESHOLD, minimum_mm3=0.0, uncertainty=None, findings=None, maximum=200):
    heatmap = volume_node(scene, values, MATRIX)
    claim(heatmap, RUN_ID, HEATMAP_ROLE)
    if findings is None:
        server = extract_findings(values, MATRIX, threshold, minimum_mm3 or 0.0, "lesion", "run")
        findings = [json.loads(each.model_dump_json()) for each in server]
    text = json.dumps(report(values, findings, threshold, minimum_volume_mm3=minimum_mm3))
    made = parse_report(text)
    return RegionFinder(heatmap, made, uncertainty, maximum=maximum), made


def test_everything_a_finding_says_is_what_the_server_would_say(scene):
    generator = np.random.default_rng(2)
    values = ndimage.gaussian_filter(generator.normal(size=(14, 22, 31)), 1.2).astype(np.float32)
    values[:, :4] = np.nan
    uncertainty = generator.random(values.shape, dtype=np.float32)
    made, _report = finder(
        scene, values, 0.3, minimum_mm3=12.0, uncertainty=volume_node(scene, uncertainty, MATRIX), findings=[]
    )
    found = made.at(0.15)
    expected = extract_findings(values, MATRIX, 0.15, 12.0, "suspected anomaly", "run", uncertainty)
    assert len(expected) > 5
    assert found.left_out == 0
    assert [each.score for each in found.findings] == [each.score for each in expected]
    for ours, theirs in zip(found.findings, expected, strict=True):
        assert ours.label == theirs.label
        assert (ours.peak_index, ours.index_min, ours.index_max) == (
            theirs.peak_index,
            theirs.index_min,
            theirs.index_max,
        )
        assert ours.mean_score == pytest.approx(theirs.mean_score, rel=1e-9)
        assert ours.uncertainty == pytest.approx(theirs.uncertainty, rel=1e-4)
        assert ours.volume_mm3 == pytest.approx(theirs.volume_mm3, rel=1e-6)
        np.testing.assert_allclose(ours.center_ras, theirs.center_ras, atol=1e-5)
        np.testing.assert_allclose(ours.size_mm, theirs.size_mm, rtol=1e-6)
        np.testing.assert_allclose(ours.axes_ras, theirs.axes_ras, atol=1e-6)


def test_the_servers_own_findings_come_back_at_its_threshold(scene):
    values = bumps(((10, 5, 3), 0.9), ((30, 5, 3), 0.8))
    odd = finding(MATRIX, (7, 5, 3), (13, 5, 3), score=0.123)
    made, told = finder(scene, values, findings=[odd])
    found = made.at(THRESHOLD)
    assert found.findings is told.findings
    assert [each.score for each in made.at(0.500001).findings] == pytest.approx([0.9, 0.8])


def test_ids_stay_while_the_threshold_moves(scene):
    values = bumps(((10, 5, 3), 0.9), ((17, 5, 3), 0.8), ((40, 8, 9), 0.45))
    made, told = finder(scene, values)
    first, second = (each.id for each in told.findings)
    assert [each.id for each in made.at(0.75).findings] == [first, second]
    assert [each.id for each in made.at(0.85).findings] == [first]
    merged = made.at(0.4).findings
    assert merged[0].id == first
    assert second not in {each.id for each in merged}
    assert merged[0].index_min == (6, 5, 3)
    assert merged[0].index_max == (20, 5, 3)
    new = merged[1]
    assert new.peak_index == (40, 8, 9)
    assert new.id == made.at(0.3).findings[1].id
    assert len({first, second, new.id}) == 3


def test_a_region_split_off_gets_an_id_of_its_own_that_stays(scene):
    values = bumps(((10, 5, 3), 0.9), ((17, 5, 3), 0.8))
    made, told = finder(scene, values, threshold=0.4)
    (whole,) = told.findings
    ids = {threshold: [each.id for each in made.at(threshold).findings] for threshold in (0.6, 0.7)}
    assert ids[0.6] == ids[0.7]
    assert ids[0.6][0] == whole.id
    assert ids[0.6][1] != whole.id


def test_ids_of_new_regions_differ_between_runs(scene):
    values = bumps(((10, 5, 3), 0.45))
    made, told = finder(scene, values)
    other = volume_node(scene, values, MATRIX)
    claim(other, "another run", HEATMAP_ROLE)
    (first,), (second,) = (each.at(0.3).findings for each in (made, RegionFinder(other, told)))
    assert first.id != second.id
    assert dataclasses.replace(first, id="") == dataclasses.replace(second, id="")


def test_small_regions_are_left_out_as_on_the_server(scene):
    voxel_mm3 = 0.7 * 1.1 * 2.5
    values = bumps(((10, 5, 3), 0.9), ((40, 8, 9), 0.65))
    made, _told = finder(scene, values, threshold=0.6, minimum_mm3=3 * voxel_mm3)
    assert [each.peak_index[0] for each in made.at(0.5).findings] == [10, 40]
    assert [each.peak_index[0] for each in made.at(0.56).findings] == [10]


def test_without_a_stated_minimum_the_smallest_of_the_servers_findings_is_it(scene):
    values = bumps(((10, 5, 3), 0.9), ((40, 8, 9), 0.65))
    made, told = finder(scene, values, threshold=0.6, findings=[finding(MATRIX, (7, 5, 3), (12, 5, 3))])
    old = dataclasses.replace(told, minimum_volume_mm3=None)
    heatmap = volume_node(scene, values, MATRIX)
    assert [each.peak_index[0] for each in RegionFinder(heatmap, old).at(0.5).findings] == [10]
    assert len(made.at(0.5).findings) == 2


def test_no_more_than_the_maximum_are_listed_and_the_rest_is_counted(scene):
    tops = [((5 + 10 * place, 2 * place + 1, 1), 0.9 - 0.05 * place) for place in range(5)]
    made, _told = finder(scene, bumps(*tops), maximum=3)
    found = made.at(0.45)
    assert [each.score for each in found.findings] == pytest.approx([0.9, 0.85, 0.8])
    assert found.left_out == 2


def test_nothing_above_is_no_finding(scene):
    made, _told = finder(scene, bumps(((10, 5, 3), 0.9)))
    assert made.at(0.95).findings == ()

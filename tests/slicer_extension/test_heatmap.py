"""The heatmap node: geometry, values, display and threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import ReplyError, SceneError
from AnomaLabelLib.scene.geometry import ijk_to_ras, same_grid
from AnomaLabelLib.scene.heatmap import load_heatmap, set_threshold, set_up_display, shown_threshold
from AnomaLabelLib.scene.unseen import add_unseen_mask, unseen_fraction
from AnomaLabelLib.server.report import parse_report
from example_results import affine, nrrd_bytes, report, volume_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

OBLIQUE = affine((15, -25, 70), (0.7, 0.9, 4.0), (-31, 12, 88), (1, -1, 1))


def example_map() -> np.ndarray:
    values = np.random.default_rng(3).uniform(-1, 1, (5, 6, 7)).astype(np.float32)
    values[0] = np.nan
    return values


def facts(values: np.ndarray, **changes):
    return parse_report(json.dumps(report(values, [], **changes)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*[st.floats(0.2, 6)] * 3),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.tuples(*[st.sampled_from((-1, 1))] * 3),
)
def test_geometry_is_that_of_the_source(scene, rotation, spacing, origin, flips):
    matrix = affine(rotation, spacing, origin, flips)
    values = example_map()
    source = volume_node(scene, np.zeros(values.shape, np.int16), matrix)
    heatmap = load_heatmap(scene, nrrd_bytes(values, matrix), facts(values), "map")
    np.testing.assert_allclose(ijk_to_ras(heatmap), matrix, atol=1e-4)
    assert same_grid(heatmap, source)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(heatmap), values)
    scene.RemoveNode(source)
    scene.RemoveNode(heatmap)


def test_a_shifted_grid_is_another_grid(scene):
    values = example_map()
    source = volume_node(scene, values, OBLIQUE)
    shifted = OBLIQUE.copy()
    shifted[0, 3] += 0.01
    assert not same_grid(source, volume_node(scene, values, shifted))
    assert not same_grid(source, volume_node(scene, values[:-1], OBLIQUE))


def test_compact_bytes_become_values_and_unseen_stays_unseen(scene):
    stored = np.array([[[0, 1, 255], [128, 64, 2]]], dtype=np.uint8)
    changes = report(np.array([[[-1.0, 1, 0], [0, 0, 0]]], np.float32), [])
    changes["heatmap"].update(slope=0.01, intercept=-1.0)
    heatmap = load_heatmap(scene, nrrd_bytes(stored, OBLIQUE), parse_report(json.dumps(changes)), "map")
    values = slicer.util.arrayFromVolume(heatmap)
    assert values.dtype == np.float32
    expected = [[[np.nan, -0.99, 1.55], [0.28, -0.36, -0.98]]]
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_numbers_that_the_findings_do_not_explain_are_refused(scene, kind):
    before = scene.GetNumberOfNodes()
    with pytest.raises(ReplyError, match="numbers"):
        load_heatmap(scene, nrrd_bytes(np.ones((5, 6, 7), kind), OBLIQUE), facts(example_map()), "map")
    assert scene.GetNumberOfNodes() == before


def test_another_size_than_stated_is_refused(scene):
    with pytest.raises(ReplyError, match="voxels"):
        load_heatmap(scene, nrrd_bytes(example_map()[1:], OBLIQUE), facts(example_map()), "map")


@pytest.mark.parametrize("content", [b"", b"NRRD0004\n", b"<html>error</html>"])
def test_a_damaged_file_is_refused_and_leaves_the_scene_alone(scene, content):
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match="cannot be read"):
        load_heatmap(scene, content, facts(example_map()), "map")
    assert scene.GetNumberOfNodes() == before


def test_colours_run_from_the_threshold_to_the_maximum(scene):
    values = example_map()
    values[2, 2, 2] = 0.95
    said = facts(values, threshold=0.25)
    heatmap = load_heatmap(scene, nrrd_bytes(values, OBLIQUE), said, "map")
    set_up_display(heatmap, said)
    display = heatmap.GetScalarVolumeDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == pytest.approx(0.25)
    assert display.GetWindowLevelMax() == pytest.approx(said.heatmap.maximum)
    assert display.GetApplyThreshold()
    assert display.GetUpperThreshold() > 1e29

    set_threshold(heatmap, 0.6)

    assert shown_threshold(heatmap) == pytest.approx(0.6)
    assert display.GetWindowLevelMin() == pytest.approx(0.25), "a colour keeps its meaning"
    assert display.GetUpperThreshold() > 1e29


def test_a_map_that_stays_below_its_threshold_has_a_display_too(scene):
    values = np.full((2, 2, 2), 0.1, np.float32)
    said = facts(values, threshold=0.9)
    heatmap = load_heatmap(scene, nrrd_bytes(values, OBLIQUE), said, "map")
    set_up_display(heatmap, said)
    display = heatmap.GetScalarVolumeDisplayNode()
    assert display.GetWindowLevelMin() < display.GetWindowLevelMax()


def test_the_unseen_mask_marks_what_is_nan(scene):
    values = example_map()
    heatmap = load_heatmap(scene, nrrd_bytes(values, OBLIQUE), facts(values), "map")
    mask, colors = add_unseen_mask(scene, heatmap, "unseen")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(mask) == 1, np.isnan(values))
    assert same_grid(mask, heatmap)
    assert unseen_fraction(mask) == pytest.approx(1 / 5)
    assert mask.GetDisplayNode().GetColorNodeID() == colors.GetID()

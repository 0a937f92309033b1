"""A dragged box: the voxels it covers are exactly those that its finding was drawn from, and its scores theirs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import SceneError
from AnomaLabelLib.review.row import finding_of
from AnomaLabelLib.scene.box_edit import begin_edit, end_edit, follow_box, row_of_box, voxels_of_box
from AnomaLabelLib.scene.boxes import add_box
from AnomaLabelLib.scene.ownership import FINDING_ATTRIBUTE, HEATMAP_ROLE, claim
from AnomaLabelLib.server.report import parse_report
from example_results import affine, finding, report, volume_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHAPE = (9, 11, 13)
SIZE = SHAPE[::-1]
MATRIX = affine((20, -35, 50), (0.8, 1.1, 3.0), (5, -60, 12), (-1, 1, 1))
PLAIN = np.eye(4)
angles = st.floats(-180, 180)
spacings = st.floats(0.2, 6)
signs = st.sampled_from((-1, 1))


def heatmap_of(scene, values=None, matrix=MATRIX):
    node = volume_node(scene, np.zeros(SHAPE, np.float32) if values is None else values, matrix)
    claim(node, "run", HEATMAP_ROLE)
    return node


def box_of(scene, heatmap, low, high, matrix=MATRIX):
    entry = finding(matrix, low, high, label="lesion")
    made = parse_report(json.dumps(report(np.zeros(SHAPE, np.float32), [entry]))).findings[0]
    return add_box(scene, made, heatmap, "box"), made


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_voxels_of_a_box_are_those_it_was_drawn_from(scene, data):
    matrix = affine(
        data.draw(st.tuples(angles, angles, angles)),
        data.draw(st.tuples(spacings, spacings, spacings)),
        data.draw(st.tuples(*[st.floats(-300, 300)] * 3)),
        data.draw(st.tuples(signs, signs, signs)),
    )
    ends = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in SIZE]
    low, high = (tuple(int(value) for value in each) for each in np.array(ends).T)
    heatmap = heatmap_of(scene, matrix=matrix)
    roi, made = box_of(scene, heatmap, low, high, matrix)
    row = row_of_box(roi, heatmap, made)
    assert (tuple(row["index_min"]), tuple(row["index_max"])) == (low, high)
    np.testing.assert_allclose(row["center_ras"], made.center_ras, atol=1e-4)
    np.testing.assert_allclose(row["size_mm"], made.size_mm, rtol=1e-6)
    np.testing.assert_allclose(row["axes_ras"], made.axes_ras, atol=1e-6)
    assert row["volume_mm3"] == pytest.approx(made.volume_mm3, rel=1e-6)
    for node in (roi.GetDisplayNode(), roi, heatmap.GetDisplayNode(), heatmap):
        scene.RemoveNode(node)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_dragged_box_takes_the_nearest_borders(scene, data):
    heatmap = heatmap_of(scene, matrix=PLAIN)
    roi, _made = box_of(scene, heatmap, (2, 2, 2), (4, 4, 4), PLAIN)
    borders = [sorted(data.draw(st.tuples(st.floats(-3, n + 2), st.floats(-3, n + 2)))) for n in SIZE]
    low, high = np.array(borders).T
    roi.SetSize(*np.maximum(high - low, 1e-3).tolist())
    roi.SetCenter(*((low + high) / 2).tolist())
    center, size = np.array(roi.GetCenter()), np.array(roi.GetSize())
    low, high = center - size / 2, center + size / 2
    if (high <= -0.5).any() or (low >= np.array(SIZE) - 0.5).any():
        with pytest.raises(SceneError, match="outside the image"):
            voxels_of_box(roi, heatmap)
    else:
        box = voxels_of_box(roi, heatmap)
        for axis in range(3):
            first, last = box.index_min[axis], box.index_max[axis]
            assert 0 <= first <= last < SIZE[axis]
            middles = [place for place in range(SIZE[axis]) if low[axis] <= place <= high[axis]]
            # A voxel counts from half of it on, which is when the box reaches its middle.
            if middles and high[axis] - low[axis] > 1:
                near = 1e-6
                assert abs(first - middles[0]) <= (abs(low[axis] - middles[0]) < near)
                assert abs(last - middles[-1]) <= (abs(high[axis] - middles[-1]) < near)
    for node in (roi.GetDisplayNode(), roi, heatmap.GetDisplayNode(), heatmap):
        scene.RemoveNode(node)


def test_scores_peak_and_volume_come_from_the_heatmap_inside(scene):
    values = np.zeros(SHAPE, np.float32)
    values[3, 4, 5], values[3, 4, 6], values[0, 0, 0] = 0.5, 0.75, 9
    values[2] = np.nan
    heatmap = heatmap_of(scene, values)
    uncertainty = volume_node(scene, np.full(SHAPE, 0.25, np.float32), MATRIX, "uncertainty")
    roi, made = box_of(scene, heatmap, (5, 4, 2), (6, 5, 3))
    row = row_of_box(roi, heatmap, made, uncertainty)
    assert row["score"] == 0.75
    assert row["mean_score"] == pytest.approx(1.25 / 4)
    assert row["uncertainty"] == pytest.approx(0.25)
    assert row["peak_index"] == [6, 4, 3]
    assert row["volume_mm3"] == pytest.approx(8 * 0.8 * 1.1 * 3.0)
    assert (row["id"], row["label"]) == (made.id, "lesion")
    assert "method" not in row
    json.dumps(row, allow_nan=False)
    assert finding_of(row).peak_index == (6, 4, 3)


def test_where_nothing_was_seen_the_scores_are_null_and_the_peak_is_the_middle(scene):
    heatmap = heatmap_of(scene, np.full(SHAPE, np.nan, np.float32))
    roi, made = box_of(scene, heatmap, (5, 4, 2), (7, 6, 4))
    row = row_of_box(roi, heatmap, made)
    assert (row["score"], row["mean_score"], row["uncertainty"]) == (None, None, None)
    assert row["peak_index"] == [6, 5, 3]


def test_the_brightness_of_an_image_is_no_score(scene):
    image = volume_node(scene, np.full(SHAPE, 700, np.int16), MATRIX)
    roi, made = box_of(scene, image, (5, 4, 2), (7, 6, 4))
    row = row_of_box(roi, image, made)
    assert row["score"] is None
    assert row["index_max"] == [7, 6, 4]


def test_a_box_of_the_readers_own_keeps_the_id_it_is_given_once(scene):
    heatmap = heatmap_of(scene)
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "drawn by hand")
    roi.SetSize(4, 4, 4)
    roi.SetCenter(*(MATRIX @ [6, 5, 4, 1])[:3])
    row = row_of_box(roi, heatmap)
    assert row["id"] == roi.GetAttribute(FINDING_ATTRIBUTE) == row_of_box(roi, heatmap)["id"]
    low, high = np.array(row["index_min"]), np.array(row["index_max"])
    assert (low <= (6, 5, 4)).all()
    assert (high >= (6, 5, 4)).all()
    finding_of(row)


def test_a_box_outside_the_image_is_refused_with_a_remedy(scene):
    heatmap = heatmap_of(scene)
    roi, made = box_of(scene, heatmap, (5, 4, 2), (7, 6, 4))
    roi.SetCenter(900, 900, 900)
    with pytest.raises(SceneError, match=r"outside the image .* Drag it over the image"):
        row_of_box(roi, heatmap, made)


def test_a_volume_without_an_image_is_refused(scene):
    roi, made = box_of(scene, heatmap_of(scene), (5, 4, 2), (7, 6, 4))
    with pytest.raises(SceneError, match="holds no image"):
        row_of_box(roi, scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"), made)


def test_a_box_under_another_transform_than_the_image_is_compared_in_the_world(scene):
    heatmap = heatmap_of(scene)
    roi, made = box_of(scene, heatmap, (5, 4, 2), (7, 6, 4))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "one voxel along i")
    shift = np.eye(4)
    shift[:3, 3] = MATRIX[:3, 0]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    roi.SetAndObserveTransformNodeID(transform.GetID())
    assert row_of_box(roi, heatmap, made)["index_min"] == [6, 4, 2]
    heatmap.SetAndObserveTransformNodeID(transform.GetID())
    assert row_of_box(roi, heatmap, made)["index_min"] == [5, 4, 2]


def test_handles_move_and_scale_but_do_not_turn(scene):
    heatmap = heatmap_of(scene)
    roi, _made = box_of(scene, heatmap, (5, 4, 2), (7, 6, 4))
    begin_edit(roi)
    display = roi.GetDisplayNode()
    assert not roi.GetLocked()
    assert display.GetHandlesInteractive()
    assert display.GetInteractionHandleScale() > 0
    assert display.GetTranslationHandleVisibility()
    assert display.GetScaleHandleVisibility()
    assert not display.GetRotationHandleVisibility()
    end_edit(roi)
    assert roi.GetLocked()
    assert not display.GetHandlesInteractive()


def test_a_drag_is_told_once_per_change_of_voxels_until_stopped(scene):
    heatmap = heatmap_of(scene, matrix=PLAIN)
    roi, _made = box_of(scene, heatmap, (2, 2, 2), (4, 4, 4), PLAIN)
    heard = []
    stop = follow_box(roi, heatmap, heard.append)
    for shift in np.linspace(0, 1, 24):
        roi.SetCenter(3 + shift, 3, 3)
    assert [(each.index_min, each.index_max) for each in heard] == [((3, 2, 2), (5, 4, 4))]
    roi.SetCenter(300, 3, 3)
    assert heard[1:] == [None]
    stop()
    stop()
    roi.SetCenter(3, 3, 3)
    assert len(heard) == 2

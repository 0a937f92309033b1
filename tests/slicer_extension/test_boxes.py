"""Boxes of findings: their corners against plain matrix arithmetic."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import slicer
from AnomaLabelLib.errors import ReplyError
from AnomaLabelLib.scene.boxes import add_box, rotation_of
from AnomaLabelLib.server.report import parse_report
from example_results import affine, finding, report, volume_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHAPE = (9, 11, 13)
angles = st.floats(-180, 180)
spacings = st.floats(0.2, 6)
signs = st.sampled_from((-1, 1))


def parsed(entry: dict, shape=SHAPE):
    return parse_report(json.dumps(report(np.zeros(shape, np.float32), [entry]))).findings[0]


def corners_of(roi) -> np.ndarray:
    """(8, 3) world corners as the node itself places them."""
    to_node = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())
    half = np.array(roi.GetSize()) / 2
    return np.array([(to_node @ np.append(half * sign, 1))[:3] for sign in product((-1, 1), repeat=3)])


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return np.array(sorted(points.round(3).tolist()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_corners_are_the_voxel_borders_mapped_by_the_affine(scene, data):
    matrix = affine(
        data.draw(st.tuples(angles, angles, angles)),
        data.draw(st.tuples(spacings, spacings, spacings)),
        data.draw(st.tuples(*[st.floats(-300, 300)] * 3)),
        data.draw(st.tuples(signs, signs, signs)),
    )
    size = SHAPE[::-1]
    ends = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in size]
    low, high = np.array(ends).T
    heatmap = volume_node(scene, np.zeros(SHAPE, np.float32), matrix)

    roi = add_box(scene, parsed(finding(matrix, low, high)), heatmap, "box")

    borders = product(*[(first - 0.5, last + 0.5) for first, last in zip(low, high, strict=True)])
    expected = np.array([(matrix @ np.append(border, 1))[:3] for border in borders])
    found = corners_of(roi)
    nearest = np.linalg.norm(expected[:, None] - found[None], axis=2)
    assert nearest.min(axis=1).max() < 1e-4
    assert nearest.min(axis=0).max() < 1e-4
    rotation = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())[:3, :3]
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-6)
    scene.RemoveNode(roi)
    scene.RemoveNode(heatmap)


def test_corners_survive_saving_and_loading(scene, tmp_path):
    matrix = affine((20, -35, 50), (0.8, 1.1, 3.0), (5, -60, 12), (-1, 1, 1))
    heatmap = volume_node(scene, np.zeros(SHAPE, np.float32), matrix)
    roi = add_box(scene, parsed(finding(matrix, (2, 3, 1), (6, 9, 4))), heatmap, "box")
    storage = slicer.vtkMRMLMarkupsROIJsonStorageNode()
    storage.SetFileName(str(tmp_path / "box.mrk.json"))
    assert storage.WriteData(roi)
    again = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    assert storage.ReadData(again)
    np.testing.assert_allclose(sorted_rows(corners_of(again)), sorted_rows(corners_of(roi)), atol=2e-3)


def test_a_box_cannot_be_dragged_by_accident(scene):
    matrix = affine((0, 0, 0), (1, 1, 1), (0, 0, 0))
    heatmap = volume_node(scene, np.zeros(SHAPE, np.float32), matrix)
    roi = add_box(scene, parsed(finding(matrix, (2, 3, 1), (6, 9, 4))), heatmap, "box")
    assert roi.GetLocked()
    assert not roi.GetDisplayNode().GetHandlesInteractive()


def test_a_box_away_from_its_voxels_is_refused_and_leaves_no_node(scene):
    matrix = affine((0, 0, 0), (1, 1, 1), (0, 0, 0))
    heatmap = volume_node(scene, np.zeros(SHAPE, np.float32), matrix)
    entry = finding(matrix, (2, 3, 1), (6, 9, 4))
    entry["center_ras"][0] += 5
    before = scene.GetNumberOfNodes()
    with pytest.raises(ReplyError, match="another place"):
        add_box(scene, parsed(entry), heatmap, "box")
    assert scene.GetNumberOfNodes() == before


def test_left_handed_axes_become_a_rotation():
    np.testing.assert_allclose(rotation_of(((-1, 0, 0), (0, 1, 0), (0, 0, 1))), np.diag([-1.0, 1.0, -1.0]))

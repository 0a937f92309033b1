"""Jumping: every slice view shows the voxel, whatever the volume's grid and however the views are turned."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene.nodes import nodes_of_class
from AnomaLabelLib.scene.slice_views import jump_to
from example_results import affine, volume_node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHAPE = (20, 60, 50)
angles = st.floats(-180, 180)


def add_view(scene, name: str, axes: np.ndarray):
    view = slicer.vtkMRMLSliceNode()
    view.SetName(name)
    view.SetLayoutName(name)
    scene.AddNode(view)
    view.SetDimensions(256, 200, 1)
    view.SetFieldOfView(128, 100, 1)
    placement = np.eye(4)
    placement[:3, :3] = axes
    view.GetSliceToRAS().DeepCopy(placement.ravel().tolist())
    view.UpdateMatrices()
    return view


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_view_lands_on_the_voxel(scene, data):
    matrix = affine(
        data.draw(st.tuples(angles, angles, angles)),
        data.draw(st.tuples(*[st.floats(0.3, 6)] * 3)),
        data.draw(st.tuples(*[st.floats(-200, 200)] * 3)),
        data.draw(st.tuples(*[st.sampled_from((-1, 1))] * 3)),
    )
    index = np.array([data.draw(st.integers(0, size - 1)) for size in SHAPE[::-1]])
    volume = volume_node(scene, np.zeros(SHAPE, np.float32), matrix)
    views = [add_view(scene, f"along the grid {axis}", np.eye(3)) for axis in range(3)]
    for axis, view in enumerate(views):
        view.RotateToVolumePlane(volume)
        view.SetSliceOffset(view.GetSliceOffset() + 11.3 * axis)
    turned = data.draw(st.tuples(angles, angles, angles))
    views.append(add_view(scene, "turned by hand", affine(turned, (1, 1, 1), (0, 0, 0))[:3, :3]))
    point = (matrix @ np.append(index, 1.0))[:3]

    jump_to(scene, point)

    for view in views:
        plane = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        distance_mm = plane[:3, 2] @ (point - plane[:3, 3])
        # A voxel off along the view's direction would be this far away, and a thousandth of it is allowed.
        voxel_mm = np.abs(np.linalg.inv(matrix)[:3, :3] @ plane[:3, 2]).max() ** -1
        assert abs(distance_mm) < 1e-3 * voxel_mm
        to_pixels = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.GetXYToRAS()))
        x, y = (to_pixels @ np.append(point, 1.0))[:2]
        width, height = view.GetDimensions()[:2]
        assert -1 <= x <= width
        assert -1 <= y <= height
    (crosshair,) = nodes_of_class(scene, "vtkMRMLCrosshairNode")
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), point)
    for node in (*views, volume.GetDisplayNode(), volume):
        scene.RemoveNode(node)


def test_a_view_that_already_shows_the_point_does_not_move_sideways(scene):
    view = add_view(scene, "axial", np.eye(3))
    jump_to(scene, np.array([20.0, -30.0, 55.0]))
    plane = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    np.testing.assert_allclose(plane[:3, 3], (0, 0, 55), atol=1e-6)
    jump_to(scene, np.array([20.0, -300.0, 55.0]))
    plane = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
    np.testing.assert_allclose(plane[:3, 3], (20, -300, 55), atol=1e-6)


def test_a_jump_is_quick_among_many_nodes(scene):
    for number in range(300):
        scene.AddNewNodeByClass("vtkMRMLTextNode", str(number))
    for number in range(6):
        add_view(scene, str(number), np.eye(3))
    times = []
    for turn in range(5):
        start = time.process_time()
        jump_to(scene, np.array([1.0, 2.0, 3.0 + turn]))
        times.append(time.process_time() - start)
    assert min(times) < 0.02


@pytest.mark.parametrize("name", ["vtkMRMLTextNode", "vtkMRMLDisplayableNode"])
def test_nodes_of_a_class_come_in_scene_order(scene, name):
    made = [scene.AddNewNodeByClass(kind, "x") for kind in ("vtkMRMLTextNode", "vtkMRMLMarkupsROINode") * 3]
    found = [node for node in nodes_of_class(scene, name) if node in made]
    assert found == [node for node in made if node.IsA(name)]
    assert len(found) == 3

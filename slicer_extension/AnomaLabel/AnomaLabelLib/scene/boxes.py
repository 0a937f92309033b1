"""Findings as Markups ROI nodes, exact on oblique and flipped grids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import slicer
import vtk

from ..errors import ReplyError
from ..server.json_fields import Point
from ..server.report import Finding
from ..translation import _
from .box_looks import Look, put_on
from .geometry import ijk_to_ras
from .voxel_box import WorldBox

CENTER_TOLERANCE_MM = 0.1
SAME_PLACE_MM = 1e-6


def add_box(
    scene: slicer.vtkMRMLScene, finding: Finding, heatmap: slicer.vtkMRMLScalarVolumeNode, name: str
) -> slicer.vtkMRMLMarkupsROINode:
    """Add the box of a finding, locked and without handles: reading it must not move it.

    Raises:
        ReplyError: the box is not where its voxel indices are on the heatmap.
    """
    check_place(finding, ijk_to_ras(heatmap))
    roi = new_roi(scene, name)
    place_box(roi, finding)
    roi.SetLocked(True)
    return roi


def new_roi(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLMarkupsROINode:
    """Add a box without place, in the look of an open finding; an existing name gets a number."""
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", scene.GenerateUniqueName(name))
    roi.CreateDefaultDisplayNodes()
    display = roi.GetDisplayNode()
    with modified_once(display):
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetHandlesInteractive(False)
        display.SetInteractionHandleScale(0.0)
        put_on(display, Look())
    return roi


def is_at(roi: slicer.vtkMRMLMarkupsROINode, box: Finding | WorldBox) -> bool:
    """Whether a box is where a finding says."""
    now = (*roi.GetObjectToNodeMatrix().GetData(), *roi.GetSize())
    wanted = (*_placement(box).ravel(), *box.size_mm)
    return bool(np.abs(np.subtract(now, wanted)).max() <= SAME_PLACE_MM)


def place_box(roi: slicer.vtkMRMLMarkupsROINode, box: Finding | WorldBox) -> None:
    """Put a box where a finding says, in the frame of its node."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(_placement(box).ravel().tolist())
    with modified_once(roi):
        roi.SetSize(*box.size_mm)
        roi.SetAndObserveObjectToNodeMatrix(matrix)


def remove_box(scene: slicer.vtkMRMLScene, roi: slicer.vtkMRMLMarkupsROINode) -> None:
    """Take a box out of the scene, what displays it first: the views then have less to look through."""
    for place in reversed(range(roi.GetNumberOfDisplayNodes())):
        scene.RemoveNode(roi.GetNthDisplayNode(place))
    scene.RemoveNode(roi)


@contextmanager
def modified_once(node: slicer.vtkMRMLNode) -> Iterator[None]:
    """Tell the views of several changes at once."""
    before = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(before)


@contextmanager
def views_wait(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Hold the views back while many nodes are added or moved: each would be looked at among all others."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


@lru_cache(maxsize=64)
def rotation_of(axes_ras: tuple[Point, Point, Point]) -> np.ndarray:
    """(3, 3) right-handed rotation whose columns are the axes of a box.

    A box is the same with one axis turned round, so a left-handed grid gets its third axis negated. Axes that are
    not quite orthogonal become the nearest ones that are, which is all that an ROI can hold.
    """
    left, _scales, right = np.linalg.svd(np.array(axes_ras, dtype=float).T)
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    rotation.setflags(write=False)
    return rotation


def check_place(finding: Finding, matrix: np.ndarray) -> None:
    """Refuse a finding whose box in the world is not that of its voxels.

    Args:
        matrix: (4, 4) index to RAS of its grid.

    Raises:
        ReplyError: its centre lies elsewhere.
    """
    middle = (np.array(finding.index_min) + np.array(finding.index_max)) / 2
    expected = matrix[:3, :3] @ middle + matrix[:3, 3]
    if np.abs(expected - finding.center_ras).max() > CENTER_TOLERANCE_MM:
        raise ReplyError(
            _("Finding '{label}' lies in another place than its voxels.").format(label=finding.label[:40]),
            _("Run again; if it stays so, compare the versions of server and extension."),
        )


def _placement(box: Finding | WorldBox) -> np.ndarray:
    """(4, 4) from the box's own axes and centre to the frame of its node."""
    placement = np.eye(4)
    placement[:3, :3] = rotation_of(box.axes_ras)
    placement[:3, 3] = box.center_ras
    return placement

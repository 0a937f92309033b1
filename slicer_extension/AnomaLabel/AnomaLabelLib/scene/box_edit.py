"""A box under the reader's hands: handles to drag it by, and what it says once dragged."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import product

import numpy as np
import slicer
import vtk

from ..errors import SceneError
from ..review.row import Row, finding_row
from ..server.report import Finding
from .box_row import box_finding, box_scores
from .boxes import modified_once
from .geometry import to_world
from .ownership import FINDING_ATTRIBUTE
from .region_findings import LABEL
from .voxel_box import VoxelBox, enclosing_voxels, matrix_of

HANDLE_SCALE = 3.0
"""Slicer's own."""


def begin_edit(roi: slicer.vtkMRMLMarkupsROINode) -> None:
    """Give a box handles to move and resize it; none to turn it, since a finding lies along its image's grid."""
    roi.SetLocked(False)
    display = roi.GetDisplayNode()
    with modified_once(display):
        display.SetVisibility(True)
        display.SetInteractionHandleScale(HANDLE_SCALE)
        display.SetTranslationHandleVisibility(True)
        display.SetScaleHandleVisibility(True)
        display.SetRotationHandleVisibility(False)
        display.SetHandlesInteractive(True)


def end_edit(roi: slicer.vtkMRMLMarkupsROINode) -> None:
    """Take the handles away and lock the box where it is."""
    roi.SetLocked(True)
    display = roi.GetDisplayNode()
    if display is None:
        return
    with modified_once(display):
        display.SetHandlesInteractive(False)
        display.SetInteractionHandleScale(0.0)


def follow_box(
    roi: slicer.vtkMRMLMarkupsROINode,
    volume: slicer.vtkMRMLScalarVolumeNode,
    told: Callable[[VoxelBox | None], None],
) -> Callable[[], None]:
    """Tell of a box while it is dragged, but only when it covers other voxels than before.

    Args:
        told: is given the voxels, None while the box lies outside the image.

    Returns:
        What ends it; calling that again does no harm.
    """
    last: list[VoxelBox | None] = [_voxels_or_none(roi, volume)]

    def look(*_event: object) -> None:
        now = _voxels_or_none(roi, volume)
        if now != last[0]:
            last[0] = now
            told(now)

    tags = [
        roi.AddObserver(event, look)
        for event in (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLTransformableNode.TransformModifiedEvent)
    ]

    def stop() -> None:
        while tags:
            roi.RemoveObserver(tags.pop())

    return stop


def voxels_of_box(roi: slicer.vtkMRMLMarkupsROINode, volume: slicer.vtkMRMLScalarVolumeNode) -> VoxelBox:
    """The voxels of a volume that a box covers by more than half along each axis; at least one.

    Box and volume may stand under different transforms; a box that lies askew to the grid gives the voxels around it.

    Raises:
        SceneError: the volume holds no image, or the box lies wholly outside it.
    """
    matrix = matrix_of(volume)
    to_node = slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix())
    half = np.array(roi.GetSize()) / 2
    corners = np.array(list(product((-1, 1), repeat=3))) * half @ to_node[:3, :3].T + to_node[:3, 3]
    if roi.GetParentTransformNode() is not volume.GetParentTransformNode():
        corners = np.array([_from_world(volume, to_world(roi, corner)) for corner in corners])
    from_ras = np.linalg.inv(matrix)
    return enclosing_voxels(corners @ from_ras[:3, :3].T + from_ras[:3, 3], volume, roi.GetName())


def row_of_box(
    roi: slicer.vtkMRMLMarkupsROINode,
    volume: slicer.vtkMRMLScalarVolumeNode,
    before: Finding | None = None,
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> Row:
    """What a box says, as a row of a review event.

    Args:
        roi: a finding's box, or any ROI that the reader drew. One that has no finding's id gets one.
        volume: the heatmap that the row's scores come from; of another volume only the grid is taken.
        before: the finding as it was, which gives id and label; None for a new one.
        uncertainty: map on the same grid, or None.

    Returns:
        `score`, `mean_score` and `uncertainty` are None where nothing was seen inside; the peak then is the middle.

    Raises:
        SceneError: the volume holds no image, or the box lies wholly outside it.
    """
    box = voxels_of_box(roi, volume)
    finding_id = before.id if before is not None else roi.GetAttribute(FINDING_ATTRIBUTE) or str(uuid.uuid4())
    roi.SetAttribute(FINDING_ATTRIBUTE, finding_id)
    label = before.label if before is not None else LABEL
    scores = box_scores(volume, box, uncertainty)
    return finding_row(box_finding(volume, box, finding_id, label, scores), method="")


def _voxels_or_none(roi: slicer.vtkMRMLMarkupsROINode, volume: slicer.vtkMRMLScalarVolumeNode) -> VoxelBox | None:
    try:
        return voxels_of_box(roi, volume)
    except SceneError:
        return None


def _from_world(node: slicer.vtkMRMLTransformableNode, point_ras: np.ndarray) -> np.ndarray:
    """(3,) world point in a node's own frame."""
    inside = [0.0, 0.0, 0.0]
    node.TransformPointFromWorld([float(value) for value in point_ras], inside)
    return np.array(inside)

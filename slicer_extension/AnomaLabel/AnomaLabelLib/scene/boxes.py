"""Findings as Markups ROI nodes, exact on oblique and flipped grids."""

from __future__ import annotations

import numpy as np
import slicer

from ..errors import ReplyError
from ..server.report import Finding
from ..translation import _
from .geometry import ijk_to_ras

COLOR = (1.0, 0.85, 0.2)
CENTER_TOLERANCE_MM = 0.1


def add_box(
    scene: slicer.vtkMRMLScene, finding: Finding, heatmap: slicer.vtkMRMLScalarVolumeNode, name: str
) -> slicer.vtkMRMLMarkupsROINode:
    """Add the box of a finding, locked and without handles: reading it must not move it.

    Raises:
        ReplyError: the box is not where its voxel indices are on the heatmap.
    """
    _check_place(finding, heatmap)
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", scene.GenerateUniqueName(name))
    placement = np.eye(4)
    placement[:3, :3] = rotation_of(finding.axes_ras)
    placement[:3, 3] = finding.center_ras
    roi.SetSize(*finding.size_mm)
    roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(placement))
    roi.SetLocked(True)
    _style(roi)
    return roi


def rotation_of(axes_ras: object) -> np.ndarray:
    """(3, 3) right-handed rotation whose columns are the axes of a box.

    A box is the same with one axis turned round, so a left-handed grid gets its third axis negated. Axes that are
    not quite orthogonal become the nearest ones that are, which is all that an ROI can hold.
    """
    left, _scales, right = np.linalg.svd(np.array(axes_ras, dtype=float).T)
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        rotation[:, 2] *= -1
    return rotation


def _check_place(finding: Finding, heatmap: slicer.vtkMRMLScalarVolumeNode) -> None:
    middle = (np.array(finding.index_min) + np.array(finding.index_max)) / 2
    expected = (ijk_to_ras(heatmap) @ np.append(middle, 1.0))[:3]
    if np.abs(expected - finding.center_ras).max() > CENTER_TOLERANCE_MM:
        raise ReplyError(
            _("Finding '{label}' lies in another place than its voxels.").format(label=finding.label[:40]),
            _("Run again; if it stays so, compare the versions of server and extension."),
        )


def _style(roi: slicer.vtkMRMLMarkupsROINode) -> None:
    roi.CreateDefaultDisplayNodes()
    display = roi.GetDisplayNode()
    display.SetColor(*COLOR)
    display.SetSelectedColor(*COLOR)
    display.SetFillVisibility(False)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetGlyphScale(0.0)
    display.SetHandlesInteractive(False)
    display.SetInteractionHandleScale(0.0)

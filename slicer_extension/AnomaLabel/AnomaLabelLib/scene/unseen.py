"""What the model did not look at, tinted, so that a place without colour is never taken for a healthy one."""

from __future__ import annotations

import numpy as np
import slicer

from ..translation import _

UNSEEN_LABEL = 1
TINT = (0.36, 0.45, 0.85)


def add_unseen_mask(
    scene: slicer.vtkMRMLScene, heatmap: slicer.vtkMRMLScalarVolumeNode, name: str
) -> tuple[slicer.vtkMRMLLabelMapVolumeNode, slicer.vtkMRMLColorTableNode]:
    """Add a label map that is 1 where the heatmap is NaN.

    Returns:
        The label map and its colour table.
    """
    unseen = np.isnan(slicer.util.arrayFromVolume(heatmap))
    mask = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", scene.GenerateUniqueName(name))
    slicer.util.updateVolumeFromArray(mask, unseen.astype(np.uint8) * np.uint8(UNSEEN_LABEL))
    mask.CopyOrientation(heatmap)
    mask.CreateDefaultDisplayNodes()
    colors = _add_colors(scene)
    mask.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    return mask, colors


def unseen_fraction(mask: slicer.vtkMRMLLabelMapVolumeNode) -> float:
    """The part of all voxels that was not looked at, in [0, 1]."""
    return float((slicer.util.arrayFromVolume(mask) == UNSEEN_LABEL).mean())


def _add_colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    table = slicer.vtkMRMLColorTableNode()
    table.SetName(scene.GenerateUniqueName(_("Not looked at")))
    table.SetTypeToUser()
    table.SetNumberOfColors(UNSEEN_LABEL + 1)
    table.SetColor(0, "", 0.0, 0.0, 0.0, 0.0)
    table.SetColor(UNSEEN_LABEL, _("Not looked at"), *TINT, 1.0)
    table.SetHideFromEditors(True)
    scene.AddNode(table)
    return table

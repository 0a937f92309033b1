"""What a case brought into the scene, and what of it goes when the next one comes."""

from __future__ import annotations

import slicer

from .runs import delete_run, find_runs
from .segments import case_segmentation, is_sent
from .studies import was_fetched

PASSING_KINDS = (
    "vtkMRMLSliceCompositeNode",
    "vtkMRMLSelectionNode",
    "vtkMRMLSegmentEditorNode",
    "vtkMRMLSliceNode",
    "vtkMRMLSubjectHierarchyNode",
)
"""Nodes that refer to whatever is shown just now."""


def forget_case(scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Take a case's image, results and segments out of the scene; whether the image went too.

    An image that the user loaded, or that other nodes still need (a segmentation drawn on it), stays. So do segments
    that were not sent as they are now: they are hidden until the case is opened again.
    """
    segments = case_segmentation(scene, source)
    if segments is not None and is_sent(segments, source):
        _remove(scene, segments)
    elif segments is not None:
        segments.SetDisplayVisibility(False)
    for run in find_runs(scene):
        if run.source is source:
            delete_run(scene, run.id)
    if not was_fetched(source) or is_needed(scene, source):
        return False
    _remove(scene, source)
    return True


def show_segments(scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLScalarVolumeNode, visible: bool = True) -> None:
    """Show the segments that a case kept from the last time it was open, or keep them out of sight."""
    segments = case_segmentation(scene, source)
    if segments is not None:
        segments.SetDisplayVisibility(visible)


def is_needed(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> bool:
    """Whether a node of the scene refers to this one, other than those that refer to whatever is shown."""
    for place in range(scene.GetNumberOfNodes()):
        other = scene.GetNthNode(place)
        if other is not node and not any(other.IsA(kind) for kind in PASSING_KINDS) and _refers(other, node.GetID()):
            return True
    return False


def _remove(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLDisplayableNode) -> None:
    for place in reversed(range(node.GetNumberOfDisplayNodes())):
        scene.RemoveNode(node.GetNthDisplayNode(place))
    scene.RemoveNode(node)


def _refers(node: slicer.vtkMRMLNode, node_id: str) -> bool:
    for place in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(place)
        if any(node.GetNthNodeReferenceID(role, nth) == node_id for nth in range(node.GetNumberOfNodeReferences(role))):
            return True
    return False

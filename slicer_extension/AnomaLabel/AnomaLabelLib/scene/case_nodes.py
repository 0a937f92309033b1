"""What a case brought into the scene, and what of it goes when the next one comes."""

from __future__ import annotations

import slicer

from .runs import delete_run, find_runs
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
    """Take a case's image and results out of the scene; whether the image went too.

    An image that the user loaded, or that other nodes still need (a segmentation drawn on it), stays.
    """
    for run in find_runs(scene):
        if run.source is source:
            delete_run(scene, run.id)
    if not was_fetched(source) or is_needed(scene, source):
        return False
    for place in reversed(range(source.GetNumberOfDisplayNodes())):
        scene.RemoveNode(source.GetNthDisplayNode(place))
    scene.RemoveNode(source)
    return True


def is_needed(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> bool:
    """Whether a node of the scene refers to this one, other than those that refer to whatever is shown."""
    for place in range(scene.GetNumberOfNodes()):
        other = scene.GetNthNode(place)
        if other is not node and not any(other.IsA(kind) for kind in PASSING_KINDS) and _refers(other, node.GetID()):
            return True
    return False


def _refers(node: slicer.vtkMRMLNode, node_id: str) -> bool:
    for place in range(node.GetNumberOfNodeReferenceRoles()):
        role = node.GetNthNodeReferenceRole(place)
        if any(node.GetNthNodeReferenceID(role, nth) == node_id for nth in range(node.GetNumberOfNodeReferences(role))):
            return True
    return False

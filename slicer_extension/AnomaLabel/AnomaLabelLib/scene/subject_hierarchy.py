"""A run as a folder of the Data module's tree."""

from __future__ import annotations

import slicer
import vtk

from .ownership import RUN_ATTRIBUTE


def add_folder(scene: slicer.vtkMRMLScene, name: str, run_id: str, nodes: list[slicer.vtkMRMLNode]) -> None:
    """Gather a run's nodes under one folder."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = tree.CreateFolderItem(tree.GetSceneItemID(), name)
    tree.SetItemAttribute(folder, RUN_ATTRIBUTE, run_id)
    tree.SetItemExpanded(folder, False)
    _gather(tree, folder, nodes)


def add_to_folder(scene: slicer.vtkMRMLScene, run_id: str, nodes: list[slicer.vtkMRMLNode]) -> None:
    """Gather further nodes under a run's folder; where the user removed the folder, they stay where they are."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = _folder(tree, run_id)
    if folder is not None:
        _gather(tree, folder, nodes)


def _gather(tree: slicer.vtkMRMLSubjectHierarchyNode, folder: int, nodes: list[slicer.vtkMRMLNode]) -> None:
    for node in nodes:
        item = tree.GetItemByDataNode(node)
        if item == tree.GetInvalidItemID():
            tree.CreateItem(folder, node)
        else:
            tree.SetItemParent(item, folder)


def remove_folder(scene: slicer.vtkMRMLScene, run_id: str) -> None:
    """Remove a run's folder; what a user moved into it goes up to the scene."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = _folder(tree, run_id)
    if folder is None:
        return
    children = vtk.vtkIdList()
    tree.GetItemChildren(folder, children, False)
    for place in range(children.GetNumberOfIds()):
        item = children.GetId(place)
        node = tree.GetItemDataNode(item)
        if node is not None and node.GetAttribute(RUN_ATTRIBUTE) == run_id:
            tree.RemoveItem(item, False, False)
        else:
            tree.SetItemParent(item, tree.GetSceneItemID())
    tree.RemoveItem(folder, False, False)


def _folder(tree: slicer.vtkMRMLSubjectHierarchyNode, run_id: str) -> int | None:
    children = vtk.vtkIdList()
    tree.GetItemChildren(tree.GetSceneItemID(), children, True)
    for place in range(children.GetNumberOfIds()):
        item = children.GetId(place)
        if tree.GetItemAttribute(item, RUN_ATTRIBUTE) == run_id:
            return item
    return None

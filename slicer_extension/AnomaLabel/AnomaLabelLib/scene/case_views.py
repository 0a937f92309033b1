"""Which slice views a case may take, so that a volume of the user's own keeps its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import slicer

from .nodes import nodes_of_class

COMPARE_PREFIX = "AnomaLabel"
"""Start of the names of the views that show methods side by side; they are not taken for a case."""


def all_views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """The slice views of the application, in scene order, without our own ones."""
    composites = nodes_of_class(scene, "vtkMRMLSliceCompositeNode")
    return [each for each in composites if not (each.GetLayoutName() or "").startswith(COMPARE_PREFIX)]


def views_for_case(
    scene: slicer.vtkMRMLScene,
    is_ours: Callable[[slicer.vtkMRMLNode], bool],
    put: Mapping[str, str | None] | None = None,
) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """The views whose background is empty or ours, or all where no view on the screen is free in this way.

    Args:
        is_ours: says of a background volume whether a case may take its place.
        put: node id of the volume that we put into a view as background, by the view's own node id: the same volume in
            another view may be there because the user wants it.
    """
    views = all_views(scene)
    free = [view for view in views if _is_free(scene, view, is_ours, put or {})]
    on_screen = _names_on_screen(scene)
    return free if any(not on_screen or view.GetLayoutName() in on_screen for view in free) else views


def _is_free(
    scene: slicer.vtkMRMLScene,
    view: slicer.vtkMRMLSliceCompositeNode,
    is_ours: Callable[[slicer.vtkMRMLNode], bool],
    put: Mapping[str, str | None],
) -> bool:
    volume_id = view.GetBackgroundVolumeID()
    volume = scene.GetNodeByID(volume_id) if volume_id else None
    return volume is None or put.get(view.GetID()) == volume_id or is_ours(volume)


def _names_on_screen(scene: slicer.vtkMRMLScene) -> set[str]:
    """Layout names of the slice views in the current layout; none where no layout manager is at work."""
    return {view.GetLayoutName() for view in nodes_of_class(scene, "vtkMRMLSliceNode") if view.IsMappedInLayout()}

"""What the slice views show: image below, heatmap above, tint where nothing was looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import slicer
import vtk

UNSEEN_OPACITY = 0.25


class SliceOverlay:
    """Puts volumes into the slice views and gives the user's own overlays back afterwards."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._before: dict[str, tuple[str | None, float, str | None, float]] = {}

    def show(
        self,
        source: slicer.vtkMRMLScalarVolumeNode | None,
        heatmap: slicer.vtkMRMLScalarVolumeNode | None,
        opacity: float,
        unseen: slicer.vtkMRMLLabelMapVolumeNode | None,
    ) -> None:
        """Show a heatmap over its image in every slice view.

        Args:
            source: None leaves the background as it is.
            heatmap: the heatmap or a map in its place; None brings back what the user had as foreground.
            opacity: of the heatmap, in [0, 1].
            unseen: None brings back what the user had as label layer.
        """
        for composite in nodes_of_class(self._scene, "vtkMRMLSliceCompositeNode"):
            before = self._before.setdefault(
                composite.GetID(),
                (
                    composite.GetForegroundVolumeID(),
                    composite.GetForegroundOpacity(),
                    composite.GetLabelVolumeID(),
                    composite.GetLabelOpacity(),
                ),
            )
            if source is not None:
                composite.SetBackgroundVolumeID(source.GetID())
            composite.SetForegroundVolumeID(heatmap.GetID() if heatmap else self._living(before[0]))
            composite.SetForegroundOpacity(opacity if heatmap else before[1])
            composite.SetLabelVolumeID(unseen.GetID() if unseen else self._living(before[2]))
            composite.SetLabelOpacity(UNSEEN_OPACITY if unseen else before[3])

    def restore(self) -> None:
        """Give back the foreground and label layers that the user had before the first `show`."""
        self.show(None, None, 0.0, None)
        self._before.clear()

    def _living(self, node_id: str | None) -> str | None:
        return node_id if node_id and self._scene.GetNodeByID(node_id) else None


def set_opacity(scene: slicer.vtkMRMLScene, heatmap: slicer.vtkMRMLScalarVolumeNode, opacity: float) -> None:
    """Opacity of a heatmap, in [0, 1], wherever it is the foreground."""
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        if composite.GetForegroundVolumeID() == heatmap.GetID():
            composite.SetForegroundOpacity(opacity)


def fit_to_background(logics: vtk.vtkCollection | None) -> None:
    """Fit every slice view to its background image."""
    for place in range(logics.GetNumberOfItems() if logics else 0):
        logics.GetItemAsObject(place).FitSliceToAll()


def jump_to(scene: slicer.vtkMRMLScene, point_ras: np.ndarray) -> None:
    """Bring all slice views to a world point; a view moves sideways only if the point is out of its sight."""
    point = [float(value) for value in point_ras]
    for view in nodes_of_class(scene, "vtkMRMLSliceNode"):
        view.JumpSliceByOffsetting(*point)
        if not _in_sight(view, point):
            view.JumpSliceByCentering(*point)
    for crosshair in nodes_of_class(scene, "vtkMRMLCrosshairNode"):
        crosshair.SetCrosshairRAS(point)


def nodes_of_class(scene: slicer.vtkMRMLScene, name: str) -> Iterator[slicer.vtkMRMLNode]:
    """The nodes of one class, in scene order."""
    for place in range(scene.GetNumberOfNodesByClass(name)):
        yield scene.GetNthNodeByClass(place, name)


def _in_sight(view: slicer.vtkMRMLSliceNode, point_ras: list[float]) -> bool:
    to_pixels = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.GetXYToRAS(), to_pixels)
    x, y = to_pixels.MultiplyPoint([*point_ras, 1.0])[:2]
    width, height = view.GetDimensions()[:2]
    return 0 <= x < width and 0 <= y < height

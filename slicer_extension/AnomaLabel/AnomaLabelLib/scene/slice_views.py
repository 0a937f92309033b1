"""What the slice views show: image, heatmap, uncertainty over it, tint where nothing was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import slicer
import vtk

from .case_views import all_views, views_for_case
from .layers import Layer, Layers, can_stack, read_layers, write_layers
from .nodes import nodes_of_class
from .ownership import RUN_ATTRIBUTE

UNSEEN_OPACITY = 0.25
UNCERTAINTY_OPACITY = 0.6
"""The heatmap's edge, where most of the doubt lies, still shows through."""


class SliceOverlay:
    """Puts volumes into the slice views and gives back afterwards what the user had there.

    Which views are linked is never changed.

    Args:
        is_ours: says of a volume that it need not keep its view, as the image of another case; what this overlay put
            there itself counts without asking.
    """

    def __init__(
        self, scene: slicer.vtkMRMLScene, is_ours: Callable[[slicer.vtkMRMLNode], bool] = lambda _volume: False
    ) -> None:
        self._scene = scene
        self._is_ours = is_ours
        self._before: dict[str, Layers] = {}
        self._put: dict[str, Layers] = {}
        self._source_id: str | None = None
        self._stacked: set[str] = set()

    def show(
        self,
        source: slicer.vtkMRMLScalarVolumeNode | None,
        heatmap: slicer.vtkMRMLScalarVolumeNode | None,
        opacity: float,
        unseen: slicer.vtkMRMLLabelMapVolumeNode | None,
        uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None,
        uncertainty_opacity: float = UNCERTAINTY_OPACITY,
    ) -> None:
        """Show a heatmap over its image in the slice views of the case.

        A view whose background is a volume of the user's own is left alone as long as another one is free, see
        `views_for_case`.

        Args:
            source: None leaves the background as it is, and the overlay in the views that show the source before.
            heatmap: the heatmap or a map in its place; None brings back what the user had as foreground.
            opacity: of the heatmap, in [0, 1].
            unseen: None brings back what the user had as label layer.
            uncertainty: over the heatmap; in its place where this Slicer has no further layers.
        """
        if source is not None:
            self._source_id = source.GetID()
        if uncertainty is not None:
            self._stacked.add(uncertainty.GetID())
        views = self._views(source)
        taken = {view.GetID() for view in views}
        for view in all_views(self._scene):
            if view.GetID() not in taken:
                self._release(view, with_background=False)
        for view in views:
            before = self._remember(view)
            stacks = can_stack(view)
            over = heatmap if stacks or uncertainty is None else uncertainty
            strength = opacity if over is heatmap else uncertainty_opacity
            further = before.further
            if stacks and uncertainty is not None:
                further = (*further, Layer(uncertainty.GetID(), uncertainty_opacity))
            write_layers(
                view,
                Layers(
                    source.GetID() if source is not None else view.GetBackgroundVolumeID(),
                    Layer(over.GetID(), strength) if over is not None else before.foreground,
                    Layer(unseen.GetID(), UNSEEN_OPACITY) if unseen is not None else before.label,
                    further,
                ),
            )
            self._put[view.GetID()] = read_layers(view)

    def restore(self) -> None:
        """Give back what the user had before the first `show`, and has put there since.

        A view that was empty keeps the image of the case.
        """
        for view in all_views(self._scene):
            self._release(view, with_background=True)
        self._before.clear()
        self._put.clear()
        self._stacked.clear()
        self._source_id = None

    def _views(self, source: slicer.vtkMRMLScalarVolumeNode | None) -> list[slicer.vtkMRMLSliceCompositeNode]:
        views = all_views(self._scene)
        if source is None and self._source_id is not None:
            return [view for view in views if view.GetBackgroundVolumeID() == self._source_id]
        put = {view_id: layers.background for view_id, layers in self._put.items()}
        return views_for_case(self._scene, self._is_ours, put)

    def _remember(self, view: slicer.vtkMRMLSliceCompositeNode) -> Layers:
        """What the user has in a view: before our first change to it, and changed by hand since then."""
        now, view_id = read_layers(view), view.GetID()
        further = tuple(layer for layer in now.further if layer.volume_id not in self._stacked and self._theirs(layer))
        put, before = self._put.get(view_id), self._before.get(view_id)
        if put is None or before is None:
            none = Layer(None, now.foreground.opacity)
            before = Layers(
                now.background,
                now.foreground if self._theirs(now.foreground) else none,
                now.label if self._theirs(now.label) else Layer(None, now.label.opacity),
            )
        foreground = now.foreground if put and self._changed(now.foreground, put.foreground) else before.foreground
        label = now.label if put and self._changed(now.label, put.label) else before.label
        before = Layers(before.background, self._living(foreground), self._living(label), further)
        self._before[view_id] = before
        return before

    def _release(self, view: slicer.vtkMRMLSliceCompositeNode, with_background: bool) -> None:
        put = self._put.get(view.GetID())
        if put is None:
            return
        before, now = self._remember(view), view.GetBackgroundVolumeID()
        given_back = with_background and now == put.background and self._exists(before.background)
        write_layers(view, replace(before, background=before.background if given_back else now))
        del self._put[view.GetID()]
        del self._before[view.GetID()]

    def _changed(self, now: Layer, put: Layer) -> bool:
        """Whether the user picked another volume for a layer; that one is gone or empty says nothing."""
        return now.volume_id != put.volume_id and self._exists(now.volume_id) and self._theirs(now)

    def _theirs(self, layer: Layer) -> bool:
        volume = self._scene.GetNodeByID(layer.volume_id) if layer.volume_id else None
        return volume is not None and not volume.GetAttribute(RUN_ATTRIBUTE)

    def _living(self, layer: Layer) -> Layer:
        return layer if self._exists(layer.volume_id) else Layer(None, layer.opacity)

    def _exists(self, node_id: str | None) -> bool:
        return bool(node_id) and self._scene.GetNodeByID(node_id) is not None


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


def _in_sight(view: slicer.vtkMRMLSliceNode, point_ras: list[float]) -> bool:
    to_pixels = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.GetXYToRAS(), to_pixels)
    x, y = to_pixels.MultiplyPoint([*point_ras, 1.0])[:2]
    width, height = view.GetDimensions()[:2]
    return 0 <= x < width and 0 <= y < height

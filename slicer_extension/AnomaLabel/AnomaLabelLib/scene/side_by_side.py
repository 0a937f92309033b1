"""Several methods' heatmaps of one image beside each other: a layout of our own, with the user's given back."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import slicer
import vtk

from ..errors import SceneError
from ..translation import _
from .case_views import COMPARE_PREFIX
from .layers import Layer, Layers, write_layers
from .nodes import nodes_of_class
from .runs import Run
from .slice_views import UNSEEN_OPACITY
from .view_legend import hide_legend, show_legend

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
FEWEST, MOST = 2, 3
FIRST_LAYOUT = 62310
"""The layout of n views has this id plus n, far from Slicer's own ones."""

VIEW_GROUP = 623
"""Views of one group move together; the user's own ones stay where they are."""


def view_name(place: int) -> str:
    """Layout name of our view at a place, counted from 0, as the layout manager knows its widget."""
    return f"{COMPARE_PREFIX}{place + 1}"


def layout_description(count: int, orientation: str, labels: Sequence[str]) -> str:
    """The XML by which Slicer's layout manager makes a row of slice views.

    Args:
        labels: what stands in each view's controller bar.
    """
    views = "".join(
        f'<item><view class="vtkMRMLSliceNode" singletontag="{view_name(place)}">'
        f'<property name="orientation" action="default">{orientation}</property>'
        f'<property name="viewlabel" action="default">{escape(labels[place])}</property>'
        f'<property name="viewgroup" action="default">{VIEW_GROUP}</property>'
        "</view></item>"
        for place in range(count)
    )
    return f'<layout type="horizontal" split="true">{views}</layout>'


class SideBySide:
    """Shows runs beside each other and gives the user's layout back."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._layout_before: int | None = None
        self._shown: tuple[Run, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether runs are shown beside each other."""
        return self._layout_before is not None

    def show(self, runs: Sequence[Run], orientation: str, opacity: float, unseen: bool = True) -> dict[str, str]:
        """Show each run's heatmap over the image in a view of its own; all views move together.

        Args:
            runs: of one image, two or three.
            orientation: of all views, one of `ORIENTATIONS`.
            opacity: of the heatmaps, in [0, 1].
            unseen: whether what a method did not look at is tinted.

        Returns:
            The text that belongs to each view, by the view's layout name.

        Raises:
            SceneError: too few or too many runs, or of different images; or no layout can be set.
        """
        layout = self._checked_layout(runs, orientation)
        texts = [_caption(run) for run in runs]
        self._clear_views()
        code = FIRST_LAYOUT + len(runs)
        description = layout_description(len(runs), orientation, texts)
        if layout.IsLayoutDescription(code):
            layout.SetLayoutDescription(code, description)
        else:
            layout.AddLayoutDescription(code, description)
        if self._layout_before is None:
            self._layout_before = layout.GetViewArrangement()
        layout.SetViewArrangement(code)
        start = self._users_view(orientation)
        for place, (run, text) in enumerate(zip(runs, texts, strict=True)):
            self._fill(view_name(place), run, text, orientation, start, opacity, unseen)
        self._shown = tuple(runs)
        return {view_name(place): text for place, text in enumerate(texts)}

    def end(self) -> None:
        """Give the user's layout back, unless the user picked another one meanwhile."""
        if self._layout_before is None:
            return
        self._clear_views()
        layout = _layout_node(self._scene)
        if layout is not None and layout.GetViewArrangement() in _our_layouts():
            layout.SetViewArrangement(self._layout_before)
        self._layout_before = None

    def _checked_layout(self, runs: Sequence[Run], orientation: str) -> slicer.vtkMRMLLayoutNode:
        if not FEWEST <= len(runs) <= MOST or orientation not in ORIENTATIONS:
            raise SceneError(
                _("{count} results cannot be shown side by side.").format(count=len(runs)),
                _("Pick two or three results of one image."),
            )
        sources = {run.source.GetID() for run in runs if run.source is not None}
        if len(sources) != 1 or any(run.source is None for run in runs):
            raise SceneError(
                _("The picked results belong to different images, or their image was closed."),
                _("Pick two or three results of one image."),
            )
        layout = _layout_node(self._scene)
        if layout is None:
            raise SceneError(_("The scene has no layout."), _("Open it in 3D Slicer's main window."))
        return layout

    def _users_view(self, orientation: str) -> slicer.vtkMRMLSliceNode | None:
        """The first view of the user's own with this orientation, whose place ours take over."""
        for view in nodes_of_class(self._scene, "vtkMRMLSliceNode"):
            if not _is_our_name(view.GetLayoutName()) and view.GetOrientation() == orientation:
                return view
        return None

    def _fill(
        self,
        name: str,
        run: Run,
        text: str,
        orientation: str,
        start: slicer.vtkMRMLSliceNode | None,
        opacity: float,
        unseen: bool,
    ) -> None:
        view = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode") or _added(self._scene, "vtkMRMLSliceNode", name)
        view.SetLayoutLabel(text)
        view.SetViewGroup(VIEW_GROUP)
        view.SetOrientation(orientation)
        _place(view, start, run)
        composite = self._scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode") or _added(
            self._scene, "vtkMRMLSliceCompositeNode", name
        )
        tint = Layer(run.unseen.GetID(), UNSEEN_OPACITY) if unseen else Layer(None, UNSEEN_OPACITY)
        write_layers(composite, Layers(run.source.GetID(), Layer(run.heatmap.GetID(), opacity), tint))
        composite.SetLinkedControl(True)
        # The view is narrow: the model stands in its controller bar.
        show_legend(run.heatmap, run.report.method, (view.GetID(),))

    def _clear_views(self) -> None:
        """Empty our views, so that they hold on to no volume."""
        for run in self._shown:
            if run.heatmap.GetScene() is self._scene:
                hide_legend(run.heatmap)
        self._shown = ()
        for composite in nodes_of_class(self._scene, "vtkMRMLSliceCompositeNode"):
            if _is_our_name(composite.GetLayoutName()):
                write_layers(composite, Layers(None, Layer(None, 0.0), Layer(None, 0.0)))


def _caption(run: Run) -> str:
    return _("{method}, {model}").format(method=run.report.method, model=run.report.model_name)


def _place(view: slicer.vtkMRMLSliceNode, start: slicer.vtkMRMLSliceNode | None, run: Run) -> None:
    """Put a view where the user's is, or through the image's middle."""
    if start is None:
        bounds = [0.0] * 6
        run.source.GetRASBounds(bounds)
        view.JumpSliceByCentering(*np.reshape(bounds, (3, 2)).mean(axis=1))
        return
    to_ras = vtk.vtkMatrix4x4()
    to_ras.DeepCopy(start.GetSliceToRAS())
    view.GetSliceToRAS().DeepCopy(to_ras)
    view.SetXYZOrigin(*start.GetXYZOrigin())
    # The same millimetres to a pixel: our views are narrower than the user's.
    width, height = view.GetDimensions()[:2]
    across, _down, deep = start.GetFieldOfView()
    scale = across / max(start.GetDimensions()[0], 1)
    view.SetFieldOfView(width * scale, height * scale, deep)
    view.UpdateMatrices()


def _layout_node(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode | None:
    return next(nodes_of_class(scene, "vtkMRMLLayoutNode"), None)


def _our_layouts() -> tuple[int, ...]:
    return tuple(FIRST_LAYOUT + count for count in range(FEWEST, MOST + 1))


def _is_our_name(name: str | None) -> bool:
    return (name or "").startswith(COMPARE_PREFIX)


def _added(scene: slicer.vtkMRMLScene, kind: str, name: str) -> slicer.vtkMRMLNode:
    """A view's node under the name by which the layout manager will find it."""
    node = scene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetSingletonTag(name)
    node.SetLayoutName(name)
    node.SetName(name)
    return scene.AddNode(node)

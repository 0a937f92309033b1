"""The heatmap in the scene: a volume node on the grid of its image, coloured above a threshold."""

from __future__ import annotations

import numpy as np
import slicer
from vtk.util import numpy_support

from ..errors import ReplyError
from ..server.report import Report
from ..translation import _
from .color_scale import Legend, legend, scale_of
from .geometry import grid_size
from .volume_files import read_nrrd

COLORS_ID = "vtkMRMLColorTableNodefMRIPA"
"""Red to yellow; built into MRML, so a saved scene needs no colour file of ours."""

NO_UPPER_BOUND = 1e30


def load_heatmap(
    scene: slicer.vtkMRMLScene, content: bytes | memoryview, report: Report, name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a heatmap to the scene as float32 with NaN where nothing was seen.

    Args:
        content: an NRRD file, float32, or uint8 with the report's slope and intercept.

    Raises:
        SceneError: the file cannot be read; the scene is left as it was.
        ReplyError: it is on another grid than the report says, or of another kind of number.
    """
    heatmap = slicer.vtkMRMLScalarVolumeNode()
    read_nrrd(content, heatmap)
    if grid_size(heatmap) != report.heatmap.grid:
        raise ReplyError(
            _("The heatmap has {came} voxels, its findings speak of {said}.").format(
                came=grid_size(heatmap), said=report.heatmap.grid
            ),
            _("Run again; if it stays so, compare the versions of server and extension."),
        )
    _decode(heatmap, report)
    heatmap.SetName(scene.GenerateUniqueName(name))
    scene.AddNode(heatmap)
    return heatmap


def set_up_display(heatmap: slicer.vtkMRMLScalarVolumeNode, report: Report) -> None:
    """Colours of the report's scale, see `color_scale`; below the threshold the image shows through."""
    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    # Before the display is tied to the voxels: it would look through all of them for levels that are not wanted.
    display.AutoWindowLevelOff()
    heatmap.GetScene().AddNode(display)
    heatmap.SetAndObserveDisplayNodeID(display.GetID())
    scale = scale_of(report)
    display.SetAndObserveColorNodeID(COLORS_ID)
    display.SetWindowLevelMinMax(scale.low, scale.high)
    display.SetAutoThreshold(0)
    set_threshold(heatmap, report.threshold.value)
    display.SetApplyThreshold(1)


def legend_of(heatmap: slicer.vtkMRMLScalarVolumeNode, report: Report) -> Legend:
    """The colour bar of a heatmap; moving the threshold does not change it."""
    return legend(scale_of(report), heatmap.GetScalarVolumeDisplayNode().GetColorNode())


def set_threshold(heatmap: slicer.vtkMRMLScalarVolumeNode, value: float) -> None:
    """Show what is at or above a map value; the colours keep their meaning."""
    display = heatmap.GetScalarVolumeDisplayNode()
    display.SetThreshold(value, NO_UPPER_BOUND)


def shown_threshold(heatmap: slicer.vtkMRMLScalarVolumeNode) -> float:
    """The map value from which on the overlay is visible."""
    return heatmap.GetScalarVolumeDisplayNode().GetLowerThreshold()


def _decode(heatmap: slicer.vtkMRMLScalarVolumeNode, report: Report) -> None:
    """Turn stored bytes into map values; a node that is in no scene yet may change its type of number."""
    facts = report.heatmap
    stored = slicer.util.arrayFromVolume(heatmap)
    if stored.dtype == np.float32 and facts.slope is None:
        return
    if stored.dtype != np.uint8 or facts.slope is None or facts.intercept is None:
        raise ReplyError(
            _("The heatmap holds {kind} numbers, which its findings do not explain.").format(kind=stored.dtype),
            _("Compare the versions of server and extension."),
        )
    values = stored.astype(np.float32) * np.float32(facts.slope) + np.float32(facts.intercept)
    values[stored == 0] = np.nan
    heatmap.GetImageData().GetPointData().SetScalars(numpy_support.numpy_to_vtk(values.ravel(), deep=True))

"""The map of a method's uncertainty in the scene: a second volume on the heatmap's grid, in colours of its own."""

from __future__ import annotations

import numpy as np
import slicer

from .errors import ReplyError
from .geometry import grid_size, same_grid
from .translation import _
from .volume_files import read_nrrd

COLORS_ID = "vtkMRMLColorTableNodeMagenta"
"""Dark where the method is sure, magenta where it is not: unlike the heatmap's red and yellow and the tint's blue.

Built into MRML, so a saved scene needs no colour file of ours.
"""

SMALLEST_WINDOW = 1e-6


def load_uncertainty(
    scene: slicer.vtkMRMLScene,
    content: bytes | memoryview,
    heatmap: slicer.vtkMRMLScalarVolumeNode,
    name: str,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add an uncertainty map to the scene, coloured from 0 to its largest value.

    Args:
        content: an NRRD file, float32, NaN where nothing was seen.
        heatmap: what it is the uncertainty of.

    Raises:
        SceneError: the file cannot be read; the scene is left as it was.
        ReplyError: it lies on another grid than the heatmap or holds no floating-point numbers.
    """
    uncertainty = slicer.vtkMRMLScalarVolumeNode()
    read_nrrd(content, uncertainty)
    values = slicer.util.arrayFromVolume(uncertainty)
    if grid_size(uncertainty) != grid_size(heatmap) or not same_grid(uncertainty, heatmap):
        raise _misfit(_("it lies on another grid than the heatmap"))
    if values.dtype != np.float32:
        raise _misfit(_("it holds {kind} numbers").format(kind=values.dtype))
    uncertainty.SetName(scene.GenerateUniqueName(name))
    scene.AddNode(uncertainty)
    uncertainty.CreateDefaultDisplayNodes()
    display = uncertainty.GetScalarVolumeDisplayNode()
    seen = values[np.isfinite(values)]
    largest = float(seen.max()) if seen.size else 0.0
    display.SetAndObserveColorNodeID(COLORS_ID)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, max(largest, SMALLEST_WINDOW))
    # NaN passes no threshold, so that what was not looked at shows the image and not a colour.
    display.SetAutoThreshold(0)
    display.SetThreshold(0.0, max(largest, SMALLEST_WINDOW))
    display.SetApplyThreshold(1)
    return uncertainty


def _misfit(what: str) -> ReplyError:
    return ReplyError(
        _("The uncertainty map cannot be shown: {what}.").format(what=what),
        _("Run again; if it stays so, compare the versions of server and extension."),
    )

"""The maps that some methods give beside their heatmap, in the scene: volumes on its grid, in colours of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from ..errors import ReplyError
from ..server.map_kinds import RECONSTRUCTION, SALIENCY, UNCERTAINTY
from ..translation import _
from .color_scale import ColorScale, Legend, legend
from .geometry import grid_size, same_grid
from .volume_files import read_nrrd

SMALLEST_WINDOW = 1e-6
NO_BOUND = 1e30

MOST_UNCERTAIN = 0.1
"""Of the last colour, the same in every case. The map cannot exceed 0.5; on few-shot maps of breast ultrasound nothing
was seen above 0.1."""

UNCERTAIN_FROM = 0.03
"""The smallest uncertainty that is shown, so that the band lies around the heatmap's edge and where there is doubt."""

DARKEST_UNCERTAINTY = -0.04
"""Value of the table's black, out of reach."""


@dataclass(frozen=True)
class Look:
    """How a map is drawn.

    Args:
        colors_id: of a table that is built into MRML, so a saved scene needs no colour file of ours.
        low, high: values of the first and the last colour; None for the map's own smallest and largest.
        shown_from: smaller values show what is below; None shows all.
        opaque: drawn over the image whatever the opacity of the heatmap, since it stands for the image.
    """

    colors_id: str
    low: float | None = None
    high: float | None = None
    shown_from: float | None = None
    opaque: bool = False


LOOKS = {
    # A plain band of magenta, unlike the heatmap's red and yellow and the tint's blue, and only where there is doubt:
    # as second overlay it covers little, and the heatmap's edge shows through. Stripes would have to be cut into the
    # voxels, and fall to pieces on thick slices. The window starts below zero so that the faintest shown value is not
    # black.
    UNCERTAINTY: Look(
        "vtkMRMLColorTableNodeMagenta", low=DARKEST_UNCERTAINTY, high=MOST_UNCERTAIN, shown_from=UNCERTAIN_FROM
    ),
    SALIENCY: Look("vtkMRMLColorTableNodeGreen"),
    RECONSTRUCTION: Look("vtkMRMLColorTableNodeGrey", low=0.0, high=1.0, opaque=True),
}


def map_name(kind: str, run: str) -> str:
    """What a map of a run is called in the scene."""
    names = {
        UNCERTAINTY: _("{run} uncertainty"),
        SALIENCY: _("{run} where it looked"),
        RECONSTRUCTION: _("{run} what it believes healthy"),
    }
    return names[kind].format(run=run)


def load_map(
    scene: slicer.vtkMRMLScene,
    kind: str,
    content: bytes | memoryview,
    heatmap: slicer.vtkMRMLScalarVolumeNode,
    run: str,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a map to the scene, in its colours.

    Args:
        kind: one of `MAP_KINDS`.
        content: an NRRD file, float32, NaN where nothing was seen.
        heatmap: what it came with.
        run: name of the run.

    Raises:
        SceneError: the file cannot be read; the scene is left as it was.
        ReplyError: it lies on another grid than the heatmap or holds no floating-point numbers.
    """
    volume = slicer.vtkMRMLScalarVolumeNode()
    read_nrrd(content, volume)
    values = slicer.util.arrayFromVolume(volume)
    if grid_size(volume) != grid_size(heatmap) or not same_grid(volume, heatmap):
        raise _misfit(kind, _("it lies on another grid than the heatmap"))
    if values.dtype != np.float32:
        raise _misfit(kind, _("it holds {numbers} numbers").format(numbers=values.dtype))
    volume.SetName(scene.GenerateUniqueName(map_name(kind, run)))
    scene.AddNode(volume)
    _set_up_display(volume, values[np.isfinite(values)], LOOKS[kind])
    return volume


def uncertainty_legend(scene: slicer.vtkMRMLScene) -> Legend:
    """The colour bar of uncertainty maps; their colours are the same in every case."""
    look = LOOKS[UNCERTAINTY]
    return legend(
        ColorScale(DARKEST_UNCERTAINTY, MOST_UNCERTAIN, fixed=False),
        scene.GetNodeByID(look.colors_id),
        _("Uncertainty"),
        _(
            "Where the method is unsure on which side of its threshold a place lies; the last colour is {most} and more"
        ).format(most=MOST_UNCERTAIN),
        shown_from=UNCERTAIN_FROM,
    )


def _set_up_display(volume: slicer.vtkMRMLScalarVolumeNode, seen: np.ndarray, look: Look) -> None:
    smallest, largest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    low = smallest if look.low is None else look.low
    high = max(largest if look.high is None else look.high, low + SMALLEST_WINDOW)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetScalarVolumeDisplayNode()
    display.SetAndObserveColorNodeID(look.colors_id)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    # NaN passes no threshold, so that what was not looked at shows the image and not a colour.
    display.SetAutoThreshold(0)
    display.SetThreshold(-NO_BOUND if look.shown_from is None else look.shown_from, NO_BOUND)
    display.SetApplyThreshold(1)


def _misfit(kind: str, what: str) -> ReplyError:
    return ReplyError(
        _("The map '{kind}' that came with the heatmap cannot be shown: {what}.").format(kind=kind, what=what),
        _("Run again; if it stays so, compare the versions of server and extension."),
    )

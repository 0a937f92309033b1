"""Several methods' heatmaps of one image as one map, by weights that a slider may move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from ..errors import SceneError
from ..translation import _
from .color_scale import top_of
from .heatmap import COLORS_ID, NO_UPPER_BOUND
from .ownership import ROLE_ATTRIBUTE
from .runs import Run
from .same_place import in_order_of

BLEND_ROLE = "blend"
THRESHOLD, TOP = 1.0, 2.0
"""Of every method after scaling: its own threshold, and where its colour scale ends."""

MOST_RUNS = 8


class Blend:
    """A blended map in the scene, with the scaled maps it is made of kept for the next weights.

    Each map is scaled so that 1 is its method's threshold and 2 the end of its colour scale (for a positive threshold:
    divided by it), then the weighted mean is taken over the methods that saw a voxel. A blended value is no
    probability, and 1 is no calibrated threshold of the blend: what healthy images score in it, nobody has measured.

    Args:
        runs: of one image, from 1 to `MOST_RUNS`.
        name: of the volume.

    Raises:
        SceneError: no runs or too many, or they lie on different grids.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, runs: Sequence[Run], name: str) -> None:
        if not 1 <= len(runs) <= MOST_RUNS:
            raise SceneError(
                _("{count} results are picked to blend.").format(count=len(runs)),
                _("Pick two or three results of one image."),
            )
        scaled = [_scaled(run, runs[0]) for run in runs]
        self._seen = np.zeros(scaled[0].shape, np.uint8)
        for place, values in enumerate(scaled):
            self._seen |= np.isfinite(values).astype(np.uint8) << np.uint8(place)
        self._scaled = [np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0) for values in scaled]
        self.volume = _add_volume(scene, runs[0], name)
        self.mix([1.0] * len(runs))

    def mix(self, weights: Sequence[float]) -> None:
        """Set the weights, one per run, finite and not negative; a run of weight 0 counts as not having seen.

        Raises:
            SceneError: there is no weight above 0, or not one per run.
        """
        if len(weights) != len(self._scaled) or not all(np.isfinite(weight) and weight >= 0 for weight in weights):
            raise SceneError(_("The weights do not fit the results."), _("Give each result a weight of 0 or more."))
        if not any(weights):
            raise SceneError(_("All weights are 0."), _("Give at least one result some weight."))
        shares = _share_of_seen(np.array(weights, np.float32))
        out = slicer.util.arrayFromVolume(self.volume)
        # Slice by slice, so that what is added up stays in the processor's cache.
        for k in range(len(out)):
            total = self._scaled[0][k] * np.float32(weights[0])
            for weight, values in zip(weights[1:], self._scaled[1:], strict=True):
                total += values[k] * np.float32(weight)
            np.multiply(total, shares[self._seen[k]], out=out[k])
        slicer.util.arrayFromVolumeModified(self.volume)

    def remove(self) -> None:
        """Take the volume out of the scene; the runs stay."""
        scene = self.volume.GetScene()
        if scene is not None:
            scene.RemoveNode(self.volume.GetDisplayNode())
            scene.RemoveNode(self.volume)


def blend(
    scene: slicer.vtkMRMLScene, runs: Sequence[Run], weights: Sequence[float], name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a blended map to the scene, once; what it means and what it raises, see `Blend`."""
    made = Blend(scene, runs, name)
    made.mix(weights)
    return made.volume


def _share_of_seen(weights: np.ndarray) -> np.ndarray:
    """(2^N,) float32: one over the weights' sum, by which of N methods saw a voxel; NaN where none that counts did."""
    places = np.arange(2 ** len(weights))
    sums = sum(((places >> place) & 1) * weight for place, weight in enumerate(weights))
    return np.where(sums > 0, 1.0 / np.where(sums > 0, sums, 1.0), np.nan).astype(np.float32)


def _scaled(run: Run, first: Run) -> np.ndarray:
    """(Z, Y, X) float32, a copy on the grid of the first run: 1 at the threshold, 2 at the end of the colour scale."""
    threshold = run.report.threshold.value
    span = top_of(threshold) - threshold
    values = in_order_of(first.heatmap, run.heatmap, slicer.util.arrayFromVolume(run.heatmap))
    scaled = (values - np.float32(threshold)) / np.float32(span)
    scaled += np.float32(THRESHOLD)
    return scaled


def _add_volume(scene: slicer.vtkMRMLScene, run: Run, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    slicer.util.updateVolumeFromArray(volume, np.empty_like(slicer.util.arrayFromVolume(run.heatmap)))
    volume.CopyOrientation(run.heatmap)
    volume.SetAttribute(ROLE_ATTRIBUTE, BLEND_ROLE)
    volume.SetAndObserveTransformNodeID(run.heatmap.GetTransformNodeID())
    volume.CreateDefaultDisplayNodes()
    display = volume.GetScalarVolumeDisplayNode()
    display.SetAndObserveColorNodeID(COLORS_ID)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(THRESHOLD, TOP)
    display.SetAutoThreshold(0)
    display.SetThreshold(THRESHOLD, NO_UPPER_BOUND)
    display.SetApplyThreshold(1)
    return volume

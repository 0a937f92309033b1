"""Several results of one image at once: beside each other, or blended into one map."""

from __future__ import annotations

import slicer

from ..errors import SceneError
from ..scene.blend import Blend
from ..scene.runs import Run, find_runs
from ..scene.side_by_side import MOST, SideBySide
from ..translation import _

ONE, SIDE_BY_SIDE, BLENDED = range(3)
ORIENTATION = "Axial"


class Comparison:
    """Shows the newest results of the shown one's image; every method is for the window's thread."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self._side_by_side = SideBySide(scene)
        self._blend: Blend | None = None
        self._blended_runs = 0
        self._beside: tuple[Run, ...] = ()

    @property
    def blended(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The blended map, None while nothing is blended or it was removed by hand."""
        if self._blend is None or self._blend.volume.GetScene() is not self._scene:
            return None
        return self._blend.volume

    @property
    def volumes(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, ...]:
        """The maps that are shown beside the shown result's own."""
        if self.blended is not None:
            return (self.blended,)
        return tuple(run.heatmap for run in self._beside if run.heatmap.GetScene() is self._scene)

    def show(self, mode: int, run: Run, weight: float, opacity: float) -> None:
        """Compare a result with the other ones of its image.

        Args:
            mode: `ONE`, `SIDE_BY_SIDE` or `BLENDED`.
            run: that is shown, first of all.
            weight: of `run` in a blend, in [0, 1]; the others share the rest.
            opacity: of the heatmaps beside each other, in [0, 1].

        Raises:
            SceneError: there is nothing to compare with; one result is shown then.
        """
        self.end()
        if mode == ONE:
            return
        others = [each for each in find_runs(self._scene) if each.source is run.source and each.id != run.id]
        runs = [run, *reversed(others)][:MOST]
        if len(runs) == 1:
            raise SceneError(_("This image has only one result."), _("Run another method on it, then compare the two."))
        if mode == SIDE_BY_SIDE:
            self._side_by_side.show(runs, ORIENTATION, opacity)
            self._beside = tuple(runs)
            return
        self._blend = Blend(self._scene, runs, _("{run} blended").format(run=run.name))
        self._blended_runs = len(runs)
        self.weigh(weight)

    def weigh(self, weight: float) -> None:
        """Give the shown result another weight in the blend."""
        if self.blended is not None:
            rest = (1.0 - weight) / (self._blended_runs - 1)
            self._blend.mix([weight, *[rest] * (self._blended_runs - 1)])

    def end(self) -> None:
        """Back to one result: the user's layout comes back and the blended map goes."""
        self._side_by_side.end()
        self._beside = ()
        if self._blend is not None:
            self._blend.remove()
        self._blend = None

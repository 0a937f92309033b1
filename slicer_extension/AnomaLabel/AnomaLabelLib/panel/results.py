"""The results in the scene: which one is shown, and how heatmap, further maps and tint are drawn over its image."""

from __future__ import annotations

from dataclasses import replace

import slicer

from ..errors import PanelError
from ..scene import heatmap as heatmap_display
from ..scene.case_nodes import show_segments
from ..scene.further_maps import LOOKS, uncertainty_legend
from ..scene.runs import Run, delete_run, find_runs
from ..scene.slice_views import SliceOverlay, set_opacity
from ..scene.studies import was_fetched
from ..server.map_kinds import UNCERTAINTY
from .board import Board
from .comparison import ONE, Comparison
from .findings import Findings
from .summary import shown_run


class Results:
    """What the sliders and check boxes of the panel act on; every method is for the window's thread.

    Args:
        findings: is told which run is shown and from which threshold on.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, board: Board, findings: Findings) -> None:
        self._scene = scene
        self._board = board
        self._findings = findings
        self._overlay = SliceOverlay(scene, was_fetched)
        self._comparison = Comparison(scene)
        self._run: Run | None = None
        self._case_image: slicer.vtkMRMLScalarVolumeNode | None = None
        self._case_open = False
        self._hidden = False
        self._expected_threshold = ""

    @property
    def run(self) -> Run | None:
        """The shown run."""
        return self._run

    def show(self, run_id: str) -> None:
        """Show a result of the scene; an unknown id shows none."""
        runs = [run for run in find_runs(self._scene) if self.belongs_to_case(run)]
        before = self._run
        self._run = next((run for run in runs if run.id == run_id), None)
        if self._board.state.compared != ONE and (before is None or self._run is None or before.id != run_id):
            self._comparison.end()
            self._board.change(compared=ONE)
        self._board.change(
            runs=tuple((run.id, run.name) for run in runs),
            run=shown_run(self._run) if self._run else None,
            legend=heatmap_display.legend_of(self._run.heatmap, self._run.report) if self._run else None,
        )
        self._show_uncertainty_legend()
        self._findings.take_run(self._run)
        if self._run is not None:
            self.refresh_views(self._run.source)
            self._meet_expected_threshold()
        elif self._case_image is not None:
            self._overlay.show(self._case_image, None, 0.0, None)
        else:
            self._overlay.restore()

    def belongs_to_case(self, run: Run) -> bool:
        """Whether a result is of the open case's image; any is while no case is open."""
        return not self._case_open or (self._case_image is not None and run.source is self._case_image)

    def show_case(self, image: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Show a case: its last result in the scene, or its image alone."""
        self._case_image, self._case_open = image, True
        runs = [run for run in find_runs(self._scene) if self.belongs_to_case(run)]
        self.show(runs[-1].id if runs else "")

    def leave_case(self) -> None:
        """The case is no longer open; the views are given back what they showed before."""
        self._case_image, self._case_open = None, False
        self._run = None
        self._comparison.end()
        self._overlay.restore()

    def refresh(self) -> None:
        """Look through the scene again: after a scene was loaded or closed, or nodes removed by hand."""
        # A scene gives the ids of removed nodes to new ones.
        if self._case_image is not None and self._case_image.GetScene() is not self._scene:
            self._case_image = None
        runs = [run for run in find_runs(self._scene) if self.belongs_to_case(run)]
        known = self._run is not None and self._run.id in {run.id for run in runs}
        self.show(self._run.id if known else runs[-1].id if runs else "")

    def delete_shown(self) -> None:
        """Take the shown result out of the scene, with nothing else."""
        if self._run is None:
            return
        self._overlay.restore()
        delete_run(self._scene, self._run.id)
        self.refresh()

    def expect(self, threshold: str) -> None:
        """Show the next result from a value on, given as a number's text; "" for its own threshold."""
        self._expected_threshold = threshold

    def set_threshold(self, value: float) -> None:
        """Show heatmap and boxes from a value on; asks nothing of the server."""
        if self._run is not None and self._board.state.run is not None:
            heatmap_display.set_threshold(self._run.heatmap, value)
            self._findings.set_threshold(value)
            self._board.change(run=replace(self._board.state.run, threshold=value))

    def set_opacity(self, value: float) -> None:
        """Opacity of the heatmap, in [0, 1]."""
        self._board.change(opacity=value)
        if self._run is not None:
            translucent = [volume for kind, volume in self._run.maps.items() if not LOOKS[kind].opaque]
            for shown in (self._run.heatmap, *translucent, *self._comparison.volumes):
                set_opacity(self._scene, shown, value)

    def set_visible(self, heatmap: bool | None = None, unseen: bool | None = None, boxes: bool | None = None) -> None:
        """Show or hide heatmap, tint and boxes; None leaves one as it is."""
        state = self._board.state
        self._board.change(
            heatmap_visible=state.heatmap_visible if heatmap is None else heatmap,
            unseen_visible=state.unseen_visible if unseen is None else unseen,
            boxes_visible=state.boxes_visible if boxes is None else boxes,
        )
        self._findings.set_visible(self._board.state.boxes_visible)
        self.refresh_views()

    def toggle_heatmap(self) -> None:
        """Show the heatmap where it is hidden, and hide it where it is shown."""
        self.set_visible(heatmap=not self._board.state.heatmap_visible)

    def toggle_boxes(self) -> None:
        """Show the boxes where they are hidden, and hide them where they are shown."""
        self.set_visible(boxes=not self._board.state.boxes_visible)

    def show_instead(self, kind: str) -> None:
        """Show a map in place of the heatmap, where the shown run has it; "" shows the heatmap again."""
        self._board.change(instead=kind)
        self.refresh_views()

    def show_uncertainty(self, visible: bool) -> None:
        """Show or hide how unsure the method is, over the heatmap."""
        self._board.change(uncertainty_visible=visible)
        self._show_uncertainty_legend()
        self.refresh_views()

    def compare(self, mode: int) -> None:
        """Show one result, several side by side, or several blended; see `comparison`."""
        if self._run is None or self._hidden:
            return
        state = self._board.state
        try:
            self._comparison.show(mode, self._run, state.blend, state.opacity)
        except PanelError as error:
            mode = ONE
            self._board.fail(error)
        self._board.change(compared=mode)
        self.refresh_views()

    def set_blend(self, weight: float) -> None:
        """Weight of the shown result in a blend, in [0, 1]."""
        self._board.change(blend=weight)
        self._comparison.weigh(weight)

    def withhold(self, hidden: bool) -> None:
        """Withhold everything that the model says, or show it again."""
        self._hidden = hidden
        self._findings.withhold(hidden)
        if self._case_image is not None:
            show_segments(self._scene, self._case_image, not hidden)
        self.refresh_views()

    def refresh_views(self, background: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
        """Bring the slice views in line with the state; None leaves their background as it is."""
        run, state = self._run, self._board.state
        if run is None:
            return
        shown, opacity = run.heatmap if state.heatmap_visible else None, state.opacity
        if state.instead in run.maps:
            shown = run.maps[state.instead]
            opacity = 1.0 if LOOKS[state.instead].opaque else opacity
        elif shown is not None and self._comparison.blended is not None:
            shown = self._comparison.blended
        unsure = run.maps.get(UNCERTAINTY) if state.uncertainty_visible else None
        tint = run.unseen if state.unseen_visible else None
        if self._hidden:
            shown = unsure = tint = None
        self._overlay.show(background, shown, opacity, tint, unsure)

    def _show_uncertainty_legend(self) -> None:
        drawn = self._run is not None and UNCERTAINTY in self._run.maps and self._board.state.uncertainty_visible
        shown = uncertainty_legend(self._scene) if drawn else None
        if (shown is None) != (self._board.state.uncertainty_legend is None):
            self._board.change(uncertainty_legend=shown)

    def _meet_expected_threshold(self) -> None:
        text, self._expected_threshold = self._expected_threshold, ""
        try:
            value = float(text or "nan")
        except ValueError:
            return
        run = self._board.state.run
        if run is not None and run.minimum <= value <= run.maximum:
            self.set_threshold(value)

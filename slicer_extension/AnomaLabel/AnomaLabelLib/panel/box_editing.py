"""Boxes that the reader drags: an edit of a finding, or one of the reader's own over what was missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import slicer

from ..errors import PanelError
from ..review import acts
from ..review.matching import ShownFinding
from ..review.row import BOX, SEGMENT, finding_of
from ..scene.box_edit import begin_edit, end_edit, follow_box, row_of_box
from ..scene.boxes import remove_box
from ..scene.new_box import add_new_box, row_of_segment
from ..scene.voxel_box import VoxelBox
from ..translation import _
from .case_part import CasePart
from .errors import boxes_are_hidden, no_case, no_finding, no_image_of_case, not_while_editing, read_first
from .keys import key_of
from .panel_state import Notice


class BoxEditing(CasePart):
    """One box at a time has handles; every method is for the window's thread."""

    _box: slicer.vtkMRMLMarkupsROINode | None = None
    _shown: ShownFinding | None = None
    _stop_following: Callable[[], None] | None = None

    @property
    def box(self) -> slicer.vtkMRMLMarkupsROINode | None:
        """The box that has handles, None while none has."""
        return self._box

    def toggle(self) -> None:
        """Give the selected box handles to drag, or keep it as it was dragged."""
        if self._board.state.findings.edited:
            self.finish()
        else:
            self.begin()

    def begin(self) -> None:
        """Give the selected finding's box handles to drag."""
        try:
            self._require_case()
            shown = self._findings.find(self._board.state.findings.selected)
            if shown is None:
                raise no_finding()
            box = self._findings.boxes.box_of(shown.finding.id)
            if box is None:
                raise boxes_are_hidden()
            self._give_handles(box, shown.finding.id, shown)
        except PanelError as error:
            self._board.fail(error)
            return
        self._board.change(notice=Notice(_("Drag the handles of the box."), _edit_keys()))

    def finish(self) -> None:
        """Keep the box as it was dragged: an edit of its finding, or a finding of the reader's own."""
        edited, box = self._board.state.findings.edited, self._box
        if not edited or box is None:
            return
        shown = self._shown
        try:
            row = row_of_box(box, self._heatmap_or_image(), None if shown is None else shown.finding)
        except PanelError as error:
            self._board.fail(error)
            return
        if shown is None:
            row = {**row, "origin": BOX}
            kept = self._review.keep(lambda context: acts.add(self._review.case, row, context), row["id"])
        else:
            kept = self._review.keep(lambda context: acts.edit(self._review.case, shown, row, context), edited)
        if not kept:
            # The box keeps its handles, so that what was drawn is not lost.
            return
        self._leave_box()
        if shown is None:
            self._remove(box)
        self._review.redraw()

    def drop(self) -> None:
        """Leave a box as it was before it was dragged."""
        box = self._box
        if box is None:
            return
        is_new = self._shown is None
        self._leave_box()
        if is_new:
            self._remove(box)
        self._review.redraw()
        self._board.change(notice=Notice(""))

    def add_box(self) -> None:
        """Put a fresh box where the views stand, with handles: the reader drags it over what was missed."""
        try:
            self._require_case()
            if self._box is not None:
                raise not_while_editing()
            box, finding_id = add_new_box(self._scene, self._heatmap_or_image())
            self._give_handles(box, finding_id, None)
        except PanelError as error:
            self._board.fail(error)
            return
        self._board.change(notice=Notice(_("Drag the new box over the finding."), _edit_keys()))

    def add_segment(self, segmentation: slicer.vtkMRMLSegmentationNode | None, segment_id: str) -> None:
        """Make a finding of what the reader drew in the Segment Editor."""
        try:
            self._require_case()
            row = {**row_of_segment(segmentation, segment_id, self._heatmap_or_image()), "origin": SEGMENT}
        except PanelError as error:
            self._board.fail(error)
            return
        self._review.keep(lambda context: acts.add(self._review.case, row, context))

    def _require_case(self) -> None:
        if not self._board.state.case.image:
            raise no_case()
        if self._board.state.case.hidden:
            raise read_first()

    def _heatmap_or_image(self) -> slicer.vtkMRMLScalarVolumeNode:
        run, source = self._run(), self._source()
        volume = run.heatmap if run else source
        if volume is None:
            raise no_image_of_case()
        return volume

    def _give_handles(self, box: slicer.vtkMRMLMarkupsROINode, finding_id: str, shown: ShownFinding | None) -> None:
        volume = self._heatmap_or_image()
        self._box, self._shown = box, shown
        begin_edit(box)
        self._stop_following = follow_box(box, volume, self._dragged)
        self._edited(finding_id)

    def _dragged(self, voxels: VoxelBox | None) -> None:
        """The table follows the box; one outside of the image waits until it is dragged back."""
        shown = self._shown
        if voxels is not None and shown is not None:
            self._findings.preview(finding_of(row_of_box(self._box, self._heatmap_or_image(), shown.finding)))

    def _remove(self, box: slicer.vtkMRMLMarkupsROINode) -> None:
        """Take a box of the reader's own away; the scene may have been closed under it."""
        if box.GetScene() is self._scene:
            remove_box(self._scene, box)

    def _edited(self, finding_id: str) -> None:
        self._board.change(findings=replace(self._board.state.findings, edited=finding_id))

    def _leave_box(self) -> None:
        if self._stop_following is not None:
            self._stop_following()
        self._stop_following = None
        if self._box is not None:
            end_edit(self._box)
        self._box = self._shown = None
        self._edited("")


def _edit_keys() -> str:
    return _("Press {keep} to keep it, {leave} to leave it as it was.").format(
        keep=key_of("editing.toggle"), leave=key_of("editing.drop")
    )

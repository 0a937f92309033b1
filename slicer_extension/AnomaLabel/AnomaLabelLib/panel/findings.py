"""The findings table and its boxes: what the shown run found, joined with what readers decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import slicer

from ..review.matching import ShownFinding, shown_findings
from ..review.order import sorted_findings
from ..review.reviewed import CaseReview
from ..scene.geometry import ijk_to_ras, to_world
from ..scene.region_findings import RegionFinder
from ..scene.review_boxes import ReviewBoxes
from ..scene.runs import Run
from ..scene.slice_views import jump_to
from ..server.map_kinds import UNCERTAINTY
from ..server.report import Finding
from ..translation import _
from .board import Board
from .panel_state import FindingRow, FindingsState, Notice
from .summary import finding_note


class Findings:
    """Joins run and review, keeps table, boxes and views together; every method is for the window's thread.

    Args:
        selected: called with the id of a finding that the reader turned to.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, board: Board, selected: Callable[[str], None]) -> None:
        self._scene = scene
        self._board = board
        self._on_selected = selected
        self._boxes = ReviewBoxes(scene)
        self._run: Run | None = None
        self._finder: RegionFinder | None = None
        self._of_run: frozenset[str] = frozenset()
        self._threshold = 0.0
        self._case = CaseReview()
        self._shown: tuple[ShownFinding, ...] = ()
        self._visible = True
        self._hidden = False
        self._expected = ""

    @property
    def boxes(self) -> ReviewBoxes:
        """The boxes in the scene."""
        return self._boxes

    @property
    def shown(self) -> tuple[ShownFinding, ...]:
        """The findings, those of readers first."""
        return self._shown

    def find(self, finding_id: str) -> ShownFinding | None:
        """A shown finding by its id."""
        return next((each for each in self._shown if each.finding.id == finding_id), None)

    def take_run(self, run: Run | None) -> None:
        """Another run is shown, or none."""
        self._run = run
        self._finder = None
        self._of_run = frozenset(finding.id for finding in run.report.findings) if run is not None else frozenset()
        if run is not None:
            uncertainty = run.maps.get(UNCERTAINTY)
            self._finder = RegionFinder(run.heatmap, run.report, uncertainty)
            self._threshold = self._board.state.run.threshold if self._board.state.run else run.report.threshold.value
        self._join()

    def take_case(self, case: CaseReview) -> None:
        """What readers decided has changed."""
        self._case = case
        self._join()

    def set_threshold(self, value: float) -> None:
        """Findings that nobody reviewed follow the threshold; reviewed ones stay."""
        self._threshold = value
        self._join()

    def set_visible(self, visible: bool) -> None:
        """Show or hide the boxes."""
        self._visible = visible
        self._draw_boxes()

    def withhold(self, hidden: bool) -> None:
        """Empty table and views until the reader has committed an own verdict, or fill them again."""
        self._hidden = hidden
        self._join()

    def sort(self, column: str) -> None:
        """Sort by a column; again turns the order round."""
        before = self._board.state.findings
        descending = not before.descending if column == before.column else True
        self._board.change(findings=replace(before, column=column, descending=descending))
        self._join()

    def select(self, finding_id: str) -> None:
        """Turn to a finding: the table marks it and all views show its warmest voxel."""
        found = self.find(finding_id)
        if found is None:
            return
        # Whoever turns to a finding is not led away from it by one of the last session.
        self._expected = ""
        notice = Notice("") if self._board.state.notice.is_error else self._board.state.notice
        self._board.change(findings=replace(self._board.state.findings, selected=finding_id), notice=notice)
        self._draw_boxes()
        self._jump(found.finding)
        self._on_selected(finding_id)

    def expect(self, finding_id: str) -> None:
        """Turn to a finding now, or as soon as it is found."""
        self._expected = finding_id
        self._meet_expected()

    def select_place(self, place: int) -> None:
        """Turn to the finding in a line of the table, counted from 0."""
        rows = self._board.state.findings.rows
        if 0 <= place < len(rows):
            self.select(rows[place].finding.id)

    def preview(self, finding: Finding) -> None:
        """Let the table show a finding as it would be; nothing is kept."""
        state = self._board.state.findings
        rows = tuple(replace(row, finding=finding) if row.finding.id == finding.id else row for row in state.rows)
        self._board.change(findings=replace(state, rows=rows))

    def next(self) -> None:
        """Turn to the finding in the next line; from the last line to the first."""
        self._step(1)

    def previous(self) -> None:
        """Turn to the finding in the line before; from the first line to the last."""
        self._step(-1)

    def next_open(self) -> None:
        """Turn to the next finding that nobody has decided on; stay where there is none."""
        state = self._board.state.findings
        here = state.place(state.selected)
        order = [*state.rows[here + 1 :], *state.rows[: here + 1]]
        following = next((row for row in order if row.status == "open"), None)
        if following is not None:
            self.select(following.finding.id)

    def _step(self, direction: int) -> None:
        state = self._board.state.findings
        if state.rows:
            here = state.place(state.selected)
            start = here + direction if here >= 0 else 0 if direction > 0 else -1
            self.select_place(start % len(state.rows))
        elif not self._hidden:
            self._board.change(notice=Notice(_("No finding is listed here.")))

    def _join(self) -> None:
        found, left_out = self._found()
        method = self._run.report.method if self._run else ""
        self._shown = () if self._hidden else shown_findings(self._case, found, method, self._of_run)
        before = self._board.state.findings
        numbered = enumerate(sorted_findings(self._shown, before.column, before.descending), start=1)
        rows = tuple(_row(number, each) for number, each in numbered)
        ids = {row.finding.id for row in rows}
        state = replace(
            before, rows=rows, left_out=left_out, selected=before.selected if before.selected in ids else ""
        )
        if state != before:
            self._board.change(findings=state)
        self._draw_boxes()
        self._meet_expected()

    def _meet_expected(self) -> None:
        if self._expected and self.find(self._expected) is not None:
            self.select(self._expected)

    def _found(self) -> tuple[Sequence[Finding], int]:
        if self._finder is None:
            return (), 0
        regions = self._finder.at(self._threshold)
        return regions.findings, regions.left_out

    def _draw_boxes(self) -> None:
        state: FindingsState = self._board.state.findings
        self._boxes.show(self._run, self._shown if self._visible else (), state.selected)

    def _jump(self, finding: Finding) -> None:
        if self._run is None:
            jump_to(self._scene, np.array(finding.center_ras))
            return
        in_node = (ijk_to_ras(self._run.heatmap) @ np.append(finding.peak_index, 1.0))[:3]
        jump_to(self._scene, to_world(self._run.heatmap, in_node))


def _row(number: int, shown: ShownFinding) -> FindingRow:
    return FindingRow(
        number=number,
        finding=shown.finding,
        status=shown.status,
        method=shown.method,
        note=finding_note(shown),
        user_made=shown.user_made,
        reviewed=shown.reviewed,
    )

"""The tab that a reader spends the day in: findings, acts on them, verdict on the case."""

from __future__ import annotations

import qt
from AnomaLabelLib.panel.keys import key_of
from AnomaLabelLib.panel.panel_state import CaseState, FindingRow, FindingsState, PanelState
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.texts import counts_text, hidden_text, segments_text, status_text
from AnomaLabelLib.translation import _

from .drawing import choose, fill, plain_tip, quietly, say, set_checked

COLUMNS = ("number", "label", "score", "uncertainty", "volume", "slice", "method", "status")
"""What the columns of the table are sorted by, see `review.order`."""

COLUMN_WIDTHS = (24, 52, 58, 54, 54, 42, 54)
STATUS_COLORS = {"accepted": "#d1e7dd", "rejected": "#e2e3e5"}


class ReviewTab:
    """Draws findings and case, and hands what is pressed on.

    Args:
        open_editor: opens the Segment Editor on a segmentation.
        picked_segment: gives (segmentation, segment id) of the Segment Editor, (None, "") where none is picked.
    """

    def __init__(self, ui, presenter: Presenter, open_editor, picked_segment) -> None:
        self._ui = ui
        self._presenter = presenter
        self._open_editor = open_editor
        self._picked_segment = picked_segment
        for column, width in enumerate(COLUMN_WIDTHS):
            ui.findingsTable.setColumnWidth(column, width)
        ui.findingsTable.horizontalHeader().setSortIndicatorShown(True)
        review, correction = presenter.review, presenter.correction
        keyed = (
            (ui.acceptButton, "review.accept", self._on_accept),
            (ui.rejectButton, "review.reject", self.reject),
            (ui.editButton, "editing.toggle", self._on_edit),
            (ui.addBoxButton, "editing.add_box", presenter.editing.add_box),
            (ui.reopenButton, "review.reopen", review.reopen),
            (ui.undoButton, "review.undo", review.undo),
            (ui.redoButton, "review.redo", review.redo),
            (ui.caseNormalButton, "review.case_normal", review.case_normal),
            (ui.caseAbnormalButton, "review.case_abnormal", review.case_abnormal),
            (ui.secondReaderButton, "review.toggle_second_reader", review.toggle_second_reader),
        )
        for button, command, act in keyed:
            tip = button.property("toolTip")
            button.setToolTip(_("{what} Key: {key}.").format(what=tip, key=key_of(command)).strip())
            button.clicked.connect(lambda _checked=False, act=act: act())
        ui.reopenCaseButton.clicked.connect(lambda _checked=False: review.reopen_case())
        ui.addSegmentButton.clicked.connect(
            lambda _checked=False: presenter.editing.add_segment(*self._picked_segment())
        )
        ui.growButton.clicked.connect(lambda _checked=False: correction.grow())
        ui.openEditorButton.clicked.connect(lambda _checked=False: self._open_editor(correction.segmentation))
        ui.sendSegmentsButton.clicked.connect(lambda _checked=False: correction.send())
        ui.findingsTable.currentCellChanged.connect(self._on_cell)
        ui.findingsTable.cellClicked.connect(self._on_cell)
        ui.findingsTable.horizontalHeader().sectionClicked.connect(self._on_heading)

    def reject(self) -> None:
        """Reject the selected finding for the reason that is picked."""
        place = self._ui.reasonCombo.property("currentIndex")
        reasons = self._presenter.state.case.reasons
        self._presenter.review.reject(reasons[place - 1] if 1 <= place <= len(reasons) else "")

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the tab to a state; what did not change is left alone."""
        if state.findings != before.findings or (state.run is None) != (before.run is None):
            self._draw_findings(state.findings, before.findings, 2 if state.run is None else state.run.decimals)
        if state.case != before.case or state.findings != before.findings:
            self._draw_case(state.case, state.findings)
        if state.case.reasons != before.case.reasons:
            fill(self._ui.reasonCombo, (_("no reason"), *state.case.reasons))
        if state.case.image != before.case.image:
            # A reason that was picked for one case is not that of the next.
            choose(self._ui.reasonCombo, 0)

    def _draw_findings(self, findings: FindingsState, before: FindingsState, decimals: int) -> None:
        table = self._ui.findingsTable
        with quietly(table):
            if findings.rows != before.rows:
                table.setRowCount(len(findings.rows))
                for place, row in enumerate(findings.rows):
                    if place >= len(before.rows) or row != before.rows[place]:
                        self._draw_row(place, row, decimals)
            table.setCurrentCell(findings.place(findings.selected), 0)
            if findings.column in COLUMNS:
                order = qt.Qt.DescendingOrder if findings.descending else qt.Qt.AscendingOrder
                table.horizontalHeader().setSortIndicator(COLUMNS.index(findings.column), order)

    def _draw_row(self, place: int, row: FindingRow, decimals: int) -> None:
        finding = row.finding
        texts = (
            str(row.number),
            finding.label,
            _number(finding.score, decimals),
            _number(finding.uncertainty, decimals),
            f"{finding.volume_mm3:,.0f}",
            str(finding.peak_index[2]),
            row.method,
            status_text(row),
        )
        color = STATUS_COLORS.get(row.status)
        for column, text in enumerate(texts):
            cell = qt.QTableWidgetItem(text)
            cell.setToolTip(plain_tip(status_text(row)))
            if color:
                cell.setBackground(qt.QBrush(qt.QColor(color)))
                cell.setForeground(qt.QBrush(qt.QColor("#000000")))
            self._ui.findingsTable.setItem(place, column, cell)

    def _draw_case(self, case: CaseState, findings: FindingsState) -> None:
        ui = self._ui
        is_open, selected = bool(case.image), bool(findings.selected)
        for button in (ui.caseNormalButton, ui.caseAbnormalButton, ui.secondReaderButton):
            button.setEnabled(is_open)
        for button in (ui.acceptButton, ui.rejectButton, ui.reasonCombo, ui.reopenButton, ui.growButton):
            button.setEnabled(is_open and selected)
        ui.editButton.setEnabled(is_open and (selected or bool(findings.edited)))
        set_checked(ui.editButton, bool(findings.edited))
        for button in (ui.addBoxButton, ui.addSegmentButton):
            button.setEnabled(is_open and not case.hidden)
        ui.reopenCaseButton.setEnabled(bool(case.verdict))
        ui.undoButton.setEnabled(bool(case.undo))
        ui.redoButton.setEnabled(bool(case.redo))
        set_checked(ui.secondReaderButton, case.second_reader)
        say(ui.hiddenLabel, hidden_text(case))
        say(ui.verdictLabel, case.verdict_text)
        say(ui.countsLabel, counts_text(case, findings))
        ui.openEditorButton.setEnabled(case.segments > 0)
        ui.sendSegmentsButton.setEnabled(case.segments > 0)
        say(ui.segmentsLabel, segments_text(case))

    def _on_accept(self) -> None:
        self._presenter.review.accept()

    def _on_edit(self) -> None:
        self._presenter.editing.toggle()

    def _on_cell(self, row, _column, _old_row=-1, _old_column=-1):
        self._presenter.findings.select_place(row)

    def _on_heading(self, column):
        self._presenter.findings.sort(COLUMNS[column])


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"

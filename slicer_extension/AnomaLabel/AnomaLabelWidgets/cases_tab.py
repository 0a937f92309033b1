"""The worklist, and the scoring that orders it."""

from __future__ import annotations

import qt
from AnomaLabelLib.panel.panel_state import PanelState
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.panel.texts import (
    case_texts,
    filter_text,
    order_text,
    progress_text,
    score_hint,
)
from AnomaLabelLib.panel.worklist import FILTERS

from .drawing import choose, fill, plain_tip, quietly, say, show_notice

COLUMN_WIDTHS = (150, 90, 80)
TAKEN_COLOR, DONE_COLOR = "#fff3cd", "#d1e7dd"


class CasesTab:
    """Draws the worklist and hands what is picked on.

    Args:
        scoring: gives (task, params) of what scores the cases, None while nothing can.
    """

    def __init__(self, ui, presenter: Presenter, scoring) -> None:
        self._ui = ui
        self._presenter = presenter
        self._scoring = scoring
        self._orders: tuple[str, ...] = ()
        for column, width in enumerate(COLUMN_WIDTHS):
            ui.worklistTable.setColumnWidth(column, width)
        fill(ui.filterCombo, [filter_text(name) for name in FILTERS])
        ui.orderCombo.currentIndexChanged.connect(self._on_order)
        ui.filterCombo.currentIndexChanged.connect(self._on_filter)
        ui.searchEdit.textChanged.connect(presenter.worklist.set_search)
        ui.worklistTable.cellDoubleClicked.connect(lambda _row, _column: self._on_open())
        ui.openCaseButton.clicked.connect(lambda _checked=False: self._on_open())
        ui.refreshButton.clicked.connect(lambda _checked=False: presenter.worklist.refresh())
        ui.closeCaseButton.clicked.connect(lambda _checked=False: presenter.cases.close())
        ui.startScoringButton.clicked.connect(lambda _checked=False: self._on_score())
        ui.cancelScoringButton.clicked.connect(lambda _checked=False: presenter.training.cancel_scoring())

    def draw(self, state: PanelState, before: PanelState) -> None:
        """Bring the tab to a state; what did not change is left alone."""
        ui, listed = self._ui, state.worklist
        hidden_again = state.reading_first != before.reading_first
        if listed is not before.worklist or state.case.image != before.case.image or hidden_again:
            self._draw_orders(state)
            self._draw_cases(state)
            show_notice(ui.worklistNotice, listed.notice)
        connected = state.server is not None
        ui.refreshButton.setEnabled(connected)
        ui.openCaseButton.setEnabled(connected and bool(listed.cases))
        ui.closeCaseButton.setEnabled(bool(state.case.image))
        scoring = state.training.scoring
        running = scoring is not None and scoring.running
        ui.startScoringButton.setEnabled(connected and not running)
        ui.cancelScoringButton.setEnabled(running)
        ui.scoringBar.setVisible(running)
        if running:
            ui.scoringBar.setRange(0, scoring.total)
            ui.scoringBar.setValue(scoring.done)
        say(ui.scoringLabel, "" if scoring is None else progress_text(scoring))

    def _draw_orders(self, state: PanelState) -> None:
        orders = state.worklist.worklist.orders if state.worklist.worklist else ()
        if orders != self._orders:
            self._orders = orders
            fill(self._ui.orderCombo, [order_text(name) for name in orders])
        if state.worklist.order in orders:
            choose(self._ui.orderCombo, orders.index(state.worklist.order))
        choose(self._ui.filterCombo, FILTERS.index(state.worklist.filter))
        if self._ui.searchEdit.property("text") != state.worklist.search:
            with quietly(self._ui.searchEdit):
                self._ui.searchEdit.setText(state.worklist.search)
        self._ui.orderCombo.setToolTip(score_hint(state))

    def _draw_cases(self, state: PanelState) -> None:
        table, cases = self._ui.worklistTable, state.worklist.cases
        picked = self._picked()
        with quietly(table):
            table.setRowCount(len(cases))
            for place, case in enumerate(cases):
                taken = case.lease is not None and not case.lease.mine
                color = TAKEN_COLOR if taken else DONE_COLOR if case.state == "reviewed" else None
                for column, text in enumerate(case_texts(case, state)):
                    cell = qt.QTableWidgetItem(text)
                    cell.setToolTip(plain_tip(case.problem or text))
                    if color:
                        cell.setBackground(qt.QBrush(qt.QColor(color)))
                        cell.setForeground(qt.QBrush(qt.QColor("#000000")))
                    font = cell.font()
                    font.setBold(case.image == state.case.image)
                    cell.setFont(font)
                    table.setItem(place, column, cell)
            images = [case.image for case in cases]
            wanted = picked if picked in images else state.case.image
            table.setCurrentCell(images.index(wanted) if wanted in images else -1, 0)

    def _picked(self) -> str:
        row = self._ui.worklistTable.currentRow()
        item = self._ui.worklistTable.item(row, 0) if row >= 0 else None
        return item.text() if item is not None else ""

    def _on_open(self) -> None:
        row = self._ui.worklistTable.currentRow()
        cases = self._presenter.state.worklist.cases
        if 0 <= row < len(cases):
            self._presenter.worklist.open(cases[row].image)
        else:
            self._presenter.worklist.next()

    def _on_order(self, _place):
        # Read from the box: Qt 5 has the signal with a place and with a text.
        place = self._ui.orderCombo.property("currentIndex")
        if 0 <= place < len(self._orders):
            self._presenter.worklist.set_order(self._orders[place])

    def _on_filter(self, _place):
        place = self._ui.filterCombo.property("currentIndex")
        if 0 <= place < len(FILTERS):
            self._presenter.worklist.set_filter(FILTERS[place])

    def _on_score(self) -> None:
        chosen = self._scoring()
        if chosen is not None:
            self._presenter.training.start_scoring(*chosen)

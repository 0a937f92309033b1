"""The help card, and the keys as Qt hands them out."""

from __future__ import annotations

from AnomaLabelLib.panel.keys import KEYS, shown_key
from PySide6 import QtCore, QtTest, QtWidgets
from slicer_headless.panel import application


def test_the_card_lists_every_key_and_comes_and_goes(widget):
    card = widget._help.dialog
    assert not card.isVisible()
    widget.ui.keysButton.click()
    assert card.isVisible()
    texts = [label.text() for label in card.findChildren(QtWidgets.QLabel)]
    for binding in KEYS:
        place = texts.index(shown_key(binding.key))
        assert texts[place + 1] == binding.text
    assert len(KEYS) >= 18
    widget.act("help.toggle")
    assert not card.isVisible()


def press(window, key, modifier=QtCore.Qt.KeyboardModifier.NoModifier) -> None:
    QtTest.QTest.keyClick(window, key, modifier)
    application().processEvents()


def test_a_key_acts_while_the_module_is_open_and_not_while_a_text_is_typed(at_work):
    window, ui = at_work.parent, at_work.ui
    at_work.enter()
    window.show()
    window.activateWindow()
    QtTest.QTest.qWaitForWindowActive(window)
    ui.findingsTable.setFocus()
    application().processEvents()
    key = QtCore.Qt.Key
    press(ui.findingsTable, key.Key_N)
    assert at_work.presenter.state.findings.selected == at_work.presenter.state.findings.rows[0].finding.id
    press(ui.findingsTable, key.Key_K)
    assert [row.status for row in at_work.presenter.state.findings.rows] == ["accepted", "open", "open"]
    press(ui.findingsTable, key.Key_U, QtCore.Qt.KeyboardModifier.ShiftModifier)
    assert [row.status for row in at_work.presenter.state.findings.rows] == ["accepted", "open", "open"]
    press(ui.findingsTable, key.Key_U)
    assert [row.status for row in at_work.presenter.state.findings.rows] == ["open", "open", "open"]
    ui.tabs.setCurrentWidget(ui.casesTab)
    ui.searchEdit.setFocus()
    application().processEvents()
    press(ui.searchEdit, key.Key_K)
    assert ui.searchEdit.text() == "k"
    assert [row.status for row in at_work.presenter.state.findings.rows] == ["open", "open", "open"]
    at_work.exit()
    ui.tabs.setCurrentWidget(ui.reviewTab)
    ui.findingsTable.setFocus()
    application().processEvents()
    press(ui.findingsTable, key.Key_K)
    assert [row.status for row in at_work.presenter.state.findings.rows] == ["open", "open", "open"]


def test_the_keys_stay_in_force_beside_the_card(at_work):
    window, table = at_work.parent, at_work.ui.findingsTable
    at_work.enter()
    window.show()
    window.activateWindow()
    QtTest.QTest.qWaitForWindowActive(window)
    at_work.act("help.toggle")
    card = at_work._help.dialog
    card.activateWindow()
    QtTest.QTest.qWaitForWindowActive(card)
    press(card, QtCore.Qt.Key.Key_N)
    assert at_work.presenter.state.findings.selected == at_work.presenter.state.findings.rows[0].finding.id
    press(card, QtCore.Qt.Key.Key_Question)
    assert not card.isVisible()
    assert table.currentRow() == 0


def test_a_key_that_is_held_down_decides_once(widget):
    widget.enter()
    repeated = {each.key().toString() for each in widget._keys._shortcuts if each.autoRepeat()}
    assert repeated == {"N", "P"}


def test_every_button_with_a_key_names_it(widget):
    ui = widget.ui
    named = {
        "acceptButton": "Key: K.",
        "rejectButton": "Key: D.",
        "editButton": "Key: E.",
        "undoButton": "Key: U.",
        "redoButton": "Key: Shift + U.",
        "caseNormalButton": "Key: Shift + H.",
    }
    for name, key in named.items():
        assert getattr(ui, name).toolTip().endswith(key)

"""The buttons of the panel and the commands of its keys, through a day's acts."""

from __future__ import annotations

from panel_examples import (
    CORNER,
    arrived,
    drag,
    last_event,
    lines,
    open_case,
    settle,
)


def test_the_buttons_do_what_the_keys_do(at_work, cases, scene):
    ui = at_work.ui
    assert not ui.undoButton.isEnabled()
    assert not ui.acceptButton.isEnabled()
    ui.findingsTable.setCurrentCell(0, 0)
    ui.acceptButton.click()
    settle(at_work)
    ui.reasonCombo.setCurrentIndex(2)
    ui.rejectButton.click()
    settle(at_work)
    assert (last_event(cases)["finding_id"], last_event(cases)["reason"]) == (CORNER, "normal anatomy")
    assert [line[7] for line in lines(ui.findingsTable)] == ["accepted", "rejected: normal anatomy", "open"]
    assert ui.countsLabel.text() == "1 open, 1 accepted, 1 rejected."
    ui.editButton.click()
    assert ui.editButton.isChecked()
    drag(at_work.presenter.editing.box, (0, 5, 5), (2, 8, 6))
    assert lines(ui.findingsTable)[2][4] == "72"
    ui.editButton.click()
    settle(at_work)
    assert not ui.editButton.isChecked()
    assert last_event(cases)["action"] == "edited"
    ui.addBoxButton.click()
    drag(at_work.presenter.editing.box, (7, 7, 0), (9, 8, 1))
    ui.editButton.click()
    settle(at_work)
    ui.reopenButton.click()
    settle(at_work)
    ui.undoButton.click()
    ui.redoButton.click()
    ui.caseAbnormalButton.click()
    ui.secondReaderButton.click()
    settle(at_work)
    assert ui.secondReaderButton.isChecked()
    assert ui.verdictLabel.text().startswith("Verdict: abnormal, by anna 20")
    ui.reopenCaseButton.click()
    settle(at_work)
    arrived(at_work)
    assert ui.verdictLabel.text() == ""
    assert cases.actions("a") == [
        "accepted",
        "rejected",
        "edited",
        "added",
        "reopened",
        "accepted",
        "reopened",
        "case_abnormal",
        "second_reader",
        "case_reopened",
    ]
    colors = [ui.findingsTable.item(row, 0).background().color().name() for row in range(2)]
    assert colors == ["#d1e7dd", "#e2e3e5"]


def test_each_key_has_a_command_that_acts(at_work, cases):
    """A day's work by the commands of the keys alone."""
    act = at_work.act
    for command in ("findings.next", "review.accept", "review.reject", "findings.previous"):
        act(command)
    assert at_work.presenter.state.findings.selected == CORNER
    act("review.reopen")
    act("review.undo")
    act("review.redo")
    act("editing.toggle")
    act("editing.drop")
    act("editing.add_box")
    act("editing.drop")
    act("results.toggle_heatmap")
    act("results.toggle_boxes")
    assert not at_work.ui.heatmapCheck.isChecked()
    assert not at_work.ui.boxesCheck.isChecked()
    act("review.case_abnormal")
    act("review.toggle_second_reader")
    act("review.case_normal")
    assert "so it is not normal" in at_work.ui.noticeLabel.text()
    arrived(at_work)
    assert cases.actions("a") == [
        "accepted",
        "rejected",
        "reopened",
        "rejected",
        "reopened",
        "case_abnormal",
        "second_reader",
    ]
    act("worklist.next")
    settle(at_work)
    assert at_work.presenter.state.case.image == "b"
    act("worklist.previous")
    settle(at_work)
    assert at_work.presenter.state.case.image == "a"
    act("help.toggle")


def test_another_case_has_a_history_of_its_own(at_work, cases):
    at_work.act("review.case_normal")
    open_case(at_work, "b")
    assert not at_work.ui.undoButton.isEnabled()
    at_work.act("review.undo")
    settle(at_work)
    assert cases.actions("b") == []
    open_case(at_work, "a")
    at_work.act("review.undo")
    settle(at_work)
    assert cases.actions("a") == ["case_normal", "case_reopened"]

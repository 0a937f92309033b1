"""A reader's acts by the presenter's commands: what is kept and what is shown."""

from __future__ import annotations

from AnomaLabelLib.review import line_file
from example_results import finding
from panel_examples import (
    CORNER,
    EDGE,
    MATRIX,
    WARM,
    answer,
    disk_full,
    drag,
    last_event,
)


def test_accept_keeps_the_finding_and_goes_on_to_the_next_open_one(reading, cases):
    reading.select(WARM)
    reading.press("review.accept")
    event = last_event(cases)
    assert (event["action"], event["finding_id"], event["reviewer"]) == ("accepted", WARM, "anna")
    assert event["before"]["index_min"] == [4, 3, 2]
    assert (event["before"]["method"], event["before"]["origin"]) == ("clap", "model")
    assert event["model"]["name"] == "embedded"
    assert event["prompts"] == {"positive": ["Glioma"], "negative": ["Normal"]}
    assert len(event["findings_sha256"]) == 64
    assert reading.statuses() == {WARM: "accepted", CORNER: "open", EDGE: "open"}
    assert reading.state.findings.selected == CORNER
    assert reading.state.findings.counts == (2, 1, 0)


def test_reject_tells_the_reason_and_an_odd_one_is_refused_with_a_remedy(reading, cases):
    reading.select(CORNER)
    reading.press("review.reject", "artefact")
    assert (last_event(cases)["action"], last_event(cases)["reason"]) == ("rejected", "artefact")
    assert reading.rows[1].note == "artefact"
    assert reading.state.findings.selected == EDGE
    reading.press("review.reject")
    assert "reason" not in last_event(cases)
    reading.select(WARM)
    reading.press("review.reject", "x" * 201)
    assert "201 characters" in reading.state.notice.cause
    assert cases.actions("a") == ["rejected", "rejected"]


def test_after_an_act_comes_the_next_finding_that_nobody_decided_on(reading):
    reading.select(CORNER)
    reading.press("review.reject")
    reading.select(WARM)
    reading.press("review.accept")
    assert reading.state.findings.selected == EDGE
    reading.press("review.accept")
    # None is open any more, so the reader stays where the last act was.
    assert reading.state.findings.selected == EDGE
    reading.select(CORNER)
    reading.press("review.reopen")
    reading.select(EDGE)
    reading.press("review.reject")
    assert reading.state.findings.selected == CORNER


def test_an_act_without_case_or_finding_says_what_to_do(reader):
    reader.press("review.accept")
    assert reader.state.notice.cause == "No case is open."
    reader.open("a")
    reader.press("review.accept")
    assert reader.state.notice.cause == "No finding is selected."
    assert reader.state.notice.remedy
    reader.press("editing.toggle")
    assert reader.state.notice.cause == "No finding is selected."


def test_verdicts_on_the_case_and_what_contradicts_them(reading, cases):
    reading.press("review.case_normal")
    assert (last_event(cases)["action"], reading.state.case.verdict) == ("case_normal", "normal")
    reading.select(WARM)
    reading.press("review.accept")
    assert "called normal by anna" in reading.state.notice.cause
    assert reading.statuses()[WARM] == "open"
    reading.press("review.case_abnormal")
    reading.press("review.accept")
    reading.press("review.case_normal")
    assert reading.state.notice.cause == "1 findings of this case are accepted, so it is not normal."
    assert reading.state.case.verdict == "abnormal"
    reading.press("review.reopen_case")
    assert reading.state.case.verdict == ""
    assert cases.actions("a") == ["case_normal", "case_abnormal", "accepted", "case_reopened"]


def test_reopening_a_finding_makes_it_open_again(reading, cases):
    reading.select(EDGE)
    reading.press("review.reject", "artefact")
    reading.select(EDGE)
    reading.press("review.reopen")
    assert (last_event(cases)["action"], last_event(cases)["finding_id"]) == ("reopened", EDGE)
    assert reading.statuses()[EDGE] == "open"
    assert reading.rows[2].note == ""
    reading.press("review.reopen")
    assert reading.state.notice.cause == "Nothing is decided on this finding yet."


def test_a_second_reader_is_asked_for_and_answers(reading, cases):
    reading.press("review.case_abnormal")
    reading.press("review.toggle_second_reader")
    assert reading.state.case.second_reader
    reading.press("worklist.refresh")
    assert reading.state.worklist.cases[0].state == "second_reader"
    reading.press("review.toggle_second_reader")
    assert cases.actions("a") == ["case_abnormal", "second_reader", "second_reader_withdrawn"]
    assert not reading.state.case.second_reader


def test_undo_and_redo_go_through_all_acts(reading, cases):
    reading.select(WARM)
    reading.press("review.accept")
    reading.select(CORNER)
    reading.press("review.reject", "artefact")
    reading.press("review.case_abnormal")
    assert reading.state.case.undo == "call the case abnormal"
    states = []
    for _step in range(3):
        reading.press("review.undo")
        states.append((reading.state.case.verdict, *reading.statuses().values()))
    assert states == [
        ("", "accepted", "rejected", "open"),
        ("", "accepted", "open", "open"),
        ("", "open", "open", "open"),
    ]
    assert reading.state.case.undo == ""
    for _step in range(3):
        reading.press("review.redo")
    assert list(reading.statuses().values()) == ["accepted", "rejected", "open"]
    assert reading.state.case.verdict == "abnormal"
    assert reading.rows[1].note == "artefact"
    actions = ["accepted", "rejected", "case_abnormal"]
    assert cases.actions("a") == [*actions, "case_reopened", "reopened", "reopened", *actions]
    assert [event.get("undoes") for event in cases.events["a"]][3] == cases.events["a"][2]["event_id"]


def test_reviewed_findings_survive_a_run_that_finds_other_boxes(reading, cases):
    reading.select(WARM)
    reading.press("editing.toggle")
    drag(reading.presenter.editing.box, (4, 3, 2), (8, 5, 4))
    reading.press("editing.toggle")
    reading.select(CORNER)
    reading.press("review.reject", "artefact")
    reading.press("editing.add_box")
    drag(reading.presenter.editing.box, (7, 7, 0), (9, 8, 1))
    reading.press("editing.toggle")
    own = next(row.finding for row in reading.rows if row.user_made)
    shifted = [
        finding(MATRIX, (5, 3, 2), (7, 5, 4), peak=(5, 4, 3), score=0.9),
        finding(MATRIX, (0, 0, 0), (1, 1, 1), peak=(0, 0, 0), score=0.5),
        finding(MATRIX, (7, 7, 0), (9, 8, 1), peak=(8, 8, 1), score=0.45),
        finding(MATRIX, (0, 6, 5), (2, 8, 6), peak=(0, 6, 5), score=0.45),
    ]
    cases.served.answer("POST", "/infer/clap_attention", answer(shifted))
    reading.presenter.asking.on_study("a", reading.presenter.asking.parameters)
    reading.drain()
    told = reading.statuses()
    assert told == {
        WARM: "accepted",
        CORNER: "rejected",
        own.id: "accepted",
        shifted[1]["id"]: "rejected",
        shifted[3]["id"]: "open",
    }
    kept = {row.finding.id: row.finding for row in reading.rows}
    assert kept[WARM].index_max == (8, 5, 4)
    assert (kept[own.id].index_min, kept[own.id].index_max) == ((7, 7, 0), (9, 8, 1))
    assert next(row.note for row in reading.rows if row.finding.id == shifted[1]["id"]) == "as before, artefact"


def test_a_full_disk_keeps_the_act_from_being_done(reading, cases, monkeypatch):
    reading.select(WARM)
    before = reading.rows
    monkeypatch.setattr(line_file.os, "fsync", disk_full)
    for command in ("review.accept", "review.reject", "review.case_normal"):
        reading.press(command)
        assert "is full" in reading.state.notice.cause
        assert "Make room on it" in reading.state.notice.remedy
        assert reading.state.notice.is_error
        assert reading.rows == before
        assert reading.state.case.verdict == ""
        assert reading.state.findings.selected == WARM
        assert reading.state.case.undo == ""
    reading.press("editing.toggle")
    box = reading.presenter.editing.box
    drag(box, (4, 3, 2), (8, 5, 4))
    reading.press("editing.toggle")
    assert "is full" in reading.state.notice.cause
    assert reading.presenter.editing.box is box
    assert box.GetDisplayNode().GetHandlesInteractive()
    assert reading.rows[0].finding.index_max == (8, 5, 4)
    assert cases.actions("a") == []
    monkeypatch.undo()
    reading.press("editing.toggle")
    assert cases.actions("a") == ["edited"]
    assert reading.state.outbox.pending == 0


def test_a_full_disk_keeps_an_undo_from_being_done(reading, cases, monkeypatch):
    reading.select(WARM)
    reading.press("review.accept")
    monkeypatch.setattr(line_file.os, "fsync", disk_full)
    reading.press("review.undo")
    assert "is full" in reading.state.notice.cause
    assert reading.statuses()[WARM] == "accepted"
    assert reading.state.case.undo == "accept anomaly"
    monkeypatch.undo()
    reading.press("review.undo")
    assert reading.statuses()[WARM] == "open"
    assert cases.actions("a") == ["accepted", "reopened"]

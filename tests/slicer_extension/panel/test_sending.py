"""Nothing is lost: without network the queue grows and says so, and the server gets each act once."""

from __future__ import annotations

import pytest
from panel_examples import CORNER, EDGE, WARM, Reader, arrived, disk_full, open_case, settle
from small_server import DATASTORE, INFO


def accept(reader, *finding_ids: str) -> None:
    for finding_id in finding_ids:
        reader.select(finding_id)
        reader.press("review.accept")


def test_without_network_the_queue_grows_and_says_so_and_then_each_act_arrives_once(reading, cases):
    cases.served.gone = True
    accept(reading, WARM, CORNER, EDGE)
    assert reading.statuses() == {WARM: "accepted", CORNER: "accepted", EDGE: "accepted"}
    assert reading.state.outbox.pending == 3
    notice = reading.state.outbox.notice
    assert notice.is_error
    assert notice.cause.startswith("Kept on this computer and not sent yet: 3. ")
    assert notice.remedy == "Go on reviewing; they are sent once the server answers."
    assert cases.events.get("a", []) == []
    reading.wait(60)
    assert reading.state.outbox.pending == 3
    cases.served.gone = False
    reading.wait(120)
    assert cases.actions("a") == ["accepted"] * 3
    assert [event["finding_id"] for event in cases.events["a"]] == [WARM, CORNER, EDGE]
    assert len(cases.arrivals) == 3
    assert reading.state.outbox.pending == 0
    assert reading.state.outbox.notice.cause == ""


def test_a_failed_send_is_tried_again_after_growing_waits(reading, cases):
    cases.served.gone = True
    accept(reading, WARM)
    tried = []
    send = reading.presenter.sending.kick
    reading.presenter.sending.kick = lambda: (tried.append(reading.now_s), send())
    for _second in range(40):
        reading.wait(1)
    # After 2 seconds, and then after 4, 8 and 16 more.
    assert tried == [2, 6, 14, 30]


def test_an_answer_that_gets_lost_does_not_make_two_acts_of_one(reading, cases):
    cases.lose = 2
    accept(reading, WARM, CORNER)
    reading.wait(10)
    reading.wait(10)
    assert len(cases.arrivals) > 2
    assert [event["finding_id"] for event in cases.events["a"]] == [WARM, CORNER]
    assert reading.state.outbox.pending == 0


def test_what_was_kept_without_network_is_sent_by_the_next_panel(reading, cases, scene, tmp_path):
    cases.served.gone = True
    accept(reading, WARM, CORNER)
    reading.presenter.close()
    scene.Clear(False)
    cases.served.gone = False
    again = Reader(scene, tmp_path / "kept")
    again.connect(cases)
    assert [event["finding_id"] for event in cases.events["a"]] == [WARM, CORNER]
    assert again.state.outbox.pending == 0


def test_a_case_in_the_scene_is_reviewed_on_without_the_server(reading, cases):
    accept(reading, WARM)
    cases.served.gone = True
    reading.open("a")
    assert reading.state.notice.is_error
    assert "review on" in reading.state.notice.remedy
    assert reading.statuses()[WARM] == "accepted"
    accept(reading, CORNER)
    assert reading.statuses()[CORNER] == "accepted"
    cases.served.gone = False
    reading.wait(40)
    assert [event["finding_id"] for event in cases.events["a"]] == [WARM, CORNER]
    assert cases.leases["a"][0] == "anna"


def test_what_the_server_will_not_take_is_told_and_does_not_hold_up_the_rest(at_work, cases):
    cases.refusals["accepted"] = (422, "This finding lies outside <b>the</b> image.")
    at_work.ui.findingsTable.setCurrentCell(0, 0)
    at_work.act("review.accept")
    at_work.act("review.case_abnormal")
    arrived(at_work)
    assert cases.actions("a") == ["case_abnormal"]
    assert at_work.presenter.state.outbox.refused == 1
    assert "Refused by the server, and kept on this computer: 1." in at_work.ui.outboxLabel.text()
    assert at_work.ui.refusedLabel.text().endswith("\nThis finding lies outside <b>the</b> image.")


def test_refused_acts_are_sent_again_with_a_button_once_the_cause_is_mended(at_work, cases):
    ui = at_work.ui
    assert ui.resendButton.isHidden()
    cases.refusals["accepted"] = (404, "There is no image 'a'.")
    ui.findingsTable.setCurrentCell(0, 0)
    at_work.act("review.accept")
    arrived(at_work)
    assert not ui.resendButton.isHidden()
    assert "send them again" in ui.outboxLabel.text()
    ui.resendButton.click()
    arrived(at_work)
    assert (cases.actions("a"), at_work.presenter.state.outbox.refused) == ([], 1)
    assert not ui.resendButton.isHidden()
    cases.refusals.clear()
    ui.resendButton.click()
    arrived(at_work)
    assert cases.actions("a") == ["accepted"]
    assert at_work.presenter.state.outbox.refused == 0
    assert ui.resendButton.isHidden()
    assert ui.refusedLabel.isHidden()
    assert ui.outboxLabel.isHidden()


def test_a_refused_act_stays_among_the_open_cases_decisions(reading, cases):
    cases.refusals["accepted"] = (413, "Too large.")
    accept(reading, WARM)
    assert reading.state.outbox.refused == 1
    assert reading.statuses()[WARM] == "accepted"
    cases.refusals.clear()
    reading.presenter.sending.resend()
    reading.drain()
    assert [event["finding_id"] for event in cases.events["a"]] == [WARM]
    assert reading.statuses() == {WARM: "accepted", CORNER: "open", EDGE: "open"}
    reading.press("review.undo")
    assert cases.actions("a") == ["accepted", "reopened"]


def test_refused_acts_that_cannot_be_queued_again_are_told(reading, cases, monkeypatch):
    cases.refusals["accepted"] = (413, "Too large.")
    accept(reading, WARM)
    cases.refusals.clear()
    with monkeypatch.context() as patch:
        patch.setattr("AnomaLabelLib.review.line_file.os.fsync", disk_full)
        reading.presenter.sending.resend()
        reading.drain()
    assert reading.state.notice.is_error
    assert "is full" in reading.state.notice.cause
    assert (cases.actions("a"), reading.state.outbox.refused) == ([], 1)


@pytest.mark.parametrize("act", ["review.accept", "review.case_normal"])
def test_a_login_that_ended_keeps_the_acts(reading, cases, act):
    cases.asks_for = "changed"
    reading.select(WARM)
    reading.press(act)
    assert reading.state.outbox.pending == 1
    assert "login" in reading.state.outbox.notice.cause
    cases.asks_for = ""
    reading.wait(5)
    assert len(cases.actions("a")) == 1


def test_a_server_of_another_version_gets_nothing_and_nothing_is_lost(reading, cases):
    cases.refusals["accepted"] = (422, "action: unknown")
    cases.served.answer_json("/info/", INFO)
    cases.served.answer_json("/datastore/", DATASTORE)
    accept(reading, WARM)
    assert reading.state.outbox.pending == 1
    assert reading.state.outbox.refused == 0
    assert "does not take reviews" in reading.state.outbox.notice.cause
    del cases.served.replies["GET", "/info/"]
    cases.refusals.clear()
    reading.wait(5)
    assert cases.actions("a") == ["accepted"]


def test_a_long_run_does_not_hold_reviews_up(at_work, cases):
    import threading

    from panel_examples import answer
    from slicer_headless.panel import wait_for

    released = threading.Event()
    slow = answer(warnings=["slow"])
    cases.served.answer("POST", "/infer/clap_attention", type(slow)(**{**vars(slow), "wait": lambda: released.wait(8)}))
    at_work.ui.runButton.click()
    at_work.act("findings.next")
    at_work.act("review.accept")
    assert wait_for(lambda: cases.actions("a") == ["accepted"], 5)
    assert at_work.presenter.busy
    assert wait_for(lambda: at_work.presenter.state.outbox.pending == 0, 5)
    assert at_work.ui.outboxLabel.isHidden()
    released.set()
    settle(at_work)
    open_case(at_work, "b")

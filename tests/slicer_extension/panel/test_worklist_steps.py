"""The worklist: order, filter, search, and going from case to case."""

from __future__ import annotations

import pytest
from panel_examples import connect, lines, open_case, settle, sign_in
from reviewing_server import score
from slicer_headless.panel import wait_for


def names(reader) -> list[str]:
    return [case.image for case in reader.state.worklist.cases]


def test_the_orders_are_the_servers(reader, cases):
    assert names(reader) == ["a", "b", "c", "d"]
    cases.scores = {"c": {"clap_attention": score(0.9)}, "b": {"clap_attention": score(0.5)}}
    reader.presenter.worklist.set_order("most_anomalous")
    reader.drain()
    assert names(reader) == ["c", "b", "a", "d"]
    assert reader.state.worklist.notice.cause == "2 cases have no score yet."
    reader.presenter.worklist.set_order("random")
    reader.drain()
    shuffled = names(reader)
    reader.press("worklist.refresh")
    assert names(reader) == shuffled


def test_an_order_picked_while_another_list_is_on_its_way_is_the_one_that_comes(reader):
    reader.presenter.worklist.refresh()
    reader.presenter.worklist.set_order("most_anomalous")
    reader.drain()
    assert reader.state.worklist.order == "most_anomalous"
    assert reader.state.worklist.worklist.order == "most_anomalous"


def test_filter_and_search_narrow_the_list(reader, cases):
    reader.open("b")
    reader.press("review.case_normal")
    reader.press("worklist.refresh")
    worklist = reader.presenter.worklist
    worklist.set_filter("reviewed")
    assert names(reader) == ["b"]
    worklist.set_filter("not_reviewed")
    assert names(reader) == ["a", "c", "d"]
    worklist.set_search(" C ")
    assert names(reader) == ["c"]
    worklist.set_filter("all")
    worklist.set_search("")
    assert names(reader) == ["a", "b", "c", "d"]


def test_next_and_previous_skip_what_others_have_open(reader, cases):
    cases.leases["b"] = ("bob", "another panel")
    reader.press("worklist.refresh")
    opened = []
    for command in ("next", "next", "next", "previous", "previous", "previous"):
        reader.press(f"worklist.{command}")
        opened.append(reader.state.case.image)
    assert opened == ["a", "c", "d", "c", "a", "a"]
    assert reader.state.notice.cause == "This was the first case of the list."
    assert set(cases.leases) == {"a", "b"}


def test_after_the_last_case_there_is_none(reader):
    reader.open("d")
    reader.press("worklist.next")
    assert reader.state.notice.cause == "This was the last case of the list."
    assert reader.state.case.image == "d"
    reader.presenter.worklist.set_search("nothing of that name")
    reader.press("worklist.next")
    assert reader.state.notice.cause == "The worklist shows no case."


def test_next_after_the_case_dropped_out_of_the_filter_is_the_one_behind_it(reader):
    reader.presenter.worklist.set_filter("not_reviewed")
    reader.press("worklist.next")
    reader.press("worklist.next")
    assert reader.state.case.image == "b"
    reader.press("review.case_normal")
    reader.press("worklist.refresh")
    assert names(reader) == ["a", "c", "d"]
    reader.press("worklist.next")
    assert reader.state.case.image == "c"
    reader.press("review.case_normal")
    reader.press("worklist.refresh")
    reader.press("worklist.previous")
    assert reader.state.case.image == "a"


def test_the_list_is_asked_for_anew_by_itself(reader, cases):
    before = len(cases.served.asked("GET", "/worklist"))
    reader.wait(29)
    assert len(cases.served.asked("GET", "/worklist")) == before
    cases.leases["d"] = ("bob", "another panel")
    reader.wait(2)
    assert len(cases.served.asked("GET", "/worklist")) == before + 1
    assert reader.state.worklist.cases[3].lease.reviewer == "bob"


def test_a_list_that_cannot_be_had_says_so_and_the_old_one_stays(reader, cases):
    cases.served.gone = True
    reader.press("worklist.refresh")
    assert reader.state.worklist.notice.is_error
    assert names(reader) == ["a", "b", "c", "d"]


def test_the_table_tells_state_reader_lease_and_scores(widget, cases):
    cases.scores = {"a": {"clap_attention": score(0.75), "few_shot_localization": score(9.0, relative=1.25)}}
    cases.leases["c"] = ("bob", "another panel")
    cases.events["b"] = [
        {
            "event_id": "00000000-0000-4000-8000-000000000001",
            "image": "b",
            "reviewer": "cleo",
            "action": "case_normal",
            "utc": "2025-03-04T05:06:07Z",
        }
    ]
    sign_in(widget, cases)
    told = lines(widget.ui.worklistTable)
    assert told[0] == ["a", "New", "", "0.75, 1.25 x threshold"]
    assert told[1][:2] == ["b", "normal"]
    assert told[1][2].startswith("cleo, 2025-03-04 ")
    assert told[2] == ["c", "Open elsewhere", "bob", ""]
    assert widget.ui.worklistTable.item(2, 0).background().color().name() == "#fff3cd"
    assert widget.ui.worklistTable.item(1, 0).background().color().name() == "#d1e7dd"


def test_the_buttons_go_from_case_to_case(widget, cases):
    ui = widget.ui
    assert not ui.nextCaseButton.isEnabled()
    sign_in(widget, cases)
    assert ui.tabs.currentWidget() is ui.casesTab
    ui.nextCaseButton.click()
    settle(widget)
    assert ui.tabs.currentWidget() is ui.reviewTab
    assert ui.caseLabel.text() == "a  \u00b7  1 of 4  \u00b7  seen as Brain MRI  \u00b7  no verdict yet"
    assert ui.worklistTable.item(0, 0).font().bold()
    ui.nextCaseButton.click()
    settle(widget)
    assert ui.caseLabel.text().startswith("b  \u00b7  2 of 4")
    ui.previousCaseButton.click()
    settle(widget)
    assert widget.presenter.state.case.image == "a"
    open_case(widget, "d")
    assert widget.presenter.state.case.image == "d"
    ui.closeCaseButton.click()
    settle(widget)
    assert cases.leases == {}
    assert ui.caseLabel.text() == "No case is open"


@pytest.mark.parametrize(("place", "shown"), [(0, ["a", "b", "c", "d"]), (2, ["a", "b", "c", "d"]), (5, [])])
def test_filter_and_search_boxes(widget, cases, place, shown):
    sign_in(widget, cases)
    widget.ui.filterCombo.setCurrentIndex(place)
    assert [line[0] for line in lines(widget.ui.worklistTable)] == shown
    widget.ui.searchEdit.setText("B")
    assert [line[0] for line in lines(widget.ui.worklistTable)] == [name for name in shown if name == "b"]


def test_the_order_box_asks_for_that_order(widget, cases):
    cases.scores = {"d": {"clap_attention": score(0.9)}}
    sign_in(widget, cases)
    orders = [widget.ui.orderCombo.itemText(place) for place in range(widget.ui.orderCombo.count())]
    assert orders == [
        "By name",
        "Random",
        "Most anomalous first",
        "Most uncertain first",
        "Methods disagree most first",
    ]
    widget.ui.orderCombo.setCurrentIndex(2)
    settle(widget)
    assert [line[0] for line in lines(widget.ui.worklistTable)] == ["d", "a", "b", "c"]


def test_the_cases_are_scored_as_the_ask_tab_stands(widget, cases):
    sign_in(widget, cases)
    ui = widget.ui
    assert not ui.cancelScoringButton.isEnabled()
    ui.startScoringButton.click()
    settle(widget)
    assert cases.asked["scoring"] == {
        "config": "brain_mri",
        "backbone": "embedded",
        "positive": ["Glioma"],
        "negative": ["Normal"],
    }
    assert ui.scoringLabel.text() == "clap_attention for brain_mri: learning, 25 %, about 2 min left in this step"
    assert not ui.scoringBar.isHidden()
    cases.scores = {"c": {"clap_attention": score(0.9)}}
    ui.cancelScoringButton.click()
    settle(widget)
    assert ui.scoringLabel.text() == "clap_attention for brain_mri: Cancelled after 1 of 4 steps."
    assert ui.scoringBar.isHidden()
    assert wait_for(lambda: lines(ui.worklistTable)[2][3] == "0.90", 5)


def test_an_older_server_has_no_worklist_and_says_why(widget, cases):
    from small_server import DATASTORE, INFO

    cases.served.answer_json("/info/", INFO)
    cases.served.answer_json("/datastore/", DATASTORE)
    connect(widget, cases)
    assert "is older than this extension" in widget.ui.serverNotice.text()
    assert "runs work, reviewing does not" in widget.ui.serverNotice.text()
    assert widget.ui.runButton.isEnabled()
    widget.presenter.worklist.open("a")
    settle(widget)
    assert "does not take reviews" in widget.ui.noticeLabel.text()
    assert cases.served.asked("GET", "/worklist") == []

"""The settings: kept between two panels, used at once, and a login that fails in plain words."""

from __future__ import annotations

import pytest
from panel_examples import connect, lines, open_case, settle, sign_in
from slicer_headless.panel import panel_widget

MARKUP = '<img src="http://127.0.0.1:1/x.png"><b>bold</b>'


def test_settings_are_kept_between_two_panels(headless, widget, cases, tmp_path):
    ui = widget.ui
    ui.reviewerEdit.setText("anna")
    ui.tokenEdit.setText("t0ken")
    ui.tokenEdit.editingFinished.emit()
    ui.sizeCombo.setCurrentIndex(1)
    ui.connectTime.setValue(3)
    ui.answerTime.setValue(9)
    ui.resultTime.setValue(90)
    ui.readingFirstCheck.setChecked(True)
    ui.runOnOpenCheck.setChecked(False)
    connect(widget, cases)
    first = widget.presenter.settings
    with panel_widget(headless, tmp_path / "settings.ini") as again:
        kept, ui = again.presenter.settings, again.ui
        assert kept == first
        assert (kept.reviewer, kept.token, kept.compact) == ("anna", "t0ken", True)
        assert (kept.connect_s, kept.answer_s, kept.result_s) == (3, 9, 90)
        assert (kept.reading_first, kept.run_on_open) == (True, False)
        assert ui.serverAddress.currentText() == cases.url
        assert ui.reviewerEdit.text() == "anna"
        assert ui.tokenEdit.text() == "t0ken"
        assert ui.sizeCombo.currentIndex() == 1
        assert ui.resultTime.value() == 90
        assert ui.readingFirstCheck.isChecked()
        assert not ui.runOnOpenCheck.isChecked()
        assert again.presenter.state.reading_first


def test_the_last_addresses_are_offered_and_none_that_is_none(widget, cases):
    widget.ui.serverAddress.setEditText("not an address")
    widget.ui.testConnectionButton.click()
    settle(widget)
    assert "is not a server address" in widget.ui.serverNotice.text()
    connect(widget, cases)
    offered = [widget.ui.serverAddress.itemText(place) for place in range(widget.ui.serverAddress.count())]
    assert offered == [cases.url, "http://127.0.0.1:8000"]


def test_the_compact_result_is_asked_for_where_that_is_set(widget, cases, view):
    widget.ui.sizeCombo.setCurrentIndex(1)
    sign_in(widget, cases)
    open_case(widget, "a")
    assert b'"compact": true' in cases.served.asked("POST", "/infer")[0].body


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_wrong_login_is_said_and_the_right_one_works(widget, cases, token):
    cases.asks_for = "right"
    widget.ui.tokenEdit.setText(token)
    sign_in(widget, cases)
    cause, remedy = widget.ui.serverNotice.text().split("\n")
    expected = "This login token is not known here." if token else "asks for a login token and none is entered"
    assert expected in cause
    assert "Enter your token" in remedy
    assert widget.presenter.state.server is None
    widget.ui.tokenEdit.setText("right")
    widget.ui.tokenEdit.editingFinished.emit()
    settle(widget)
    assert widget.presenter.state.server is not None
    open_case(widget, "a")
    assert cases.leases["a"][0] == "anna"


def test_a_token_that_is_none_is_said_and_breaks_nothing(widget, cases):
    sign_in(widget, cases)
    widget.ui.tokenEdit.setText("two words")
    widget.ui.tokenEdit.editingFinished.emit()
    assert "holds spaces" in widget.ui.serverNotice.text()
    widget.ui.tokenEdit.setText("")
    widget.ui.tokenEdit.editingFinished.emit()
    settle(widget)
    assert widget.presenter.state.server is not None


def test_a_new_token_goes_to_the_new_address_alone(widget, cases):
    sign_in(widget, cases)
    before = len(cases.served.requests)
    widget.ui.serverAddress.setEditText("http://127.0.0.1:1")
    widget.ui.tokenEdit.setText("secret")
    widget.ui.tokenEdit.editingFinished.emit()
    widget.ui.testConnectionButton.click()
    settle(widget)
    assert "cannot be reached" in widget.ui.serverNotice.text()
    assert [each for each in cases.served.requests[before:] if "Authorization" in each.headers] == []


@pytest.mark.parametrize(
    ("address", "warned"),
    [("http://hospital:8000", True), ("https://hospital", False), ("http://127.0.0.1:8000", False)],
)
def test_a_token_on_plain_http_is_warned_of(widget, address, warned):
    widget.ui.serverAddress.setEditText(address)
    assert widget.ui.tokenWarning.isHidden()
    widget.ui.tokenEdit.setText("t0ken")
    widget.ui.tokenEdit.editingFinished.emit()
    assert widget.ui.tokenWarning.isHidden() is not warned
    assert ("plain HTTP" in widget.ui.tokenWarning.text()) is warned


@pytest.mark.parametrize(
    ("version", "api", "words"),
    [("0.9.0", 1, "of different versions"), ("0.1.0", 2, "too old for the server"), ("0.1.0", None, "is older")],
)
def test_versions_that_do_not_fit_are_told(widget, cases, version, api, words):
    from reviewing_server import REVIEWING_INFO

    ours = {**REVIEWING_INFO["anomalabel"], "version": version, "api": api}
    cases.served.answer_json("/info/", {**REVIEWING_INFO, "anomalabel": ours})
    connect(widget, cases)
    assert words in widget.ui.serverNotice.text()
    assert "update" in widget.ui.serverNotice.text().lower()
    assert widget.ui.versionLabel.text().endswith(f"server {version}")


def test_texts_of_others_are_never_read_as_markup(widget, cases, view, scene):
    from panel_examples import STUDIES, answer, entries

    cases.studies[MARKUP] = STUDIES["a"]
    rows = [{**entry, "label": MARKUP} for entry in entries()]
    cases.served.answer("POST", "/infer/clap_attention", answer(rows, warnings=[MARKUP]))
    sign_in(widget, cases)
    open_case(widget, MARKUP)
    widget.ui.findingsTable.setCurrentCell(0, 0)
    widget.presenter.review.reject(MARKUP)
    settle(widget)
    ui = widget.ui
    assert lines(ui.findingsTable)[0][1] == MARKUP
    assert lines(ui.findingsTable)[0][7] == f"rejected: {MARKUP}"
    assert MARKUP in ui.warningsLabel.text()
    assert ui.caseLabel.text().startswith(MARKUP)
    tips = [ui.findingsTable.item(0, 0).toolTip(), ui.worklistTable.item(0, 0).toolTip()]
    for tip in tips:
        assert "&lt;img src=" in tip
        assert "<img" not in tip
    for label in (ui.warningsLabel, ui.caseLabel, ui.noticeLabel, ui.caseImageLabel):
        assert label.textFormat().name == "PlainText"

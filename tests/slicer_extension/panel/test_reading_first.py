"""Reading first: nothing that the model says is seen before the reader has committed an own verdict."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from AnomaLabelLib.review import line_file
from AnomaLabelLib.scene.nodes import nodes_of_class
from AnomaLabelLib.scene.runs import find_runs
from AnomaLabelLib.scene.studies import find_study
from example_results import nrrd_bytes, report
from panel_examples import MATRIX, WARM, disk_full, entries, lines, open_case, settle, sign_in, values
from reviewing_server import score
from small_server import result_reply


@pytest.fixture
def first(widget, cases, view):
    """The widgets with case a open, its result there, and nothing of it shown."""
    text = json.dumps(
        {**report(values(), entries(), warnings=["The map hardly depends on its prompt."]), "calibrated": True}
    )
    maps = {"uncertainty": nrrd_bytes(np.abs(values()) / 10, MATRIX)}
    cases.served.answer("POST", "/infer/clap_attention", result_reply(text, nrrd_bytes(values(), MATRIX), maps))
    cases.scores = {name: {"clap_attention": score(0.9, 2.25)} for name in "abcd"}
    widget.ui.readingFirstCheck.setChecked(True)
    sign_in(widget, cases)
    open_case(widget, "a")
    return widget


def visible_boxes(scene) -> int:
    return sum(bool(box.GetDisplayNode().GetVisibility()) for box in nodes_of_class(scene, "vtkMRMLMarkupsROINode"))


def test_nothing_of_the_model_is_seen_before_the_own_verdict(first, cases, scene, view):
    ui = first.ui
    assert len(find_runs(scene)) == 1
    assert view.GetBackgroundVolumeID() == find_study(scene, cases.url, "a").GetID()
    assert view.GetForegroundVolumeID() is None
    assert view.GetLabelVolumeID() is None
    assert visible_boxes(scene) == 0
    assert ui.findingsTable.rowCount() == 0
    assert [line[3] for line in lines(ui.worklistTable)] == ["", "", "", ""]
    for label in (
        ui.legendLabel,
        ui.legendNote,
        ui.imageScoreLabel,
        ui.thresholdRuleLabel,
        ui.warningsLabel,
        ui.unseenLabel,
        ui.modelLabel,
        ui.countsLabel,
    ):
        assert label.isHidden(), label.objectName()
        assert label.text() == "", label.objectName()
    assert not ui.thresholdSlider.isEnabled()
    assert not ui.uncertaintyCheck.isEnabled()
    assert not ui.compareCombo.isEnabled()
    assert "own verdict" in ui.hiddenLabel.text()
    assert "Shift + H" in ui.hiddenLabel.text()
    assert ui.noticeLabel.text().startswith("The method has answered.")
    # The number of findings would be a hint as well.
    assert "3" not in ui.noticeLabel.text()


@pytest.mark.parametrize(
    "act",
    [
        lambda presenter: presenter.results.toggle_heatmap(),
        lambda presenter: (presenter.results.toggle_boxes(), presenter.results.toggle_boxes()),
        lambda presenter: presenter.results.show_uncertainty(True),
        lambda presenter: presenter.results.show_instead("uncertainty"),
        lambda presenter: presenter.results.set_threshold(0.2),
        lambda presenter: presenter.results.compare(1),
        lambda presenter: presenter.results.compare(2),
        lambda presenter: presenter.results.refresh(),
        lambda presenter: presenter.findings.next(),
        lambda presenter: presenter.findings.sort("volume"),
        lambda presenter: presenter.review.undo(),
    ],
)
def test_no_key_or_slider_uncovers_it(first, scene, view, act):
    first.presenter.asking.on_study("a", first.presenter.asking.parameters)
    settle(first)
    act(first.presenter)
    assert view.GetForegroundVolumeID() is None
    assert visible_boxes(scene) == 0
    assert first.ui.findingsTable.rowCount() == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLLayoutNode") == 0


def test_findings_are_not_marked_before_the_own_verdict(first, cases):
    for act in (
        first.presenter.editing.add_box,
        first.presenter.editing.begin,
        lambda: first.presenter.editing.add_segment(None, ""),
    ):
        act()
        assert first.ui.noticeLabel.text().startswith("You have not given your own verdict yet.")
        assert "Shift + A" in first.ui.noticeLabel.text()
    assert first.presenter.editing.box is None
    assert not first.ui.addBoxButton.isEnabled()
    assert cases.actions("a") == []


def test_the_own_verdict_is_kept_then_the_hint_is_shown_then_the_case_gets_its_verdict(first, cases, scene, view):
    ui = first.ui
    ui.caseNormalButton.click()
    settle(first)
    assert cases.actions("a") == ["read_normal"]
    assert first.presenter.state.case.own_verdict == "normal"
    assert first.presenter.state.case.verdict == ""
    assert ui.hiddenLabel.isHidden()
    assert "Your own verdict is kept: normal." in ui.noticeLabel.text()
    (run,) = find_runs(scene)
    assert view.GetForegroundVolumeID() == run.heatmap.GetID()
    assert view.GetLabelVolumeID() == run.unseen.GetID()
    assert visible_boxes(scene) == 3
    assert [line[2] for line in lines(ui.findingsTable)] == ["0.90", "0.50", "0.45"]
    assert not ui.legendLabel.isHidden()
    assert "hardly depends" in ui.warningsLabel.text()
    assert ui.thresholdSlider.isEnabled()
    assert ui.thresholdSlider.property("value") == pytest.approx(0.4)
    assert ui.thresholdSlider.property("minimum") == pytest.approx(-0.2)
    ui.caseAbnormalButton.click()
    settle(first)
    assert cases.actions("a") == ["read_normal", "case_abnormal"]
    assert (first.presenter.state.case.own_verdict, first.presenter.state.case.verdict) == ("normal", "abnormal")
    assert ui.undoButton.isEnabled()
    ui.undoButton.click()
    settle(first)
    assert cases.actions("a") == ["read_normal", "case_abnormal", "case_reopened"]
    # What was said before the hint stands.
    assert not ui.undoButton.isEnabled()
    assert not first.presenter.state.case.hidden


def test_the_next_case_is_hidden_again_and_a_case_that_was_read_is_not(first, cases):
    first.act("review.case_abnormal")
    open_case(first, "b")
    assert first.presenter.state.case.hidden
    assert first.ui.findingsTable.rowCount() == 0
    open_case(first, "a")
    assert not first.presenter.state.case.hidden
    assert first.ui.findingsTable.rowCount() == 3


def test_what_another_reader_said_uncovers_nothing(first, cases):
    warm = entries()[0]
    cases.events["b"] = [
        {
            "event_id": "00000000-0000-4000-8000-000000000001",
            "image": "b",
            "reviewer": "bob",
            "action": "accepted",
            "finding_id": warm["id"],
            "before": warm,
            "utc": "2025-03-04T05:06:07Z",
        }
    ]
    open_case(first, "b")
    assert first.presenter.state.case.hidden
    assert first.ui.findingsTable.rowCount() == 0


def test_verdict_and_segments_of_another_reader_wait_too(first, cases, scene):
    mask = nrrd_bytes((values() > 0.4).astype(np.uint8), MATRIX)
    digest = hashlib.sha256(mask).hexdigest()
    cases.masks[digest] = mask
    after = {"mask_sha256": digest, "finding_ids": [WARM], "segments": ["anomaly"]}
    cases.events["b"] = [
        {**said, "event_id": f"00000000-0000-4000-8000-00000000000{number}", "image": "b", "reviewer": "bob"}
        for number, said in enumerate(({"action": "case_abnormal"}, {"action": "segmented", "after": after}))
    ]
    open_case(first, "b")
    (segmentation,) = nodes_of_class(scene, "vtkMRMLSegmentationNode")
    assert not segmentation.GetDisplayNode().GetVisibility()
    assert first.presenter.state.case.verdict == ""
    assert "abnormal" not in first.ui.verdictLabel.text() + first.ui.caseLabel.text()
    assert first.ui.segmentsLabel.text() == ""
    first.act("review.case_normal")
    assert segmentation.GetDisplayNode().GetVisibility()
    assert first.presenter.state.case.verdict == "abnormal"
    assert first.ui.verdictLabel.text().startswith("Verdict: abnormal, by bob")
    assert first.ui.segmentsLabel.text() == "Segments: 1, kept as the label of this case."


def test_a_full_disk_keeps_the_hint_hidden(first, cases, monkeypatch):
    monkeypatch.setattr(line_file.os, "fsync", disk_full)
    first.act("review.case_normal")
    assert "is full" in first.ui.noticeLabel.text()
    assert first.presenter.state.case.hidden
    assert first.ui.findingsTable.rowCount() == 0


def test_switching_it_on_hides_the_scores_of_the_worklist_at_once(widget, cases):
    cases.scores = {"a": {"clap_attention": score(0.9, 2.25)}}
    sign_in(widget, cases)
    assert lines(widget.ui.worklistTable)[0][3] == "2.25 x threshold"
    widget.ui.readingFirstCheck.setChecked(True)
    assert lines(widget.ui.worklistTable)[0][3] == ""
    widget.ui.orderCombo.setCurrentIndex(2)
    settle(widget)
    assert widget.ui.orderCombo.toolTip().startswith("This order is a hint by itself")
    assert lines(widget.ui.worklistTable)[0][3] == ""

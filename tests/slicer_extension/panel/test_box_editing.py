"""Boxes under the reader's hands: edits of findings, and findings of the reader's own."""

from __future__ import annotations

import pytest
from AnomaLabelLib.scene.nodes import nodes_of_class
from panel_examples import (
    CORNER,
    WARM,
    drag,
    last_event,
    settle,
)


def test_dragging_the_box_edits_the_finding(reading, cases):
    reading.select(CORNER)
    reading.press("editing.toggle")
    box = reading.presenter.editing.box
    assert reading.state.findings.edited == CORNER
    assert box.GetDisplayNode().GetHandlesInteractive()
    drag(box, (0, 0, 0), (3, 2, 1))
    following = reading.rows[1].finding
    assert (following.index_min, following.index_max) == ((0, 0, 0), (3, 2, 1))
    assert following.volume_mm3 == pytest.approx(4 * 3 * 2 * 3.0)
    assert cases.actions("a") == []
    reading.press("editing.toggle")
    event = last_event(cases)
    assert (event["action"], event["finding_id"]) == ("edited", CORNER)
    assert (event["before"]["index_max"], event["after"]["index_max"]) == ([1, 1, 1], [3, 2, 1])
    assert event["after"]["score"] == pytest.approx(0.5)
    assert event["after"]["method"] == "clap"
    assert reading.statuses()[CORNER] == "accepted"
    assert "box edited" in reading.rows[1].note
    assert not box.GetDisplayNode().GetHandlesInteractive()
    assert reading.state.findings.edited == ""


def test_leaving_a_box_puts_it_back(reading, cases):
    reading.select(WARM)
    reading.press("editing.toggle")
    box = reading.presenter.editing.box
    before = box.GetSize()
    drag(box, (0, 0, 0), (9, 8, 6))
    assert reading.rows[0].finding.index_max == (9, 8, 6)
    reading.press("editing.drop")
    assert reading.rows[0].finding.index_max == (7, 5, 4)
    assert box.GetSize() == pytest.approx(before)
    assert cases.actions("a") == []


def test_a_box_that_was_not_moved_is_no_edit(reading, cases):
    reading.select(WARM)
    reading.press("editing.toggle")
    reading.press("editing.toggle")
    assert "same voxels" in reading.state.notice.cause
    assert reading.state.findings.edited == WARM
    reading.press("editing.drop")
    assert reading.state.findings.edited == ""
    assert cases.actions("a") == []


def test_a_box_outside_of_the_image_is_said_and_can_be_dragged_back(reading, cases):
    reading.select(WARM)
    reading.press("editing.toggle")
    box = reading.presenter.editing.box
    drag(box, (40, 40, 40), (45, 45, 45))
    assert reading.rows[0].finding.index_max == (7, 5, 4)
    reading.press("editing.toggle")
    assert "outside" in reading.state.notice.cause
    assert reading.state.findings.edited == WARM
    drag(box, (4, 3, 2), (8, 5, 4))
    reading.press("editing.toggle")
    assert last_event(cases)["after"]["index_max"] == [8, 5, 4]


def test_a_box_in_hand_stays_one_edit_while_the_slider_moves(reading, cases):
    reading.select(CORNER)
    reading.press("editing.toggle")
    drag(reading.presenter.editing.box, (0, 0, 0), (3, 2, 1))
    reading.presenter.results.set_threshold(0.7)
    assert CORNER not in reading.statuses()
    reading.press("editing.toggle")
    assert (last_event(cases)["action"], last_event(cases)["finding_id"]) == ("edited", CORNER)
    assert last_event(cases)["before"]["index_max"] == [1, 1, 1]
    assert reading.statuses()[CORNER] == "accepted"


def test_a_missed_finding_is_added_by_a_box(reading, cases, scene):
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    reading.press("editing.add_box")
    box = reading.presenter.editing.box
    drag(box, (7, 7, 0), (9, 8, 1))
    reading.press("editing.add_box")
    assert reading.state.notice.cause == "A box is being dragged."
    reading.press("editing.toggle")
    event = last_event(cases)
    assert (event["action"], event["after"]["origin"]) == ("added", "box")
    assert (event["after"]["index_min"], event["after"]["index_max"]) == ([7, 7, 0], [9, 8, 1])
    assert event["after"]["score"] == pytest.approx(-0.2)
    row = next(row for row in reading.rows if row.user_made)
    assert row.finding.id == event["finding_id"]
    assert (row.status, row.note, row.method) == ("accepted", "drawn by anna", "")
    assert reading.state.findings.selected == row.finding.id
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == count + 1
    reading.press("review.undo")
    assert last_event(cases)["action"] == "withdrawn"
    assert not any(row.user_made for row in reading.rows)


def test_a_fresh_box_that_is_left_leaves_nothing(reading, cases, scene):
    count = scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    reading.press("editing.add_box")
    reading.press("editing.drop")
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == count
    assert cases.actions("a") == []
    assert reading.state.findings.edited == ""


@pytest.mark.parametrize("begin", ["editing.add_box", "editing.toggle"])
def test_a_scene_that_is_closed_under_a_box_leaves_the_panel_usable(reading, scene, begin):
    reading.select(WARM)
    reading.press(begin)
    scene.Clear(False)
    reading.presenter.results.refresh()
    reading.press("editing.toggle")
    assert reading.state.notice.cause == "The image of this case is not in the scene."
    reading.press("editing.drop")
    assert reading.state.findings.edited == ""
    reading.open("a")
    assert len(reading.rows) == 3


def test_a_segment_becomes_a_finding(at_work, cases, scene):
    ui, run = at_work.ui, at_work.presenter.results.run
    ui.addSegmentButton.click()
    assert "No segment is picked." in ui.noticeLabel.text()
    ui.findingsTable.setCurrentCell(0, 0)
    ui.growButton.click()
    segmentation = at_work.presenter.correction.segmentation
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(segmentation)
    editor.SetSelectedSegmentID(segmentation.GetSegmentation().GetNthSegmentID(0))
    ui.addSegmentButton.click()
    settle(at_work)
    event = last_event(cases)
    assert (event["action"], event["after"]["origin"]) == ("added", "segment")
    assert event["after"]["index_min"] == [4, 3, 2]
    assert event["after"]["volume_mm3"] == pytest.approx(36 * 3.0)
    assert run is at_work.presenter.results.run


def test_boxes_tell_what_was_decided(reading, scene):
    reading.select(WARM)
    reading.press("review.accept")
    box = reading.presenter.findings.boxes.box_of(WARM)
    assert box.GetDisplayNode().GetSelectedColor() == pytest.approx((0.0, 0.62, 0.45))
    reading.select(CORNER)
    reading.press("review.reject")
    rejected = reading.presenter.findings.boxes.box_of(CORNER).GetDisplayNode()
    assert rejected.GetOpacity() == pytest.approx(0.4)
    visible = [each for each in nodes_of_class(scene, "vtkMRMLMarkupsROINode") if each.GetDisplayNode().GetVisibility()]
    assert len(visible) == 3


@pytest.mark.parametrize("command", ["review.accept", "review.reject", "review.case_abnormal", "review.undo"])
def test_nothing_is_decided_while_a_box_is_dragged(reading, cases, command):
    reading.select(WARM)
    reading.press("editing.toggle")
    box = reading.presenter.editing.box
    reading.press(command)
    assert reading.state.notice.cause == "A box is being dragged."
    assert reading.presenter.editing.box is box
    assert cases.events.get("a", []) == []
    reading.press("editing.drop")
    assert reading.state.notice.cause == ""


def test_hidden_boxes_are_not_dragged(reading):
    reading.select(WARM)
    reading.press("results.toggle_boxes")
    reading.press("editing.toggle")
    assert reading.state.notice.cause == "The boxes are hidden."
    assert reading.state.notice.remedy.startswith("Show them with O")
    assert reading.presenter.editing.box is None


def test_nothing_to_undo_and_nothing_to_go_to_is_said(reader, reading):
    reading.press("review.undo")
    assert reading.state.notice.cause == "There is nothing to take back or to do again."
    reading.presenter.results.delete_shown()
    reading.press("findings.next")
    assert reading.state.notice.cause == "No finding is listed here."

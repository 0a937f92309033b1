"""Case after case: neither nodes nor choices of one are left in the next, and no act looks through the scene."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene import review_boxes, runs
from AnomaLabelLib.scene.geometry import ijk_to_ras
from panel_examples import CORNER, EDGE, MATRIX, SHAPE, WARM, Reader, drag, last_event, open_case, study

CASES = "abcdefgh"


def kinds(scene) -> Counter:
    """How many nodes of each class."""
    return Counter(node.GetClassName() for node in scene.GetNodes())


def items(scene) -> int:
    """Lines of the Data module's tree."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return tree.GetNumberOfItems()


def read_case(reader) -> None:
    """A day's work on one case."""
    reader.select(WARM)
    reader.press("review.accept")
    reader.select(CORNER)
    reader.press("review.reject", "artefact")
    reader.press("editing.add_box")
    drag(reader.presenter.editing.box, (5, 0, 0), (7, 2, 2))
    reader.press("editing.toggle")
    reader.press("editing.add_box")
    reader.press("editing.drop")
    reader.select(EDGE)
    reader.press("editing.toggle")
    drag(reader.presenter.editing.box, (0, 5, 5), (2, 8, 6))
    reader.press("editing.toggle")
    reader.press("results.set_threshold", 0.1)
    reader.select(WARM)
    reader.press("correction.grow")
    reader.press("correction.send")
    reader.press("review.undo")
    reader.press("review.case_abnormal")
    reader.presenter.asking.on_study(reader.state.case.image, reader.presenter.asking.parameters)
    reader.drain()
    for mode in (1, 2, 0):
        reader.press("results.compare", mode)


def test_the_scene_does_not_grow_with_the_cases(reader, cases, scene, view):
    cases.studies.update({name: study(seed) for seed, name in enumerate(CASES)})
    scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    counts = []
    for name in CASES:
        reader.open(name)
        assert len(reader.rows) >= 3, reader.state.notice
        read_case(reader)
        counts.append((kinds(scene), items(scene)))
    # What the first case brings once and for all, such as the views for comparing, is there from then on.
    assert counts[1:] == counts[1:2] * (len(CASES) - 1)
    reader.press("cases.close")
    left = kinds(scene)
    for kind in ("ScalarVolume", "LabelMapVolume", "Text", "MarkupsROI", "Segmentation"):
        assert left[f"vtkMRML{kind}Node"] == 0, left
    spare = []
    for name in CASES[:3]:
        # What was decided here is shown before a result is there, by boxes that wait unseen for the next case.
        reader.open(name)
        reader.press("cases.close")
        spare.append(kinds(scene) - left)
    assert spare[1:] == spare[:1] * 2
    assert set(spare[0]) <= {"vtkMRMLMarkupsROINode", "vtkMRMLMarkupsROIDisplayNode"}
    for box in scene.GetNodes():
        if box.IsA("vtkMRMLMarkupsROINode"):
            assert (box.GetHideFromEditors(), box.GetSaveWithScene()) == (1, 0)


def test_no_act_looks_through_the_scene(reading, monkeypatch):
    def looked(*_arguments):
        raise AssertionError("all nodes of the scene were looked through")

    reading.select(WARM)
    for module in (review_boxes, runs):
        monkeypatch.setattr(module, "owned_nodes", looked)
    reading.press("review.accept")
    reading.press("review.undo")
    reading.press("review.redo")
    reading.press("findings.next")
    reading.press("results.set_threshold", 0.3)
    reading.press("review.case_abnormal")
    assert reading.statuses()[WARM] == "accepted"


def test_a_threshold_that_was_waited_for_is_not_that_of_another_case(reading, cases, scene, tmp_path):
    reading.presenter.results.set_threshold(0.3)
    reading.select(EDGE)
    scene.Clear(False)
    again = Reader(scene, tmp_path / "kept", run_on_open=False, client_id=reading.presenter.settings.client_id)
    again.presenter.resume()
    again.drain()
    assert again.state.case.image == "a"
    again.open("b")
    again.presenter.asking.on_study("b", again.presenter.asking.parameters)
    again.drain()
    assert again.state.run.threshold == pytest.approx(0.4)


def test_who_turns_to_a_finding_is_not_led_away_by_the_last_session(reading, scene, cases, tmp_path):
    reading.select(EDGE)
    reading.press("review.accept")
    reading.select(CORNER)
    scene.Clear(False)
    again = Reader(scene, tmp_path / "kept", run_on_open=False, client_id=reading.presenter.settings.client_id)
    again.presenter.resume()
    again.drain()
    assert [row.finding.id for row in again.rows] == [EDGE]
    again.select(EDGE)
    again.presenter.asking.on_study("a", again.presenter.asking.parameters)
    again.drain()
    assert CORNER in again.statuses()
    assert again.state.findings.selected == EDGE


def test_a_reason_is_not_carried_into_the_next_case(at_work, cases):
    assert at_work.ui.reasonCombo.count() == 3
    at_work.ui.reasonCombo.setCurrentIndex(1)
    open_case(at_work, "b")
    assert at_work.ui.reasonCombo.currentIndex() == 0
    at_work.ui.findingsTable.setCurrentCell(0, 0)
    at_work.act("review.reject")
    assert at_work.presenter.state.findings.rows[0].note == ""


def test_a_closed_case_leaves_no_segments_to_open(at_work, monkeypatch):
    at_work.ui.findingsTable.setCurrentCell(0, 0)
    at_work.ui.growButton.click()
    assert at_work.ui.openEditorButton.isEnabled()
    at_work.presenter.cases.close()
    assert not at_work.ui.openEditorButton.isEnabled()
    assert not at_work.ui.sendSegmentsButton.isEnabled()


def test_boxes_and_labels_without_a_result_count_voxels_as_the_server_does(reader, cases, scene, view, tmp_path):
    """The studies here are left-handed files, which MRML's general reader counts from the other end."""
    reader.presenter.asking.parameters = None
    reader.open("a")
    source = reader.presenter.cases.source
    np.testing.assert_allclose(ijk_to_ras(source), MATRIX, atol=1e-4)
    brightness = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(source), brightness)
    reader.press("editing.add_box")
    drag(reader.presenter.editing.box, (4, 3, 1), (7, 5, 2))
    reader.press("editing.toggle")
    row = last_event(cases)["after"]
    assert (row["index_min"], row["index_max"]) == ([4, 3, 1], [7, 5, 2])
    np.testing.assert_allclose(row["center_ras"], (MATRIX @ [5.5, 4, 1.5, 1])[:3], atol=1e-3)


def test_the_next_reader_does_not_act_under_the_name_of_the_one_before(reading, cases):
    settings = reading.presenter.settings
    reading.presenter.apply_settings(dataclasses.replace(settings, compact=True))
    assert reading.state.case.image == "a"
    reading.presenter.apply_settings(dataclasses.replace(settings, reviewer="bob"))
    reading.drain()
    assert reading.state.notice.cause == "a is closed: another reader is at work now."
    assert reading.state.notice.remedy == "Open it again to review it under the new name."
    assert cases.leases == {}
    reading.open("a")
    reading.select(WARM)
    reading.press("review.accept")
    assert last_event(cases)["reviewer"] == "bob"

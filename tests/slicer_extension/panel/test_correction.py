"""From a finding to the label of its case: grown, corrected, sent with the mask ahead of the act."""

from __future__ import annotations

import hashlib

import nrrd
import numpy as np
import pytest
import slicer
from panel_examples import CORNER, WARM, open_case, settle, values
from vtk.util import numpy_support


def sent_labels(cases, tmp_path) -> np.ndarray:
    """(Z, Y, X) of the mask that the server holds."""
    (content,) = cases.masks.values()
    path = tmp_path / "sent.nrrd"
    path.write_bytes(content)
    return nrrd.read(str(path))[0].T


def test_a_finding_is_grown_and_sent_and_the_mask_arrives_before_its_act(reading, cases, tmp_path):
    reading.press("correction.send")
    assert reading.state.notice.cause == "This case has no segment yet."
    reading.select(WARM)
    reading.press("correction.grow")
    assert (reading.state.case.segments, reading.state.case.segments_sent) == (1, False)
    reading.select(CORNER)
    reading.press("correction.grow")
    reading.press("correction.send")
    assert reading.state.notice.cause == "The label is kept. Segments: 2, voxels: 44."
    assert reading.state.case.segments_sent
    (event,) = cases.events["a"]
    assert event["action"] == "segmented"
    assert event["after"]["finding_ids"] == [WARM, CORNER]
    assert event["after"]["segments"] == ["anomaly", "anomaly"]
    (digest,) = cases.masks
    assert event["after"]["mask_sha256"] == digest == hashlib.sha256(cases.masks[digest]).hexdigest()
    assert [kind for kind, _what in cases.arrivals] == ["mask", "a"]
    expected = np.zeros(values().shape, int)
    expected[2:5, 3:6, 4:8] = 1
    expected[0:2, 0:2, 0:2] = 2
    np.testing.assert_array_equal(sent_labels(cases, tmp_path), expected)


def test_what_was_corrected_is_sent_and_growing_keeps_it(reading, cases, tmp_path):
    reading.select(WARM)
    reading.press("correction.grow")
    segmentation = reading.presenter.correction.segmentation
    segment_id = segmentation.GetSegmentation().GetNthSegmentID(0)
    shared = segmentation.GetBinaryLabelmapInternalRepresentation(segment_id)
    voxels = numpy_support.vtk_to_numpy(shared.GetPointData().GetScalars())
    first = np.flatnonzero(voxels)[0]
    voxels[first] = 0
    shared.Modified()
    reading.press("correction.grow")
    assert "corrected by hand and is kept" in reading.state.notice.cause
    reading.press("correction.send")
    assert np.count_nonzero(sent_labels(cases, tmp_path)) == 35


def test_without_network_the_mask_waits_with_its_act(reading, cases):
    cases.served.gone = True
    reading.select(WARM)
    reading.press("correction.grow")
    reading.press("correction.send")
    assert reading.state.outbox.pending == 1
    assert cases.masks == {}
    cases.served.gone = False
    reading.wait(5)
    assert len(cases.masks) == 1
    assert cases.actions("a") == ["segmented"]


def test_the_same_mask_is_not_sent_twice(reading, cases):
    reading.select(WARM)
    reading.press("correction.grow")
    reading.press("correction.send")
    reading.press("correction.send")
    assert reading.state.notice.cause == "This very mask was sent already."
    assert cases.actions("a") == ["segmented"]


def test_the_threshold_of_the_slider_is_that_of_growing(reading, cases, tmp_path):
    reading.select(WARM)
    # An accepted box stays as it is, and only the region inside it shrinks.
    reading.press("review.accept")
    reading.presenter.results.set_threshold(0.7)
    reading.select(WARM)
    reading.press("correction.grow")
    reading.press("correction.send")
    np.testing.assert_array_equal(np.argwhere(sent_labels(cases, tmp_path)), [[3, 4, 5]])


def test_segments_that_were_not_sent_come_back_with_their_case(reading, scene):
    reading.select(WARM)
    reading.press("correction.grow")
    segmentation = reading.presenter.correction.segmentation
    reading.open("b")
    assert reading.state.case.segments == 0
    assert reading.presenter.correction.segmentation is None
    assert not segmentation.GetDisplayNode().GetVisibility()
    reading.open("a")
    assert (reading.state.case.segments, reading.state.case.segments_sent) == (1, False)
    assert reading.presenter.correction.segmentation is segmentation
    assert segmentation.GetDisplayNode().GetVisibility()
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


@pytest.mark.parametrize("selected", [False, True])
def test_growing_without_finding_or_result_says_what_is_missing(reader, cases, selected, view):
    from AnomaLabelLib.panel.presenter import Presenter

    assert isinstance(reader.presenter, Presenter)
    reader.open("a")
    if selected:
        reader.select(WARM)
        reader.press("review.accept")
        reader.select(WARM)
        reader.presenter.results.delete_shown()
    reader.press("correction.grow")
    expected = "This case has no result to grow a segment from." if selected else "No finding is selected."
    assert reader.state.notice.cause == expected


def test_the_buttons_of_the_correction(at_work, cases, monkeypatch):
    ui = at_work.ui
    opened = []
    monkeypatch.setattr(at_work._review, "_open_editor", opened.append)
    assert not ui.sendSegmentsButton.isEnabled()
    assert not ui.growButton.isEnabled()
    ui.findingsTable.setCurrentCell(0, 0)
    ui.growButton.click()
    assert ui.segmentsLabel.text() == "Segments: 1, not sent as label yet."
    ui.openEditorButton.click()
    assert opened == [at_work.presenter.correction.segmentation]
    ui.sendSegmentsButton.click()
    settle(at_work)
    assert ui.segmentsLabel.text() == "Segments: 1, kept as the label of this case."
    assert cases.actions("a") == ["segmented"]
    open_case(at_work, "b")
    assert ui.segmentsLabel.isHidden()
    # The server has them; what was not sent stays, see below.
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_sent_segments_come_back_with_their_case(reading, cases, scene):
    reading.select(WARM)
    reading.press("correction.grow")
    reading.press("correction.send")
    reading.open("b")
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    reading.open("a")
    assert (reading.state.case.segments, reading.state.case.segments_sent) == (1, True)
    reading.select(WARM)
    reading.press("correction.send")
    assert reading.state.notice.cause == "This very mask was sent already."


def test_segments_that_were_not_sent_wait_out_of_sight(reading, scene):
    reading.select(WARM)
    reading.press("correction.grow")
    segmentation = reading.presenter.correction.segmentation
    reading.open("b")
    assert segmentation.GetScene() is scene
    assert not segmentation.GetDisplayVisibility()
    assert reading.state.case.segments == 0
    reading.open("a")
    assert segmentation.GetDisplayVisibility()
    assert (reading.state.case.segments, reading.state.case.segments_sent) == (1, False)


def test_a_mask_that_the_server_lost_does_not_keep_its_case_closed(reading, cases):
    reading.select(WARM)
    reading.press("correction.grow")
    reading.press("correction.send")
    cases.masks.clear()
    reading.open("b")
    reading.open("a")
    assert reading.state.case.image == "a"
    assert reading.state.case.segments == 0

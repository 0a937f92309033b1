"""The findings table: sorting, jumping, following the threshold."""

from __future__ import annotations

import numpy as np
import pytest
from AnomaLabelLib.scene.heatmap import shown_threshold
from panel_examples import CORNER, EDGE, MATRIX, WARM, answer, crosshair, drag, entries, lines, settle, world

PEAKS = {WARM: (5, 4, 3), CORNER: (0, 0, 0), EDGE: (0, 6, 5)}


def ids(reader) -> list[str]:
    return [row.finding.id for row in reader.rows]


@pytest.mark.parametrize(
    ("column", "falling"),
    [
        ("score", [WARM, CORNER, EDGE]),
        ("volume", [WARM, EDGE, CORNER]),
        ("slice", [EDGE, WARM, CORNER]),
        ("status", [CORNER, EDGE, WARM]),
    ],
)
def test_a_column_sorts_and_again_turns_the_order_round(reading, column, falling):
    reading.select(CORNER)
    reading.press("review.reject")
    reading.select(EDGE)
    reading.press("review.accept")
    # By score it is sorted at the start, so the first press turns that round.
    if column == "score":
        reading.presenter.findings.sort(column)
    reading.presenter.findings.sort(column)
    assert ids(reading) == falling
    assert [row.number for row in reading.rows] == [1, 2, 3]
    reading.presenter.findings.sort(column)
    assert ids(reading) == falling[::-1]


def test_next_and_previous_jump_all_views_to_the_peak_and_go_round(reading, scene):
    views = [scene.AddNewNodeByClass("vtkMRMLSliceNode") for _view in range(3)]
    for view, orientation in zip(views, ("Axial", "Sagittal", "Coronal"), strict=True):
        view.SetLayoutName(orientation)
        view.SetOrientation(orientation)
    seen = []
    for command in ("next", "next", "next", "next", "previous", "previous"):
        reading.press(f"findings.{command}")
        finding_id = reading.state.findings.selected
        seen.append(finding_id)
        peak = world(PEAKS[finding_id])
        np.testing.assert_allclose(crosshair(scene), peak, atol=1e-3)
        for view, axis in zip(views, (2, 0, 1), strict=True):
            assert view.GetSliceToRAS().GetElement(axis, 3) == pytest.approx(peak[axis], abs=1e-3)
    assert seen == [WARM, CORNER, EDGE, WARM, EDGE, CORNER]


def test_the_threshold_moves_boxes_and_table_without_a_request_and_reviewed_ones_stay(reading, cases):
    reading.select(EDGE)
    reading.press("review.accept")
    before = len(cases.served.requests)
    boxes = reading.presenter.findings.boxes
    reading.presenter.results.set_threshold(0.55)
    assert ids(reading) == [WARM, EDGE]
    assert reading.state.findings.counts == (1, 1, 0)
    assert boxes.box_of(CORNER) is None
    assert boxes.box_of(EDGE).GetDisplayNode().GetVisibility()
    assert shown_threshold(reading.presenter.results.run.heatmap) == pytest.approx(0.55)
    reading.presenter.results.set_threshold(0.7)
    (warm, edge) = (row.finding for row in reading.rows)
    # One voxel is above 0.7: it keeps the finding's id.
    assert (warm.id, warm.index_min, warm.index_max) == (WARM, (5, 4, 3), (5, 4, 3))
    assert edge.index_max == (2, 8, 6)
    reading.presenter.results.set_threshold(0.4)
    assert ids(reading) == [WARM, CORNER, EDGE]
    assert reading.rows[0].finding.index_max == (7, 5, 4)
    assert len(cases.served.requests) == before


def test_a_region_that_becomes_smaller_than_the_smallest_finding_is_not_listed(reader, cases, view):
    cases.served.answer("POST", "/infer/clap_attention", answer(minimum_volume_mm3=24.0))
    reader.open("a")
    reader.presenter.results.set_threshold(0.7)
    assert reader.rows == ()
    reader.presenter.results.set_threshold(0.55)
    assert ids(reader) == [WARM]


def test_the_table_shows_number_label_score_uncertainty_volume_slice_method_status(at_work, scene):
    ui = at_work.ui
    assert lines(ui.findingsTable) == [
        ["1", "anomaly", "0.90", "", "108", "3", "clap", "open"],
        ["2", "anomaly", "0.50", "", "24", "0", "clap", "open"],
        ["3", "anomaly", "0.45", "", "54", "5", "clap", "open"],
    ]
    ui.findingsTable.setCurrentCell(2, 0)
    np.testing.assert_allclose(crosshair(scene), world((0, 6, 5)), atol=1e-3)
    header = ui.findingsTable.horizontalHeader()
    header.sectionClicked.emit(4)
    assert [line[4] for line in lines(ui.findingsTable)] == ["108", "54", "24"]
    assert ui.findingsTable.currentRow() == 1
    header.sectionClicked.emit(4)
    assert [line[4] for line in lines(ui.findingsTable)] == ["24", "54", "108"]
    ui.thresholdSlider.setValue(0.55)
    assert [line[2] for line in lines(ui.findingsTable)] == ["0.90"]
    assert ui.countsLabel.text() == "1 open, 0 accepted, 0 rejected."
    assert ui.findingsTable.currentRow() == -1


def test_a_dragged_box_is_followed_in_the_table_and_nothing_is_sent(at_work, cases):
    ui = at_work.ui
    ui.findingsTable.setCurrentCell(1, 0)
    at_work.act("editing.toggle")
    before = len(cases.served.asked("POST"))
    drag(at_work.presenter.editing.box, (0, 0, 0), (5, 4, 3))
    assert lines(ui.findingsTable)[1][2:6] == ["0.90", "", f"{6 * 5 * 4 * 3:,}", "3"]
    at_work.act("editing.drop")
    assert lines(ui.findingsTable)[1][2:6] == ["0.50", "", "24", "0"]
    settle(at_work)
    assert len(cases.served.asked("POST")) == before


def test_two_hundred_findings_are_listed_and_what_is_left_out_is_told(at_work, cases, scene):
    import json

    from example_results import finding, nrrd_bytes, report
    from panel_examples import open_case
    from small_server import result_reply

    dots = np.full((21, 21, 21), -0.2, np.float32)
    dots[::2, ::2, ::2] = np.linspace(0.5, 0.9, 11**3, dtype=np.float32).reshape(11, 11, 11)
    cases.studies["e"] = ("e.nrrd", nrrd_bytes(np.ones(dots.shape, np.float32), MATRIX))
    first = [finding(MATRIX, (20, 20, 20), (20, 20, 20), score=0.9)]
    cases.served.answer(
        "POST", "/infer/clap_attention", result_reply(json.dumps(report(dots, first)), nrrd_bytes(dots, MATRIX))
    )
    at_work.ui.refreshButton.click()
    settle(at_work)
    open_case(at_work, "e")
    assert at_work.ui.findingsTable.rowCount() == 1
    at_work.ui.thresholdSlider.setValue(0.45)
    assert at_work.ui.findingsTable.rowCount() == 200
    assert f"{11**3 - 200} further regions" in at_work.ui.countsLabel.text()


def test_entries_are_what_the_map_shows():
    """The example itself: the server's findings are the regions above its threshold."""
    from panel_examples import values
    from scipy import ndimage

    labelled, count = ndimage.label(np.nan_to_num(values(), nan=-1) > 0.4, np.ones((3, 3, 3)))
    found = {
        (tuple(part.start for part in place[::-1]), tuple(part.stop - 1 for part in place[::-1]))
        for place in ndimage.find_objects(labelled)
    }
    assert count == 3
    assert found == {(tuple(each["index_min"]), tuple(each["index_max"])) for each in entries()}

"""Opening and leaving cases: lease, image, what readers decided before, and what of the scene stays."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import slicer
from AnomaLabelLib.scene.geometry import ijk_to_ras
from AnomaLabelLib.scene.runs import find_runs
from AnomaLabelLib.scene.studies import find_study, study_name
from example_results import volume_node
from panel_examples import CORNER, EDGE, MATRIX, SHAPE, WARM, Reader, answer, crosshair, entries, world
from small_server import Reply


def kept(event_id: int, action: str, **values) -> dict:
    """An event as the server holds it."""
    return {
        "event_id": f"00000000-0000-4000-8000-{event_id:012d}",
        "image": "a",
        "reviewer": "bob",
        "action": action,
        "utc": "2025-03-04T05:06:07Z",
        **values,
    }


def test_a_case_is_taken_fetched_and_shown(reader, cases, scene, view):
    reader.open("a")
    assert cases.leases == {"a": ("anna", reader.presenter.settings.client_id)}
    source = find_study(scene, cases.url, "a")
    i, j, k = (np.linalg.inv(ijk_to_ras(source)) @ [*world((3, 2, 1)), 1])[:3].round().astype(int)
    assert slicer.util.arrayFromVolume(source)[k, j, i] == 1 * 90 + 2 * 10 + 3
    (run,) = find_runs(scene)
    assert view.GetBackgroundVolumeID() == source.GetID()
    assert view.GetForegroundVolumeID() == run.heatmap.GetID()
    assert reader.state.case.image == "a"
    assert [row.finding.id for row in reader.rows] == [WARM, CORNER, EDGE]
    assert reader.state.findings.counts == (3, 0, 0)


def test_what_readers_decided_before_comes_with_the_case(reader, cases):
    warm, corner, _edge = entries()
    cases.events["a"] = [
        kept(1, "accepted", finding_id=WARM, before=warm),
        kept(2, "rejected", finding_id=CORNER, before=corner, reason="artefact"),
        kept(3, "case_abnormal"),
    ]
    reader.open("a")
    assert reader.statuses() == {WARM: "accepted", CORNER: "rejected", EDGE: "open"}
    assert reader.rows[1].note == "artefact"
    assert reader.state.case.verdict == "abnormal"
    assert reader.state.case.verdict_text.startswith("Verdict: abnormal, by bob 2025-03-04")
    # Nothing of it was anna's, so she has nothing to take back.
    assert reader.state.case.undo == ""


def test_a_case_that_somebody_has_open_is_not_opened_and_the_open_one_stays(reading, cases):
    cases.leases["b"] = ("bob", "another panel")
    reading.open("b")
    assert reading.state.notice.cause.startswith("bob has this case open until")
    assert reading.state.notice.remedy == "Press Next for the next free case."
    assert reading.state.case.image == "a"
    assert set(cases.leases) == {"a", "b"}
    assert len(reading.rows) == 3


def test_the_next_case_gives_the_last_one_back_and_takes_its_nodes_away(reading, cases, scene, view):
    before = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    reading.open("b")
    assert set(cases.leases) == {"b"}
    assert find_study(scene, cases.url, "a") is None
    assert [run.source.GetName() for run in find_runs(scene)] == ["b"]
    assert view.GetBackgroundVolumeID() == find_study(scene, cases.url, "b").GetID()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == before


def test_the_users_own_volumes_and_a_prior_in_its_own_view_stay(reader, cases, scene):
    prior = volume_node(scene, np.ones(SHAPE, np.int16), MATRIX, "Prior")
    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _view in range(2)]
    views[0].SetLayoutName("Red")
    views[1].SetLayoutName("Yellow")
    views[1].SetBackgroundVolumeID(prior.GetID())
    views[1].SetLinkedControl(True)
    for image in ("a", "b", "c"):
        reader.open(image)
        assert views[0].GetBackgroundVolumeID() == find_study(scene, cases.url, image).GetID()
        assert views[1].GetBackgroundVolumeID() == prior.GetID()
        assert views[1].GetForegroundVolumeID() is None
        assert views[1].GetLinkedControl()
    reader.press("cases.close")
    assert scene.GetNodeByID(prior.GetID()) is prior
    assert find_runs(scene) == []
    assert cases.leases == {}
    assert reader.state.case.image == ""
    assert reader.rows == ()


def test_a_result_of_another_image_is_not_reviewed_under_the_open_case(reading, scene):
    prior = volume_node(scene, np.ones(SHAPE, np.int16), MATRIX, "Prior")
    shown = reading.state.run.id
    reading.presenter.asking.on_volume(prior, reading.presenter.asking.parameters)
    reading.drain()
    assert len(find_runs(scene)) == 2
    assert reading.state.run.id == shown
    assert [run_id for run_id, _name in reading.state.runs] == [shown]
    assert "another image than the open case a" in reading.state.notice.cause
    reading.presenter.results.show(find_runs(scene)[1].id)
    assert reading.state.run is None
    reading.press("cases.close")
    assert [run.source.GetName() for run in find_runs(scene)] == ["Prior"]
    assert reading.state.run.name == find_runs(scene)[0].name


def test_the_users_own_volume_becomes_a_case_and_stays(reader, cases, scene):
    own = volume_node(scene, np.full(SHAPE, 7, np.int16), MATRIX, "Own")
    reader.presenter.asking.add_case(own)
    reader.drain()
    assert "Own" in cases.studies
    assert "Own is a case of the worklist now." in reader.state.notice.cause
    reader.open("Own")
    assert reader.presenter.cases.source is own
    assert not cases.served.asked("GET", "/datastore/image")
    reader.open("a")
    assert scene.GetNodeByID(own.GetID()) is own


def test_the_lease_is_renewed_while_the_case_is_open_and_its_loss_is_said(reading, cases):
    before = len(cases.served.asked("POST", "/worklist/a/lease"))
    reading.wait(299)
    assert len(cases.served.asked("POST", "/worklist/a/lease")) == before
    reading.wait(2)
    assert len(cases.served.asked("POST", "/worklist/a/lease")) == before + 1
    cases.leases["a"] = ("bob", "another panel")
    reading.wait(301)
    assert reading.state.notice.cause.startswith("bob has this case open")
    assert reading.state.notice.is_error
    assert reading.state.case.image == "a"


def test_without_a_name_nothing_is_opened(scene, cases, tmp_path):
    reader = Reader(scene, tmp_path, reviewer="")
    reader.connect(cases)
    reader.open("a")
    assert reader.state.notice.cause == "Nobody knows who reviews."
    assert "under Settings" in reader.state.notice.remedy
    assert cases.leases == {}


@pytest.mark.parametrize(
    ("path", "reply", "word"),
    [
        ("/reviews/a", Reply(b"<html><body>Sign in</body></html>", content_type="text/html"), "sent no JSON"),
        ("/reviews/a", Reply(b'{"image": "a"'), "sent no JSON"),
        ("/reviews/a", Reply(b"{}", 200, stated_length=500), "middle of the answer"),
        ("/datastore/image", Reply(b"no image"), "cannot be read as an image"),
        ("/datastore/image", Reply(b"", 500), "HTTP 500"),
    ],
)
def test_a_case_that_cannot_be_had_leaves_panel_and_scene_as_they_were(reading, cases, scene, path, reply, word):
    before = scene.GetNumberOfNodes()
    cases.served.answer("GET", path.replace("/a", "/b"), reply)
    reading.open("b")
    assert reading.state.notice.is_error
    assert word in reading.state.notice.cause, reading.state.notice
    assert reading.state.notice.remedy
    assert reading.state.case.image == "a"
    assert len(reading.rows) == 3
    assert scene.GetNumberOfNodes() == before
    del cases.served.replies["GET", path.replace("/a", "/b")]
    reading.open("b")
    assert reading.state.case.image == "b"


def test_a_new_panel_on_the_same_folder_goes_on_at_the_same_finding(reading, cases, headless, tmp_path):
    reading.select(WARM)
    reading.press("review.accept")
    reading.presenter.worklist.set_order("most_anomalous")
    reading.drain()
    reading.presenter.worklist.set_search("a")
    reading.presenter.results.set_threshold(0.3)
    reading.select(EDGE)
    # Killed: nothing is closed, the scene is gone.
    reading.scene.Clear(False)
    again = Reader(reading.scene, tmp_path / "kept", parameters=None, client_id=reading.presenter.settings.client_id)
    again.presenter.resume()
    again.drain()
    assert again.state.address == cases.url
    assert again.state.case.image == "a"
    assert again.statuses() == {WARM: "accepted", CORNER: "open", EDGE: "open"}
    assert again.state.findings.selected == EDGE
    assert again.state.run.threshold == 0.3
    np.testing.assert_allclose(crosshair(again.scene), world((0, 6, 5)), atol=1e-3)
    assert (again.state.worklist.order, again.state.worklist.search) == ("most_anomalous", "a")
    assert cases.leases["a"][1] == reading.presenter.settings.client_id
    assert cases.actions("a") == ["accepted"]
    assert again.state.case.undo == "accept anomaly"


def test_a_closed_case_is_not_resumed(reading, scene, tmp_path):
    reading.press("cases.close")
    again = Reader(scene, tmp_path / "kept")
    again.presenter.resume()
    assert not again.presenter.working
    assert again.state.address == ""


def test_another_server_does_not_get_the_case_of_the_first(reading, cases, scene, tmp_path):
    saved_at = cases.url
    cases.served.gone = True
    again = Reader(scene, tmp_path / "kept", client_id=reading.presenter.settings.client_id)
    again.presenter.resume()
    again.drain()
    assert again.state.server_notice.is_error
    cases.served.gone = False
    again.presenter.connect(saved_at.replace("127.0.0.1", "localhost"))
    again.drain()
    assert again.state.server is not None
    assert again.state.case.image == ""


def test_connecting_elsewhere_gives_the_case_back(reading, cases, scene):
    reading.presenter.connect(cases.url.replace("127.0.0.1", "localhost"))
    reading.drain()
    assert cases.leases == {}
    assert reading.state.case.image == ""
    assert find_runs(scene) == []
    assert reading.state.server is not None


def test_runs_wait_until_they_are_asked_for_where_the_user_wants_that(scene, cases, tmp_path):
    reader = Reader(scene, tmp_path, run_on_open=False)
    reader.connect(cases)
    reader.open("a")
    assert cases.served.asked("POST", "/infer") == []
    assert reader.rows == ()
    cases.served.answer("POST", "/infer/clap_attention", answer([]))
    reader.presenter.asking.on_study("a", reader.presenter.asking.parameters)
    reader.drain()
    assert reader.state.notice.cause == "Nothing above the threshold. That is no proof of health."


def test_the_next_case_comes_at_once_and_the_run_is_left(reading, cases):
    released = threading.Event()
    slow = replace(answer(), wait=lambda: released.wait(8))
    cases.served.answer("POST", "/infer/clap_attention", slow)
    reading.presenter.asking.on_study("a", reading.presenter.asking.parameters)
    reading.presenter.asking.on_study("a", reading.presenter.asking.parameters)
    assert reading.state.notice.cause == "Another request is still running."
    reading.presenter.worklist.next()
    assert reading.state.notice.cause == "Leaving the run for b ..."
    released.set()
    reading.drain()
    assert reading.state.case.image == "b"
    assert [run.source.GetName() for run in find_runs(reading.scene)] == ["b"]


def test_a_box_that_is_being_dragged_is_not_left_behind(reading):
    reading.press("editing.add_box")
    box = reading.presenter.editing.box
    reading.press("worklist.next")
    assert reading.state.case.image == "a"
    assert reading.state.notice.cause == "A box is being dragged."
    assert reading.presenter.editing.box is box
    reading.press("editing.drop")
    reading.press("worklist.next")
    assert reading.state.case.image == "b"


@pytest.mark.parametrize("act", ["close the case", "remove the image", "close the scene"])
def test_a_case_that_is_closed_while_its_run_is_under_way_leaves_nothing(reading, cases, scene, act):
    released = threading.Event()
    cases.served.answer("POST", "/infer/clap_attention", replace(answer(), wait=lambda: released.wait(8)))
    reading.presenter.asking.on_study("a", reading.presenter.asking.parameters)
    if act == "close the case":
        reading.presenter.cases.close()
    elif act == "remove the image":
        scene.RemoveNode(reading.presenter.cases.source)
    else:
        scene.Clear(False)
        reading.presenter.results.refresh()
    before = len(find_runs(scene))
    released.set()
    reading.drain()
    if act == "close the case":
        assert reading.state.notice.cause == "a is closed."
        assert find_runs(scene) == []
    else:
        assert "was closed while the server worked on it" in reading.state.notice.cause
        assert len(find_runs(scene)) == before
    cases.served.answer("POST", "/infer/clap_attention", answer())
    reading.open("a")
    assert reading.statuses() == {WARM: "open", CORNER: "open", EDGE: "open"}


def test_closing_the_scene_says_what_is_kept_and_what_is_gone(reading, cases, scene):
    reading.select(WARM)
    reading.press("review.accept")
    scene.Clear(False)
    reading.presenter.scene_changed()
    reading.drain()
    assert reading.state.notice.cause.startswith("The image of a is not in the scene any more")
    assert "What you decided is kept" in reading.state.notice.remedy
    assert reading.state.case.image == ""
    assert reading.state.case.segments == 0
    reading.open("a")
    assert reading.statuses() == {WARM: "accepted", CORNER: "open", EDGE: "open"}


def test_a_scene_that_was_loaded_leaves_the_case_open(reading, scene):
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "own")
    reading.presenter.scene_changed()
    assert reading.state.case.image == "a"
    assert not reading.state.notice.is_error


def test_a_server_that_is_down_at_the_start_is_no_end_of_the_case(reading, cases, scene, tmp_path):
    folder = tmp_path / "kept"
    reading.select(EDGE)
    cases.served.gone = True
    again = Reader(scene, folder)
    again.presenter.resume()
    again.drain()
    assert again.state.notice.cause == "a was open and comes back as soon as the server answers."
    cases.served.gone = False
    again.connect(cases)
    assert (again.state.case.image, again.state.findings.selected) == ("a", EDGE)


def test_which_anatomy_an_image_was_taken_for_stands_above_everything(at_work):
    assert "seen as Brain MRI" in at_work.ui.caseLabel.text()


@pytest.mark.parametrize(
    ("name", "study"), [("a/b:c", "a_b_c"), ("  .hidden", "hidden"), ("/", "_"), ("...", "volume")]
)
def test_a_volume_gets_a_name_that_a_study_may_have(name, study):
    assert study_name(name) == study


@pytest.mark.parametrize("act", ["another name", "scene closed"])
def test_a_case_that_is_taken_away_under_a_run_is_closed_at_once(reading, cases, scene, act):
    released = threading.Event()
    cases.served.answer("POST", "/infer/clap_attention", replace(answer(), wait=lambda: released.wait(8)))
    reading.presenter.asking.on_study("a", reading.presenter.asking.parameters)
    if act == "another name":
        reading.presenter.apply_settings(replace(reading.presenter.settings, reviewer="bob"))
        expected = "a is closed: another reader is at work now."
    else:
        scene.Clear(False)
        reading.presenter.scene_changed()
        expected = "The image of a is not in the scene any more, and neither are segments that were not sent."
    assert reading.state.case.image == ""
    reading.presenter.review.case_abnormal()
    released.set()
    reading.drain()
    assert reading.state.notice.cause == expected
    assert cases.events.get("a", []) == []
    assert find_runs(scene) == []

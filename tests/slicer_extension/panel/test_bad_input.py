"""Whatever comes in: a message with cause and remedy, and panel and scene that go on working."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from AnomaLabelLib.errors import JournalError
from AnomaLabelLib.review import line_file
from AnomaLabelLib.review.journal import Journal
from AnomaLabelLib.scene.ownership import RUN_ROLE, owned_nodes
from AnomaLabelLib.scene.runs import find_runs
from example_results import nrrd_bytes, volume_node
from panel_examples import CLAP, MATRIX, SHAPE, WARM, Reader, answer, disk_full, open_case
from reviewing_server import REVIEWING_INFO
from small_server import Reply

HTML = Reply(b"<html><body>Sign in</body></html>", content_type="text/html")
HALF = Reply(b'{"models": {}', stated_length=5000)
SLOW = Reply(wait=lambda: time.sleep(2.3))


def refused_with(status: int, words: str) -> Reply:
    return Reply(f'{{"detail": "{words}"}}'.encode(), status)


@pytest.mark.parametrize(
    ("path", "reply", "cause", "remedy"),
    [
        ("/info/", SLOW, "sent nothing for 2 s", "server's log"),
        ("/info/", Reply(hang_up=True), "broke the connection before it answered", "still runs"),
        ("/datastore/", Reply(hang_up=True), "broke the connection before it answered", "still runs"),
        ("/info/", HALF, "in the middle of the answer", "Try again"),
        ("/info/", HTML, "sent no JSON", "address"),
        ("/info/", Reply(b"<html>502</html>", 502, "text/html"), "A proxy in front of the server", "Wait"),
        ("/info/", Reply(b'{"name": "Another app"}'), "not an AnomaLabel server", "address"),
        ("/info/", refused_with(401, "This login token is not known here."), "asks for a login token", "Settings"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_and_the_right_one_connects(
    scene, cases, tmp_path, path, reply, cause, remedy
):
    reader = Reader(scene, tmp_path)
    before = scene.GetNumberOfNodes()
    cases.served.answer("GET", path, reply)
    reader.connect(cases)
    notice = reader.state.server_notice
    assert notice.is_error
    assert cause in notice.cause, notice
    assert remedy in notice.remedy, notice
    assert reader.state.server is None
    reader.open("a")
    assert reader.state.notice.cause == "No server is connected."
    assert scene.GetNumberOfNodes() == before
    del cases.served.replies["GET", path]
    reader.connect(cases)
    reader.open("a")
    assert reader.state.case.image == "a"
    assert len(reader.rows) == 3


def test_nothing_listens_at_the_address(scene, cases, tmp_path):
    reader = Reader(scene, tmp_path)
    reader.presenter.connect("http://127.0.0.1:1")
    reader.drain()
    assert reader.state.server_notice.cause == "http://127.0.0.1:1 cannot be reached."
    assert "address and port" in reader.state.server_notice.remedy
    reader.connect(cases)
    assert reader.state.server is not None


def test_a_server_of_another_interface_shows_no_case_and_says_what_to_update(scene, cases, tmp_path):
    told = {**REVIEWING_INFO["anomalabel"], "version": "9.0.0", "api": 9}
    cases.served.answer_json("/info/", {**REVIEWING_INFO, "anomalabel": told})
    reader = Reader(scene, tmp_path)
    reader.connect(cases)
    assert "too old for the server (9.0.0)" in reader.state.server_notice.cause
    assert reader.state.server_notice.remedy
    reader.open("a")
    assert reader.state.notice.is_error
    assert reader.state.notice.remedy
    assert cases.leases == {}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (HTML, "sent no JSON"),
        (HALF, "in the middle of the answer"),
        (SLOW, "sent nothing for 2 s"),
        (Reply(b"<html>502</html>", 502, "text/html"), "A proxy in front of the server"),
        (Reply(b'{"event_id": "of another event"}'), "another event"),
    ],
)
def test_an_act_is_sent_again_until_the_server_itself_says_that_it_holds_it(reading, cases, reply, why):
    cases.served.answer("POST", "/reviews/a", reply)
    reading.select(WARM)
    reading.press("review.accept")
    assert reading.statuses()[WARM] == "accepted"
    notice = reading.state.outbox.notice
    assert (reading.state.outbox.pending, notice.is_error) == (1, True)
    assert why in notice.cause, notice
    assert notice.remedy == "Go on reviewing; they are sent once the server answers."
    del cases.served.replies["POST", "/reviews/a"]
    reading.wait(60)
    assert cases.actions("a") == ["accepted"]
    assert reading.state.outbox.pending == 0


def segmented(cases, content: bytes) -> dict:
    """The event by which the server holds a mask of case b."""
    digest = hashlib.sha256(content).hexdigest()
    cases.masks[digest] = content
    return {
        "event_id": "00000000-0000-4000-8000-000000000001",
        "image": "b",
        "reviewer": "bob",
        "action": "segmented",
        "utc": "2025-03-04T05:06:07Z",
        "after": {"mask_sha256": digest, "finding_ids": [WARM], "segments": ["anomaly"]},
    }


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (nrrd_bytes(np.ones((4, 9, 10), np.uint8), MATRIX), "lie on different grids"),
        (nrrd_bytes(np.ones(SHAPE, np.float32), MATRIX), "holds no labels"),
        (b"<html>Sign in</html>", "cannot be read as an image"),
    ],
)
def test_a_label_that_does_not_fit_its_image_does_not_keep_the_case_closed(reading, cases, scene, content, cause):
    cases.events["b"] = [segmented(cases, content)]
    reading.open("b")
    assert reading.state.case.image == "b"
    assert len(reading.rows) == 3
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert any(cause in state.notice.cause for state in reading.states if state.case.image == "b")
    reading.wait(301)
    assert cases.leases["b"][0] == "anna"


@pytest.mark.parametrize(
    ("path", "reply"), [("/datastore/image", Reply(b"no image")), ("/reviews/b", HTML), ("/datastore/image", HALF)]
)
def test_a_case_that_cannot_be_shown_is_given_back_and_the_open_one_kept(reading, cases, path, reply):
    cases.served.answer("GET", path, reply)
    reading.open("b")
    assert reading.state.notice.is_error
    assert reading.state.notice.remedy
    reading.wait(1)
    assert {image: holder for image, (holder, _client) in cases.leases.items()} == {"a": "anna"}
    reading.select(WARM)
    reading.press("review.accept")
    assert cases.actions("a") == ["accepted"]


def test_a_folder_that_cannot_be_read_keeps_the_open_case_open(reading, cases, monkeypatch):
    def broken(*_arguments):
        raise JournalError("The acts cannot be read.", "Check that disk.")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "events", broken)
        reading.open("b")
    assert (reading.state.notice.cause, reading.state.notice.remedy) == ("The acts cannot be read.", "Check that disk.")
    assert reading.state.case.image == "a"
    assert len(reading.rows) == 3
    reading.wait(1)
    assert set(cases.leases) == {"a"}
    reading.open("b")
    assert reading.state.case.image == "b"


def test_a_queue_that_cannot_be_read_is_said_and_the_window_is_drawn_on(at_work, cases, monkeypatch):
    asked = []

    def broken(*_arguments):
        asked.append(1)
        raise JournalError("Another program holds the folder.", "Close other windows of Slicer.")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "waiting", broken)
        patch.setattr(Journal, "refused", broken)
        for _second in range(3):
            at_work.presenter.sending.heartbeat()
        assert "Another program holds the folder." in at_work.ui.outboxLabel.text()
        assert "Close other windows" in at_work.ui.outboxLabel.text()
        # Each question may hold the window up, so that it is not put every second.
        assert len(asked) == 1
        at_work.presenter.findings.select(WARM)
        at_work.act("review.accept")
        assert at_work.presenter.state.findings.rows[0].status == "accepted"
        assert at_work.ui.undoButton.isEnabled()
    at_work.presenter.sending.kick()
    open_case(at_work, "b")
    assert cases.actions("a") == ["accepted"]
    assert at_work.ui.outboxLabel.isHidden()


def test_a_full_disk_keeps_the_label_from_being_sent_and_the_segments_stay(reading, cases, monkeypatch):
    reading.select(WARM)
    reading.press("correction.grow")
    with monkeypatch.context() as patch:
        patch.setattr(line_file.os, "fsync", disk_full)
        reading.press("correction.send")
    assert "is full" in reading.state.notice.cause
    assert "Make room" in reading.state.notice.remedy
    assert (reading.state.case.segments, reading.state.case.segments_sent) == (1, False)
    assert cases.events.get("a", []) == []
    reading.press("correction.send")
    assert cases.actions("a") == ["segmented"]
    assert reading.state.case.segments_sent


def test_acts_for_a_server_that_is_no_more_asked_are_told(reading, cases):
    cases.served.gone = True
    reading.select(WARM)
    reading.press("review.accept")
    elsewhere = cases.url.replace("127.0.0.1", "localhost")
    cases.served.gone = False
    reading.presenter.connect(elsewhere)
    reading.drain()
    assert reading.state.outbox.pending == 0
    assert reading.state.outbox.notice.cause == f"Kept on this computer for another server, {cases.url}: 1."
    assert reading.state.outbox.notice.remedy == "They are sent once you connect there."
    reading.connect(cases)
    reading.wait(1)
    assert cases.actions("a") == ["accepted"]
    assert reading.state.outbox.notice.cause == ""


def volume_with_the_id_of(scene, node_id: str):
    """A volume of the user's own that got the id of a removed one, as scenes give it after they were closed."""
    own = volume_node(scene, np.ones(SHAPE, np.int16), MATRIX, "Own")
    while own.GetID() != node_id:
        own = volume_node(scene, np.ones(SHAPE, np.int16), MATRIX, "Own")
    return own


def test_the_next_scene_is_not_taken_for_the_case(reading, scene, cases):
    node_id = reading.presenter.cases.source.GetID()
    scene.Clear(False)
    own = volume_with_the_id_of(scene, node_id)
    reading.presenter.results.refresh()
    reading.presenter.correction.refresh()
    assert reading.presenter.cases.source is None
    reading.press("editing.add_box")
    assert reading.state.notice.cause == "The image of this case is not in the scene."
    reading.press("correction.send")
    assert reading.state.notice.remedy == "Open the case again in the worklist."
    reading.open("b")
    assert own.GetScene() is scene
    assert reading.state.case.image == "b"
    assert len(reading.rows) == 3


def test_a_result_for_a_closed_scene_is_not_put_on_the_next_one(reading, scene, cases):
    released = threading.Event()
    cases.served.answer("POST", "/infer/clap_attention", replace(answer(), wait=lambda: released.wait(8)))
    node_id = reading.presenter.cases.source.GetID()
    reading.presenter.asking.on_study("a", CLAP)
    scene.Clear(False)
    volume_with_the_id_of(scene, node_id)
    reading.presenter.results.refresh()
    released.set()
    reading.drain()
    assert "was closed while the server worked on it" in reading.state.notice.cause
    assert find_runs(scene) == []


@pytest.mark.parametrize("change", ["schema", "no JSON", "empty"])
def test_a_result_of_a_later_version_in_a_loaded_scene_is_left_out(reading, scene, change):
    (run,) = find_runs(scene)
    (record,) = owned_nodes(scene, run.id, RUN_ROLE)
    before = record.GetText()
    text = {"schema": before.replace("findings/1", "findings/2"), "no JSON": "{", "empty": ""}[change]
    record.SetText(text)
    reading.presenter.results.refresh()
    assert reading.state.run is None
    assert run.heatmap.GetScene() is scene
    record.SetText(before)
    reading.presenter.results.refresh()
    assert reading.state.run.id == run.id
    assert len(reading.rows) == 3


def test_the_next_case_twice_at_once_opens_one(reading, cases):
    reading.presenter.worklist.next()
    reading.presenter.worklist.next()
    assert reading.state.notice.cause == "Another request is still running."
    assert reading.state.notice.remedy
    reading.drain()
    assert reading.state.case.image == "b"
    assert set(cases.leases) == {"b"}

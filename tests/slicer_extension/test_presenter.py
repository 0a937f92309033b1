"""The panel's acts from connecting to deleting, on a real scene and against a small server."""

from __future__ import annotations

import json
import re
import threading
import time

import numpy as np
import pytest
import SimpleITK
import slicer
from AnomaLabelLib.panel.presenter import Presenter
from AnomaLabelLib.scene import ownership
from AnomaLabelLib.scene.heatmap import shown_threshold
from AnomaLabelLib.scene.runs import find_runs
from AnomaLabelLib.server.client import Client, Limits
from AnomaLabelLib.server.jobs import Jobs
from AnomaLabelLib.server.parameters import RunParameters
from example_results import affine, finding, nrrd_bytes, report, volume_node
from small_server import Reply, offer_everything, result_reply, small_server

MATRIX = affine((10, -20, 30), (1, 2, 1.5), (3, 4, 5), (-1, -1, 1))
PARAMETERS = RunParameters("clap_attention", "brain_mri", "embedded", ("Glioma",), ("Normal",))
PEAK = (5, 4, 3)


def heatmap_values() -> np.ndarray:
    values = np.full((8, 9, 10), -0.2, np.float32)
    values[2:5, 3:6, 4:8] = 0.6
    values[PEAK[::-1]] = 0.9
    values[7] = np.nan
    return values


def good_reply(**changes) -> Reply:
    values = heatmap_values()
    findings = [finding(MATRIX, (4, 3, 2), (7, 5, 4), peak=PEAK)]
    text = json.dumps(report(values, findings, warnings=["The map hardly depends on its prompt."]))
    return result_reply(text, nrrd_bytes(values, MATRIX), **changes)


@pytest.fixture
def server():
    with small_server() as served:
        offer_everything(served)
        served.answer("POST", "/infer/clap_attention", good_reply())
        yield served


@pytest.fixture
def source(scene):
    values = np.arange(720, dtype=np.int16).reshape(8, 9, 10)
    return volume_node(scene, values, MATRIX)


class Panel:
    """A presenter and every state it drew."""

    def __init__(self, scene, folder, **changes):
        self.states = []
        limits = Limits(connect_s=1, answer_s=1, result_s=2)
        self.presenter = Presenter(
            scene, self.states.append, folder, client_for=lambda address, _settings: Client(address, limits), **changes
        )

    @property
    def state(self):
        return self.presenter.state

    def finish(self, patience_s: float = 8) -> None:
        end = time.monotonic() + patience_s
        while self.presenter.busy and time.monotonic() < end:
            self.presenter.tick()
        assert not self.presenter.busy

    def connect(self, server) -> None:
        self.presenter.connect(server.url)
        self.finish()


@pytest.fixture
def folder(tmp_path_factory):
    """Where the panel keeps what is reviewed."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def panel(scene, server, folder):
    made = Panel(scene, folder)
    made.connect(server)
    return made


@pytest.fixture
def shown(panel, source):
    panel.presenter.asking.on_volume(source, PARAMETERS)
    panel.finish()
    return panel


def test_connecting_tells_what_the_server_offers(panel):
    assert panel.state.server.studies == ("a", "b")
    # This server is of a time before reviews, which the notice says too.
    assert panel.state.server_notice.is_error
    assert "reviewing does not" in panel.state.server_notice.cause
    assert "0.1.0" in panel.state.server_notice.cause
    assert "stay on this computer" in panel.state.server_notice.cause
    assert panel.states[0].busy
    assert not panel.state.busy


def test_a_server_whose_model_is_loading_says_so(scene, server, folder):
    server.answer_json("/ready", {"detail": "Loading embedded"}, status=503)
    panel = Panel(scene, folder)
    panel.connect(server)
    assert "Loading embedded" in panel.state.server_notice.cause
    assert panel.state.server_notice.remedy


def test_an_unreachable_server_leaves_the_panel_usable(scene, server, folder):
    panel = Panel(scene, folder)
    panel.presenter.connect("http://127.0.0.1:1")
    panel.finish()
    assert panel.state.server_notice.is_error
    assert panel.state.server is None
    panel.connect(server)
    assert panel.state.server is not None


def test_a_volume_goes_out_as_it_is_and_its_result_comes_into_the_scene(server, shown, source):
    (asked,) = server.asked("POST")
    sent = asked.body[asked.body.index(b"NRRD") :]
    assert b"encoding: raw" in sent[:1000]
    assert slicer.util.arrayFromVolume(source).tobytes() in sent
    (run,) = find_runs(shown.presenter._scene)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(run.heatmap), heatmap_values())
    state = shown.state
    assert state.run.findings[0].peak_index == PEAK
    assert state.run.threshold == pytest.approx(0.4)
    assert (state.run.minimum, state.run.maximum) == pytest.approx((-0.2, 0.9))
    assert "hardly depends" in state.run.warnings[0]
    assert any("Not calibrated" in warning for warning in state.run.warnings)
    assert re.search(r"1[23] % of the image was not looked at", state.run.unseen)
    assert not state.notice.is_error


def test_another_reader_finds_the_sent_file_where_the_node_is(server, shown, source, tmp_path):
    (asked,) = server.asked("POST")
    path = tmp_path / "sent.nrrd"
    path.write_bytes(asked.body[asked.body.index(b"NRRD") : asked.body.rindex(b"\r\n--")])
    image = SimpleITK.ReadImage(str(path))
    for index in ((0, 0, 0), (9, 8, 7)):
        expected_lps = np.array([-1, -1, 1]) * (MATRIX @ [*index, 1.0])[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected_lps, atol=1e-5)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), slicer.util.arrayFromVolume(source))


def test_the_threshold_moves_without_a_request(server, shown):
    before = len(server.requests)
    (run,) = find_runs(shown.presenter._scene)
    assert run.boxes[0].GetDisplayNode().GetVisibility()
    shown.presenter.results.set_threshold(0.55)
    shown.presenter.results.set_opacity(0.3)
    shown.presenter.results.set_visible(heatmap=False)
    shown.presenter.results.set_visible(heatmap=True, boxes=False)
    assert shown_threshold(run.heatmap) == pytest.approx(0.55)
    assert shown.state.run.threshold == 0.55
    assert not run.boxes[0].GetDisplayNode().GetVisibility()
    assert len(server.requests) == before


def test_a_click_jumps_to_the_peak(shown, scene):
    shown.presenter.findings.select_place(0)
    crosshair = scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    np.testing.assert_allclose(crosshair.GetCrosshairRAS(), (MATRIX @ [*PEAK, 1.0])[:3], atol=1e-3)
    shown.presenter.findings.select_place(1)
    shown.presenter.findings.select_place(-1)


def test_deleting_gives_the_scene_back(shown, scene, source):
    (run,) = find_runs(scene)
    shown.presenter.results.delete_shown()
    assert shown.state.run is None
    assert shown.state.runs == ()
    assert ownership.owned_nodes(scene, run.id) == []
    assert scene.GetNodeByID(source.GetID()) is source


def test_two_results_and_back_to_the_first(shown, scene, source):
    first = shown.state.run
    shown.presenter.asking.on_volume(source, PARAMETERS)
    shown.finish()
    assert len(shown.state.runs) == 2
    assert shown.state.run.id != first.id
    shown.presenter.results.show(first.id)
    visible = {run.id: run.boxes[0].GetDisplayNode().GetVisibility() for run in find_runs(scene)}
    assert visible == {first.id: 1, shown.state.runs[1][0]: 0}
    shown.presenter.results.delete_shown()
    assert [run_id for run_id, name in shown.state.runs] == [shown.state.run.id]


def test_a_study_is_fetched_once_and_shown_with_its_result(server, panel, scene):
    content = nrrd_bytes(np.arange(720, dtype=np.float32).reshape(8, 9, 10), MATRIX)
    disposition = {"Content-Disposition": 'attachment; filename="a.nrrd"'}
    server.answer("GET", "/datastore/image", Reply(content, headers=disposition))
    for _repeat in range(2):
        panel.presenter.asking.on_study("a", PARAMETERS)
        panel.finish()
    assert not panel.state.notice.is_error
    assert len(server.asked("GET", "/datastore/image")) == 1
    runs = find_runs(scene)
    assert len(runs) == 2
    assert runs[0].source is runs[1].source
    assert runs[0].source.GetName() == "a"


@pytest.mark.parametrize("act", ["volume", "study"])
def test_running_without_a_server_says_what_to_do(scene, source, act, folder):
    panel = Panel(scene, folder)
    if act == "volume":
        panel.presenter.asking.on_volume(source, PARAMETERS)
    else:
        panel.presenter.asking.on_study("a", PARAMETERS)
    assert panel.state.notice.is_error
    assert "Connect" in panel.state.notice.remedy
    assert not panel.presenter.busy


def test_volumes_that_cannot_be_sent_are_refused_with_a_remedy(server, panel, scene, source):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    source.SetAndObserveTransformNodeID(transform.GetID())
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(labels, np.ones((2, 2, 2), np.uint8))
    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colour")
    slicer.util.updateVolumeFromArray(color, np.ones((2, 2, 2, 3), np.uint8))
    for volume, word in ((source, "Harden"), (empty, "again"), (labels, "image"), (color, "grey"), (None, "pick")):
        panel.presenter.asking.on_volume(volume, PARAMETERS)
        assert panel.state.notice.is_error
        assert word in panel.state.notice.remedy
    assert server.asked("POST") == []


def test_a_closed_volume_is_said_and_nothing_is_left(server, panel, scene, source):
    released = threading.Event()
    server.answer("POST", "/infer/clap_attention", good_reply(wait=lambda: released.wait(5)))
    panel.presenter.asking.on_volume(source, PARAMETERS)
    scene.RemoveNode(source)
    before = scene.GetNumberOfNodes()
    released.set()
    panel.finish()
    assert "closed" in panel.state.notice.cause
    assert scene.GetNumberOfNodes() == before


def test_progress_is_shown_and_cancel_reaches_the_server(server, panel, source):
    cancelled = threading.Event()
    server.answer("GET", "*", Reply(b'{"done": 4, "total": 9}'))
    server.answer("DELETE", "*", Reply(wait=cancelled.set))
    server.answer(
        "POST", "/infer/clap_attention", Reply(b'{"detail": "Cancelled."}', 409, wait=lambda: cancelled.wait(5))
    )
    panel.presenter.asking.on_volume(source, PARAMETERS)
    end = time.monotonic() + 5
    while panel.state.progress is None and time.monotonic() < end:
        panel.presenter.tick()
    assert panel.state.progress == (4, 9)
    panel.presenter.cancel()
    panel.finish()
    assert "cancelled" in panel.state.notice.cause
    request_id = re.search(r"request_id=([0-9a-f-]{36})", server.asked("POST")[0].path).group(1)
    assert server.asked("DELETE")[0].path == f"/progress/{request_id}"
    assert panel.state.progress is None


def test_cancel_frees_the_panel_although_the_server_hangs(scene, server, source, folder):
    released = threading.Event()
    server.answer("POST", "/infer/clap_attention", good_reply(wait=lambda: released.wait(8)))
    panel = Panel(scene, folder, jobs=Jobs(grace_s=0.1))
    panel.connect(server)
    panel.presenter.asking.on_volume(source, PARAMETERS)
    panel.presenter.cancel()
    panel.finish(patience_s=2)
    released.set()
    assert "cancelled" in panel.state.notice.cause
    panel.connect(server)
    assert find_runs(scene) == []


def test_a_second_run_waits_for_the_first(server, panel, source):
    released = threading.Event()
    server.answer("POST", "/infer/clap_attention", good_reply(wait=lambda: released.wait(5)))
    panel.presenter.asking.on_volume(source, PARAMETERS)
    panel.presenter.asking.on_volume(source, PARAMETERS)
    assert "still running" in panel.state.notice.cause
    released.set()
    panel.finish()
    assert panel.state.run is not None
    assert len(server.asked("POST")) == 1


def test_the_refusal_of_the_server_is_shown_in_its_words(server, panel, source):
    server.answer_json("/infer/clap_attention", {"detail": "The prompt is empty. Write one."}, 422, "POST")
    panel.presenter.asking.on_volume(source, PARAMETERS)
    panel.finish()
    assert panel.state.notice.cause == "The prompt is empty. Write one."
    assert panel.state.notice.is_error


def other_geometry() -> Reply:
    values = heatmap_values()
    moved = MATRIX.copy()
    moved[0, 3] += 5
    return result_reply(json.dumps(report(values, [])), nrrd_bytes(values, moved))


def other_size() -> Reply:
    values = heatmap_values()
    return result_reply(json.dumps(report(values, [])), nrrd_bytes(values[:4], MATRIX))


def changed_report(**changes) -> Reply:
    values = heatmap_values()
    text = json.dumps({**report(values, [finding(MATRIX, (4, 3, 2), (7, 5, 4), peak=PEAK)]), **changes})
    return result_reply(text, nrrd_bytes(values, MATRIX))


def cut_off() -> Reply:
    whole = good_reply()
    return Reply(whole.body[: len(whole.body) // 2], content_type=whole.content_type, stated_length=len(whole.body))


@pytest.mark.parametrize(
    ("reply", "cause", "remedy"),
    [
        (other_geometry, "lies on another grid than volume 'Head'", "without resampling"),
        (other_size, "its findings speak of", "versions"),
        (
            lambda: changed_report(findings=[finding(MATRIX, (4, 3, 2), (17, 5, 4))]),
            "lies outside the image",
            "versions",
        ),
        (lambda: changed_report(schema="anomalabel.findings/2"), "schema 'anomalabel.findings/2'", "same version"),
        (lambda: changed_report(image_score=None), "image_score", "versions"),
        (cut_off, "broke in the middle of the answer", "again"),
        (lambda: Reply(b"<html>Bad Gateway</html>", 502, "text/html"), "A proxy in front of the server", "Wait"),
        (lambda: Reply(b"<html>Welcome</html>", 200, "text/html"), "", "versions"),
        (lambda: Reply(hang_up=True), "broke the connection before it answered", "still runs"),
        (lambda: good_reply(wait=lambda: time.sleep(2.5)), "sent nothing for 2 s", "log"),
    ],
)
def test_an_answer_that_is_none_is_said_and_the_shown_result_stays(server, shown, scene, source, reply, cause, remedy):
    before, result = scene.GetNumberOfNodes(), shown.state.run.id
    server.answer("POST", "/infer/clap_attention", reply())
    shown.presenter.asking.on_volume(source, PARAMETERS)
    shown.finish()
    assert shown.state.notice.is_error
    assert cause in shown.state.notice.cause, shown.state.notice
    assert remedy in shown.state.notice.remedy, shown.state.notice
    assert scene.GetNumberOfNodes() == before
    assert shown.state.run.id == result
    server.answer("POST", "/infer/clap_attention", good_reply())
    shown.presenter.asking.on_volume(source, PARAMETERS)
    shown.finish()
    assert not shown.state.notice.is_error
    assert len(find_runs(scene)) == 2


def test_no_temporary_file_stays(server, panel, source, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    panel.presenter.asking.on_volume(source, PARAMETERS)
    assert len(list(tmp_path.iterdir())) == 1
    panel.finish()
    assert list(tmp_path.iterdir()) == []


def test_the_scene_is_touched_by_the_windows_thread_alone(server, panel, scene, source):
    touched = set()
    events = ("NodeAddedEvent", "NodeRemovedEvent")
    tags = [
        scene.AddObserver(getattr(slicer.vtkMRMLScene, event), lambda *_event: touched.add(threading.get_ident()))
        for event in events
    ]
    tags.append(source.AddObserver("AnyEvent", lambda *_event: touched.add(threading.get_ident())))
    panel.presenter.asking.on_volume(source, PARAMETERS)
    panel.finish()
    panel.presenter.results.delete_shown()
    assert touched == {threading.get_ident()}
    assert len(tags) == 3


def test_a_loaded_scene_shows_its_last_run_and_a_closed_one_none(shown, scene, folder):
    again = Panel(scene, folder)
    again.presenter.results.refresh()
    assert again.state.run.id == shown.state.run.id
    scene.Clear(False)
    again.presenter.results.refresh()
    assert again.state.run is None

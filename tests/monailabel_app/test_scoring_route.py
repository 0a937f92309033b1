"""`/scoring/`: studies are scored in the background, and people go first."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from server_talk import wait_for

from monailabel_app.server import create_app
from monailabel_app.settings import ServerSettings

ROUTE = "/scoring/clap_attention"
TASK = "clap_attention"


def infer(client: TestClient, query: str, **params: Any) -> Any:
    return client.post(f"/infer/{TASK}?{query}", data={"params": json.dumps(params)})


def scored(client: TestClient) -> dict[str, Any]:
    """The status of the scoring once it has ended."""
    wait_for(lambda: client.get("/scoring/").json()["status"] != "RUNNING")
    return client.get("/scoring/").json()


def names(pipeline: Any) -> list[str]:
    return [path.name.split(".")[0] for path in pipeline.sources]


@pytest.fixture
def gate(pipeline: Any) -> Any:
    """The pipeline's gate, closed until the test opens it or ends."""
    pipeline.detect_gate.clear()
    yield pipeline.detect_gate
    pipeline.detect_gate.set()


@pytest.fixture
def scores(client: TestClient) -> Callable[[str], dict[str, Any]]:
    return client.app.state.server.app.scores.scores


def test_a_run_on_a_study_notes_its_score_and_one_on_a_file_does_not(
    client: TestClient, studies: Path, scores: Any
) -> None:
    content = (studies / "head.nii.gz").read_bytes()
    assert client.post(f"/infer/{TASK}?image=head", files={"file": ("x.nii.gz", content)}).status_code == 200
    session = client.put("/session/", files={"files": ("x.nii.gz", content)}).json()["session_id"]
    assert infer(client, f"session_id={session}&image=head").status_code == 200
    assert infer(client, "image=absent").status_code == 422
    assert scores("head") == {}
    assert infer(client, "image=head&output=json").status_code == 200
    assert (scores("head")[TASK].image_score, scores("head")[TASK].findings) == (1.0, 0)
    assert scores("head")[TASK].model == "embedded@000000000000"


def test_a_score_that_cannot_be_kept_does_not_fail_the_run(client: TestClient, studies: Path) -> None:
    (studies / "anomalabel").mkdir(exist_ok=True)
    (studies / "anomalabel" / "scores").write_text("in the way")
    assert infer(client, "image=head").status_code == 200


@pytest.mark.usefixtures("normals")
def test_all_studies_without_a_score_are_scored_and_the_report_says_so(
    client: TestClient, pipeline: Any, scores: Any
) -> None:
    assert client.get("/scoring/").status_code == 404
    infer(client, "image=n1")
    started = client.post(ROUTE, json={"config": "chest_xray"})
    assert started.status_code == 200
    assert (started.json()["model"], started.json()["status"]) == (TASK, "RUNNING")
    assert started.json()["request"] == {"config": "chest_xray", "images": "unscored"}
    done = scored(client)
    assert (done["status"], done["done"], done["total"], done["percent"]) == ("DONE", 4, 4, 100)
    assert done["report"] == {"task": TASK, "scored": 4, "skipped": []}
    assert done["details"] == ["scoring", "Studies scored: 4, skipped: 0."]
    assert names(pipeline) == ["n1", "head", "n0", "n2", "n3"]
    assert {request.config for request in pipeline.requests[1:]} == {"chest_xray"}
    assert all(TASK in scores(name) for name in ("head", "n0", "n1", "n2", "n3"))

    client.post(ROUTE)
    assert scored(client)["report"]["scored"] == 0
    client.post(ROUTE, json={"images": "all"})
    assert scored(client)["report"]["scored"] == 5


@pytest.mark.usefixtures("normals")
def test_a_list_of_studies_is_scored_and_an_unknown_one_refused(client: TestClient, scores: Any) -> None:
    client.post(ROUTE, json={"images": ["n2", "n0", "n2"]})
    assert scored(client)["report"]["scored"] == 2
    assert [name for name in ("head", "n0", "n1", "n2", "n3") if TASK in scores(name)] == ["n0", "n2"]
    refused = client.post(ROUTE, json={"images": ["n1", "../n1"]})
    assert refused.status_code == 422
    assert "no image '../n1'" in refused.json()["detail"]
    assert TASK not in scores("n1")


@pytest.mark.usefixtures("normals")
def test_a_study_that_cannot_be_scored_is_told_and_skipped(
    client: TestClient, studies: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch, scores: Any
) -> None:
    (studies / "damaged.nii").write_text("no image")
    detect = pipeline.detect

    def breaking(source: Path, *others: Any) -> Any:
        if source.name.startswith("n1"):
            raise RuntimeError("/secret out of memory")
        return detect(source, *others)

    monkeypatch.setattr(pipeline, "detect", breaking)
    client.post(ROUTE, json={})
    done = scored(client)
    assert (done["status"], done["report"]["scored"]) == ("DONE", 4)
    damaged, fault = done["report"]["skipped"]
    assert (damaged["image"], fault["image"]) == ("damaged", "n1")
    assert fault["reason"].startswith("Detection in n1 failed (RuntimeError); the server's log says why under ")
    assert f"damaged was skipped: {damaged['reason']}" in done["details"]
    assert f"n1 was skipped: {fault['reason']}" in done["details"]
    assert str(studies) not in json.dumps(done)
    assert "/secret" not in json.dumps(done)
    assert (scores("damaged"), scores("n1"), list(scores("n2"))) == ({}, {}, [TASK])


def test_where_no_study_can_be_scored_the_scoring_failed(client: TestClient, studies: Path) -> None:
    (studies / "head.nii.gz").write_text("no image")
    client.post(ROUTE, json={})
    failed = scored(client)
    assert failed["status"] == "ERROR"
    assert failed["error"].startswith("None of the 1 studies could be scored. The first one: ")


def test_scores_that_cannot_be_kept_end_the_scoring(client: TestClient, studies: Path, pipeline: Any) -> None:
    shutil.copy(studies / "head.nii.gz", studies / "other.nii.gz")
    (studies / "anomalabel").mkdir(exist_ok=True)
    (studies / "anomalabel" / "scores").write_text("in the way")
    client.post(ROUTE, json={})
    assert "cannot keep scores" in scored(client)["error"]
    assert names(pipeline) == ["head"]


@pytest.mark.usefixtures("normals")
def test_a_person_waits_for_one_study_at_most(client: TestClient, pipeline: Any, gate: threading.Event) -> None:
    client.post(ROUTE, json={})
    assert pipeline.entered.wait(10)
    with ThreadPoolExecutor(2) as people:
        queue = client.app.state.server.queue
        first = people.submit(infer, client, "image=n3&request_id=first")
        wait_for(lambda: queue.requests == 1)
        second = people.submit(infer, client, "image=n2&request_id=second")
        wait_for(lambda: queue.requests == 2)
        told = client.get("/scoring/?check_if_running=true").json()
        assert (told["stage"], told["done"], told["total"]) == ("scoring", 0, 5)
        assert client.get("/info/").status_code == 200
        gate.set()
        assert [first.result(20).status_code, second.result(20).status_code] == [200, 200]
    assert scored(client)["report"]["scored"] == 5
    assert names(pipeline) == ["head", "n3", "n2", "n0", "n1", "n2", "n3"]
    assert pipeline.most_active == 1


def test_scoring_takes_no_persons_place_in_the_queue(start: Any, pipeline: Any, gate: threading.Event) -> None:
    client = start(maximum_waiting=0)
    wait_for(lambda: client.get("/ready").status_code == 200)
    client.post(ROUTE, json={})
    assert pipeline.entered.wait(10)
    with ThreadPoolExecutor(1) as people:
        asked = people.submit(infer, client, "image=head")
        wait_for(lambda: client.app.state.server.queue.requests == 1)
        assert infer(client, "image=head").status_code == 503
        gate.set()
        assert asked.result(20).status_code == 200
    assert scored(client)["status"] == "DONE"


@pytest.mark.usefixtures("normals")
def test_one_scoring_runs_at_a_time_and_can_be_cancelled(
    client: TestClient, pipeline: Any, gate: threading.Event, scores: Any
) -> None:
    assert client.delete("/scoring/").status_code == 404
    gate.set()
    infer(client, "image=head")
    gate.clear()
    pipeline.entered.clear()
    client.post(ROUTE, json={})
    assert pipeline.entered.wait(10)
    refused = client.post(ROUTE, json={})
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("A scoring is running. Wait for it (GET /scoring/)")
    assert client.delete("/scoring/").json()["stage"] == "cancelling"
    stopped = scored(client)
    assert stopped["status"] == "STOPPED"
    assert "scores so far are kept" in stopped["details"][-1]
    assert (list(scores("head")), scores("n0")) == ([TASK], {})
    gate.set()
    client.post(ROUTE, json={})
    assert scored(client)["report"]["scored"] == 4


def test_a_scoring_that_waits_behind_a_person_can_be_cancelled(
    client: TestClient, pipeline: Any, gate: threading.Event
) -> None:
    with ThreadPoolExecutor(1) as people:
        asked = people.submit(infer, client, "image=head")
        assert pipeline.entered.wait(10)
        client.post(ROUTE, json={})
        assert client.delete("/scoring/").status_code == 200
        assert scored(client)["status"] == "STOPPED"
        assert not asked.done()
        gate.set()
        assert asked.result(20).status_code == 200
    assert names(pipeline) == ["head"]


@pytest.mark.parametrize(
    ("route", "body", "named"),
    [
        (ROUTE, {"images": "some"}, "images"),
        (ROUTE, {"config": "kidney"}, "kidney"),
        (ROUTE, {"method": "few_shot"}, "method"),
        ("/scoring/few_shot_localization", {}, "Train it first"),
        ("/scoring/unknown", {}, "There is no task 'unknown'"),
        ("/scoring/..%5Cx", {}, "There is no task"),
    ],
)
def test_requests_that_cannot_be_met_are_422(
    client: TestClient, pipeline: Any, route: str, body: dict[str, Any], named: str
) -> None:
    refused = client.post(route, json=body)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]
    assert client.get("/scoring/").status_code == 404
    assert pipeline.sources == []


@pytest.mark.usefixtures("models")
def test_a_trained_model_scores_without_further_maps_and_its_folder_is_not_told(
    client: TestClient, studies: Path, pipeline: Any
) -> None:
    body = {"config": "brain_mri", "uncertainty": True}
    started = client.post("/scoring/few_shot_localization", json=body)
    assert started.json()["request"] == {**body, "images": "unscored"}
    assert scored(client)["status"] == "DONE"
    assert (pipeline.requests[0].method, pipeline.requests[0].extra_maps) == ("few_shot", ())
    assert str(studies) not in client.get("/scoring/").text


def test_scoring_before_the_models_are_loaded_is_503(start: Any, pipeline: Any) -> None:
    pipeline.warm_gate.clear()
    assert start().post(ROUTE, json={}).status_code == 503
    pipeline.warm_gate.set()


def test_a_server_that_was_killed_says_so_and_scores_again(client: TestClient, start: Any, studies: Path) -> None:
    client.post(ROUTE, json={})
    done = scored(client)
    note = studies / "anomalabel" / "scoring.json"
    note.write_text(json.dumps({**done, "status": "RUNNING", "end_ts": ""}))
    again = start()
    wait_for(lambda: again.get("/ready").status_code == 200)
    status = again.get("/scoring/?all=true").json()[0]
    assert (status["id"], status["status"]) == (done["id"], "ERROR")
    assert status["error"].startswith("The server ended during this scoring.")
    again.post(ROUTE, json={"images": "all"})
    assert scored(again)["report"]["scored"] == 1


@pytest.mark.usefixtures("gate")
def test_the_end_of_the_server_ends_its_scoring(pipeline: Any, studies: Path) -> None:
    app = create_app(ServerSettings(studies), pipeline)
    with TestClient(app, base_url="http://127.0.0.1") as server:
        wait_for(lambda: server.get("/ready").status_code == 200)
        server.post(ROUTE, json={})
        assert pipeline.entered.wait(10)
        state = app.state.server
    wait_for(lambda: not state.scoring.running)
    assert state.scoring.status.status == "STOPPED"
    assert json.loads((studies / "anomalabel" / "scoring.json").read_text())["status"] == "STOPPED"
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("scoring")])

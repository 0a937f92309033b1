"""`/train/few_shot_localization`: started, watched, cancelled, refused, and what a killed server leaves."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from server_talk import ended, held, review, wait_for

from anomalabel.errors import ImageReadError
from anomalabel.model_folder import read_description

ROUTE = "/train/few_shot_localization"


def model_of(studies: Path, config: str = "brain_mri") -> Path:
    return studies / "anomalabel" / "models" / "few_shot_localization" / config


def test_it_learns_from_what_the_reviews_call_normal_and_the_model_is_in_use_at_once(
    ready: TestClient, studies: Path, normals: list[Path], training: Any, pipeline: Any
) -> None:
    review(ready, "n3", "normal")
    review(ready, "n3", "abnormal")
    assert ready.get("/info/").json()["anomalabel"]["trained"] == []
    started = ready.post(ROUTE, json={"config": "brain_mri", "shots": 3, "seed": 7})
    assert (started.status_code, started.json()["status"]) == (200, "RUNNING")
    status = ended(ready)
    assert (status["status"], status["percent"], status["error"]) == ("DONE", 100, "")
    assert status["details"] == ["loading the encoder", "encoding shots", "training", "The new model is in use."]
    assert status["report"]["images"] == ["n0.nii.gz", "n1.nii.gz", "n2.nii.gz"]
    assert status["report"]["left_out"] == [{"image": "torn.nii.gz", "reason": "torn.nii.gz is cut off"}]
    assert (status["done"], status["total"]) == (12, 12)
    assert 0 <= status["seconds_running"] < 20
    assert status["seconds_left"] is None
    assert status["end_ts"] >= status["start_ts"] == started.json()["start_ts"]
    (call,) = training.calls
    assert call["healthy"] == tuple(normals[:3])
    assert call["abnormal"] == {"head", "n3"}
    assert call["encoders"] == "encoders of embedded"
    asked = call["request"]
    assert (asked.config, asked.backbone, asked.shots, asked.seed, asked.epochs) == (
        "brain_mri",
        "embedded",
        3,
        7,
        None,
    )
    info = ready.get("/info/").json()
    assert info["models"]["few_shot_localization"]["config"]["trained"] == ["brain_mri"]
    assert info["trainers"]["few_shot_localization"]["config"]["shots"] == 16
    (facts,) = info["anomalabel"]["trained"]
    assert (facts["name"], facts["title"], facts["shots"], facts["problem"]) == ("brain_mri", "Brain MRI", 3, "")
    assert facts["thresholds"] == {"image": "at most 20 % false positives are promised"}
    answer = ready.post("/infer/few_shot_localization?image=head&output=json", data={"params": "{}"})
    assert answer.status_code == 200
    assert pipeline.requests[-1].backbone == str(model_of(studies))


def test_progress_is_told_and_inference_answers_meanwhile(ready: TestClient, training: Any) -> None:
    with held(training):
        ready.post(ROUTE, json={})
        assert training.entered.wait(10)
        status = ready.get("/train/?check_if_running=true").json()
        assert {key: status[key] for key in ("status", "stage", "done", "total", "percent")} == {
            "status": "RUNNING",
            "stage": "training",
            "done": 3,
            "total": 12,
            "percent": 25,
        }
        assert ready.get("/train/?all=true").json()[0]["id"] == status["id"]
        begin = time.monotonic()
        assert ready.post("/infer/clap_attention?image=head").status_code == 200
        assert time.monotonic() - begin < 3
        second = ready.post(ROUTE, json={"config": "chest_xray"})
        assert second.status_code == 409
        assert "DELETE /train/" in second.json()["detail"]
    assert ended(ready)["status"] == "DONE"
    assert len(training.calls) == 1
    assert ready.get("/train/?check_if_running=true").status_code == 404


def test_a_cancelled_training_leaves_the_old_model_and_the_next_one_starts(
    ready: TestClient, studies: Path, training: Any
) -> None:
    ready.post(ROUTE, json={"seed": 1})
    assert ended(ready)["status"] == "DONE"
    old = read_description(model_of(studies))
    training.entered.clear()
    with held(training):
        ready.post(ROUTE, json={"seed": 2})
        assert training.entered.wait(10)
        assert ready.delete("/train/").json()["stage"] == "cancelling"
        status = ended(ready)
    assert (status["status"], status["error"]) == ("STOPPED", "")
    assert status["details"][-1] == "The training was cancelled; a model from before stays in use."
    assert read_description(model_of(studies)) == old
    assert ready.delete("/train/").status_code == 404
    ready.post(ROUTE, json={"seed": 3})
    assert ended(ready)["status"] == "DONE"
    assert read_description(model_of(studies)).seed == 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ImageReadError("{studies}/n0.nii.gz is damaged.", "Export it again."),
            "n0.nii.gz is damaged. Export it again.",
        ),
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("/secret/place broke"), "RuntimeError"),
    ],
)
def test_errors_are_a_status_with_the_reason(
    ready: TestClient, studies: Path, training: Any, error: Exception, told: str
) -> None:
    if isinstance(error, ImageReadError):
        error = ImageReadError(error.cause.format(studies=studies), error.remedy)
    training.error = error
    ready.post(ROUTE, json={})
    status = ended(ready)
    assert status["status"] == "ERROR"
    assert told in status["error"]
    assert status["error"] == status["details"][-1]
    assert str(studies) not in json.dumps(status)
    assert "secret" not in json.dumps(status)
    training.error = None
    ready.post(ROUTE, json={})
    assert ended(ready)["status"] == "DONE"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"config": "kidney"}, "kidney"),
        ({"config": "/etc/passwd"}, "passwd"),
        ({"backbone": "/models/mine"}, "mine"),
        ({"shots": 1}, "greater than or equal to 2"),
        ({"shots": 2000}, "shots"),
        ({"seed": -1}, "seed"),
        ({"epochs": 0}, "epochs"),
        ({"folder": "x"}, "folder"),
        ({"healthy": "../studies"}, "folder of the studies"),
        ({"healthy": "/etc"}, "folder of the studies"),
        ({"healthy": ".."}, "folder in the studies"),
        ({"healthy": "absent"}, "absent"),
        ({"healthy": "outside"}, "outside"),
        ({"healthy": "empty"}, "no image"),
        ({"healthy": "anomalabel"}, "anomalabel"),
        ({"healthy": "labels"}, "labels"),
    ],
)
def test_bad_requests_are_422_and_start_nothing(
    ready: TestClient, studies: Path, tmp_path: Path, training: Any, body: dict[str, Any], named: str
) -> None:
    (studies / "empty").mkdir()
    (studies / "outside").symlink_to(tmp_path)
    refused = ready.post(ROUTE, json=body)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]
    assert str(studies) not in refused.text
    assert training.calls == []
    assert ready.get("/train/").status_code == 404


def test_without_reviews_it_says_what_to_do(client: TestClient) -> None:
    refused = client.post(ROUTE)
    assert refused.status_code == 422
    assert "No study is reviewed as normal" in refused.json()["detail"]
    assert client.post("/train/other").status_code == 422


def test_a_folder_of_the_studies_is_taken_instead_and_told_who_is_abnormal(
    ready: TestClient, studies: Path, training: Any
) -> None:
    (studies / "healthy" / "deep").mkdir(parents=True)
    for name in ("a.nii.gz", "deep/b.nii.gz"):
        shutil.copy(studies / "head.nii.gz", studies / "healthy" / name)
    assert ready.post(ROUTE, json={"healthy": "healthy", "config": ["chest_xray", "brain_mri"]}).status_code == 200
    assert ended(ready)["status"] == "DONE"
    (call,) = training.calls
    assert call["healthy"] == (studies / "healthy" / "a.nii.gz", studies / "healthy" / "deep" / "b.nii.gz")
    assert call["abnormal"] == {"head"}
    assert read_description(model_of(studies, "chest_xray")).config.name == "chest_xray"


def test_a_broken_chain_of_reviews_stops_the_training_before_it_starts(ready: TestClient, studies: Path) -> None:
    file = studies / "anomalabel" / "reviews" / "n1.jsonl"
    file.write_bytes(file.read_bytes() * 2)
    refused = ready.post(ROUTE, json={})
    assert refused.status_code == 500
    assert "n1.jsonl, line 2" in refused.json()["detail"]


def test_a_server_that_was_killed_says_so_and_trains_again(ready: TestClient, start: Any, studies: Path) -> None:
    ready.post(ROUTE, json={"seed": 4})
    done = ended(ready)
    note = studies / "anomalabel" / "training.json"
    note.write_text(json.dumps({**done, "status": "RUNNING", "end_ts": ""}))
    again = start()
    wait_for(lambda: again.get("/ready").status_code == 200)
    status = again.get("/train/").json()
    assert (status["id"], status["status"]) == (done["id"], "ERROR")
    assert "server ended during this training" in status["error"]
    assert again.get("/train/?check_if_running=true").status_code == 404
    again.post(ROUTE, json={"seed": 5})
    assert ended(again)["status"] == "DONE"
    assert read_description(model_of(studies)).seed == 5


@pytest.mark.parametrize("note", ["", "[]", '{"status": "RUNN'])
def test_a_damaged_note_of_the_last_training_is_no_obstacle(start: Any, studies: Path, note: str) -> None:
    (studies / "anomalabel").mkdir()
    (studies / "anomalabel" / "training.json").write_text(note)
    assert start().get("/train/").status_code == 404


def test_the_end_of_the_server_ends_its_training(start: Any, studies: Path, training: Any, normals: list[Path]) -> None:
    server = start()
    wait_for(lambda: server.get("/ready").status_code == 200)
    review(server, "n0", "normal")
    with held(training):
        server.post(ROUTE, json={})
        assert training.entered.wait(10)
        state = server.app.state.server
        state.training.close()
        wait_for(lambda: not state.training.running)
    assert state.training.status.status == "STOPPED"
    assert not model_of(studies).exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("training") and thread.is_alive()]


def test_a_studies_folder_that_cannot_be_written_is_said_and_no_training_starts(
    ready: TestClient, studies: Path, training: Any
) -> None:
    (studies / "anomalabel" / "training.json").mkdir()
    refused = ready.post(ROUTE, json={})
    assert refused.status_code == 507
    assert "cannot write into its studies folder" in refused.json()["detail"]
    assert str(studies) not in refused.text
    assert training.calls == []
    (studies / "anomalabel" / "training.json").rmdir()
    ready.post(ROUTE, json={})
    assert ended(ready)["status"] == "DONE"

"""`/train/unet_reconstruction`: what reaches the library, what is refused, and that both methods share one worker."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from server_talk import ended, held, wait_for

from anomalabel.errors import ImageReadError
from anomalabel.model_folder import read_description

ROUTE = "/train/unet_reconstruction"


def model_of(studies: Path, config: str = "brain_mri") -> Path:
    return studies / "anomalabel" / "models" / "unet_reconstruction" / config


def test_its_request_reaches_the_library_and_its_model_is_in_use_at_once(
    ready: TestClient, studies: Path, normals: list[Path], training: Any, reconstruction_training: Any, pipeline: Any
) -> None:
    asked = {"config": "liver_ct", "seed": 7, "saliency": "plp", "epochs": 2, "samples": 30}
    started = ready.post(ROUTE, json=asked)
    assert started.status_code == 200, started.text
    status = ended(ready)
    assert (status["model"], status["status"]) == ("unet_reconstruction", "DONE")
    assert status["request"] == {**asked, "backbone": "embedded", "healthy": None}
    (call,) = reconstruction_training.calls
    assert call["request"].model_dump() == {**asked, "backbone": "embedded"}
    assert (call["healthy"], call["abnormal"]) == (tuple(normals[:3]), {"head"})
    assert call["encoders"] == "encoders of embedded"
    assert training.calls == []
    assert read_description(model_of(studies, "liver_ct")).method == "reconstruction"
    (facts,) = ready.get("/info/").json()["anomalabel"]["trained"]
    assert (facts["task"], facts["name"], facts["shots"]) == ("unet_reconstruction", "liver_ct", 3)
    query = "/infer/unet_reconstruction?image=head&output=json"
    assert ready.post(query, data={"params": '{"config": "liver_ct"}'}).status_code == 200
    assert pipeline.requests[-1].backbone == str(model_of(studies, "liver_ct"))


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ({}, ("brain_mri", None, None, None, 0)),
        ({"saliency": "none"}, ("brain_mri", "none", None, None, 0)),
        ({"saliency": ["ear", "", "none"], "config": ["chest_xray"]}, ("chest_xray", "ear", None, None, 0)),
        ({"saliency": "", "epochs": "", "samples": "", "seed": 3, "healthy": ""}, ("brain_mri", None, None, None, 3)),
        ({"epochs": "4", "samples": 100}, ("brain_mri", None, 4, 100, 0)),
    ],
)
def test_what_is_left_out_is_the_configs(
    ready: TestClient, reconstruction_training: Any, body: dict[str, Any], values: tuple[Any, ...]
) -> None:
    assert ready.post(ROUTE, json=body).status_code == 200
    assert ended(ready)["status"] == "DONE"
    asked = reconstruction_training.calls[0]["request"]
    assert (asked.config, asked.saliency, asked.epochs, asked.samples, asked.seed) == values


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"saliency": "attention"}, "saliency"),
        ({"saliency": True}, "saliency"),
        ({"epochs": 0}, "epochs"),
        ({"samples": 0}, "samples"),
        ({"samples": "many"}, "samples"),
        ({"shots": 16}, "cannot set: shots"),
        ({"config": "kidney"}, "kidney"),
        ({"backbone": "/models/mine"}, "mine"),
        ({"healthy": "../studies"}, "folder of the studies"),
        ({"healthy": 3}, "healthy"),
    ],
)
def test_bad_requests_are_422_and_start_nothing(
    ready: TestClient, reconstruction_training: Any, body: dict[str, Any], named: str
) -> None:
    refused = ready.post(ROUTE, json=body)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]
    assert reconstruction_training.calls == []
    assert ready.get("/train/").status_code == 404


def test_few_shot_training_knows_none_of_its_keys(ready: TestClient, training: Any) -> None:
    for key in ("saliency", "samples"):
        refused = ready.post("/train/few_shot_localization", json={key: "clap"})
        assert refused.status_code == 422
        assert f"cannot set: {key}" in refused.json()["detail"]
    assert training.calls == []


def test_a_folder_of_the_studies_is_taken_and_told_who_is_abnormal(
    ready: TestClient, studies: Path, reconstruction_training: Any
) -> None:
    (studies / "healthy").mkdir()
    shutil.copy(studies / "head.nii.gz", studies / "healthy" / "a.nii.gz")
    assert ready.post(ROUTE, json={"healthy": "healthy"}).status_code == 200
    assert ended(ready)["status"] == "DONE"
    (call,) = reconstruction_training.calls
    assert call["healthy"] == (studies / "healthy" / "a.nii.gz",)
    assert call["abnormal"] == {"head"}


def test_one_training_of_either_method_runs_at_a_time(
    ready: TestClient, training: Any, reconstruction_training: Any
) -> None:
    for task, first in (("unet_reconstruction", reconstruction_training), ("few_shot_localization", training)):
        first.entered.clear()
        with held(first):
            assert ready.post(f"/train/{task}", json={}).status_code == 200
            assert first.entered.wait(10)
            for other in ("unet_reconstruction", "few_shot_localization"):
                assert ready.post(f"/train/{other}", json={"config": "chest_xray"}).status_code == 409
            status = ready.get("/train/").json()
            assert (status["model"], status["status"], status["stage"]) == (task, "RUNNING", "training")
            assert status["seconds_running"] >= 0
            assert status["seconds_left"] is None
        assert ended(ready)["status"] == "DONE"
    assert len(training.calls) == len(reconstruction_training.calls) == 1


def test_a_cancelled_training_leaves_the_old_model(
    ready: TestClient, studies: Path, reconstruction_training: Any
) -> None:
    ready.post(ROUTE, json={"seed": 1})
    assert ended(ready)["status"] == "DONE"
    reconstruction_training.entered.clear()
    with held(reconstruction_training):
        ready.post(ROUTE, json={"seed": 2})
        assert reconstruction_training.entered.wait(10)
        assert ready.delete("/train/").json()["stage"] == "cancelling"
        status = ended(ready)
    assert status["status"] == "STOPPED"
    assert status["details"][-1].endswith("stays in use. The same request goes on from its last checkpoint.")
    assert read_description(model_of(studies)).seed == 1


def test_an_image_at_fault_is_named_without_folders(
    ready: TestClient, studies: Path, reconstruction_training: Any
) -> None:
    fault = f"{studies}/healthy/n0.nii.gz is reviewed as abnormal."
    reconstruction_training.error = ImageReadError(fault, "Take it out of the folder.")
    ready.post(ROUTE, json={})
    status = ended(ready)
    assert status["status"] == "ERROR"
    assert status["error"] == "healthy/n0.nii.gz is reviewed as abnormal. Take it out of the folder."
    assert str(studies) not in json.dumps(status)


def test_after_a_killed_server_it_says_that_the_same_request_goes_on(
    ready: TestClient, start: Any, studies: Path
) -> None:
    ready.post(ROUTE, json={"seed": 4})
    done = ended(ready)
    note = studies / "anomalabel" / "training.json"
    note.write_text(json.dumps({**done, "status": "RUNNING", "end_ts": ""}))
    again = start()
    wait_for(lambda: again.get("/ready").status_code == 200)
    status = again.get("/train/").json()
    assert (status["status"], status["request"]["seed"]) == ("ERROR", 4)
    assert status["error"].endswith("Start it again with the same request: it goes on from its last checkpoint.")
    assert again.post(ROUTE, json=status["request"]).status_code == 200
    assert ended(again)["status"] == "DONE"

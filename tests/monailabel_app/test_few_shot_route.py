"""`POST /infer/few_shot_localization`: which model answers, the uncertainty map, and what is refused."""

import email
import json
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
from fastapi.testclient import TestClient

from anomalabel.errors import ModelError

ROUTE = "/infer/few_shot_localization"


def post(client: TestClient, query: str = "image=head", **params: Any) -> Any:
    return client.post(f"{ROUTE}?{query}", data={"params": json.dumps(params)})


def parts(response: Any) -> dict[str, tuple[str, bytes]]:
    """Name -> (file name, content) of a multipart reply."""
    assert response.status_code == 200, response.text
    header = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(""), part.get_payload(decode=True))
        for part in email.message_from_bytes(header + response.content).get_payload()
    }


def array_of(content: bytes, tmp_path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    file = tmp_path / "received.nrrd"
    file.write_bytes(content)
    return nrrd.read(str(file), index_order="C")


def test_both_tasks_are_listed_with_what_can_be_chosen(client: TestClient, models: Path) -> None:
    tasks = client.get("/info/").json()["models"]
    assert set(tasks) == {"clap_attention", "few_shot_localization"}
    assert tasks["few_shot_localization"]["config"]["trained"] == ["brain_mri", "liver_ct"]
    assert "backbone" not in tasks["few_shot_localization"]["config"]
    assert client.get("/ready").json() == {"ready": True, "backbones": ["embedded"]}


@pytest.mark.parametrize(
    ("params", "chosen"),
    [
        ({}, "brain_mri"),
        ({"config": "liver_ct"}, "liver_ct"),
        ({"trained": "liver_ct"}, "liver_ct"),
        ({"config": "liver_ct", "trained": "liver_ct"}, "liver_ct"),
        ({"trained": ["liver_ct", "brain_mri"], "planes": ["all"], "client_id": "x"}, "liver_ct"),
    ],
)
def test_the_model_is_the_one_of_the_config_unless_named(
    client: TestClient, models: Path, pipeline: Any, params: dict[str, Any], chosen: str
) -> None:
    report = json.loads(parts(post(client, **params))["params"][1])
    (request,) = pipeline.requests
    assert (request.method, request.config, request.backbone) == ("few_shot", chosen, str(models / chosen))
    assert (report["method"], report["config"]) == ("few_shot", chosen)


def test_the_uncertainty_comes_as_a_third_part_on_the_same_grid(
    client: TestClient, models: Path, tmp_path: Path
) -> None:
    assert set(parts(post(client))) == {"params", "image"}
    for compact in (False, True):
        reply = parts(post(client, uncertainty=True, compact=compact))
        assert set(reply) == {"params", "image", "uncertainty"}
        assert reply["uncertainty"][0] == "head.uncertainty.nrrd"
        uncertainty, header = array_of(reply["uncertainty"][1], tmp_path)
        heatmap, its_header = array_of(reply["image"][1], tmp_path)
        assert uncertainty.dtype == np.float32
        np.testing.assert_array_equal(header["space directions"], its_header["space directions"])
        np.testing.assert_array_equal(header["space origin"], its_header["space origin"])
        if not compact:
            np.testing.assert_allclose(uncertainty, heatmap / 10, rtol=1e-6)


def test_a_method_without_uncertainty_sends_none(client: TestClient) -> None:
    response = client.post("/infer/clap_attention?image=head", data={"params": '{"uncertainty": true}'})
    assert set(parts(response)) == {"params", "image"}


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"config": "chest_xray"}, "Train it first: POST /train/few_shot_localization"),
        ({"trained": "chest_xray"}, "brain_mri, liver_ct"),
        ({"trained": "../brain_mri"}, "No model is trained"),
        ({"trained": "previous"}, "No model is trained"),
        ({"config": "kidney"}, "kidney"),
        ({"config": "brain_mri", "trained": "liver_ct"}, "Leave config out"),
        ({"backbone": "embedded"}, "backbone"),
        ({"positive": ["tumor"]}, "positive"),
        ({"method": "clap"}, "method"),
        ({"seed": -1}, "seed"),
        ({"uncertainty": "perhaps"}, "uncertainty"),
    ],
)
def test_bad_requests_are_422_with_the_reason(
    client: TestClient, models: Path, studies: Path, pipeline: Any, params: dict[str, Any], named: str
) -> None:
    refused = post(client, **params)
    assert refused.status_code == 422
    assert named in refused.json()["detail"]
    assert str(studies) not in refused.text
    assert pipeline.requests == []


def test_nothing_trained_yet_says_how_to_train(client: TestClient) -> None:
    refused = post(client)
    assert refused.status_code == 422
    assert "No model is trained for 'brain_mri' yet (trained: none). Train it first" in refused.json()["detail"]


def test_a_model_that_cannot_be_used_is_listed_with_its_problem_and_named_without_folders(
    client: TestClient, models: Path, studies: Path, pipeline: Any
) -> None:
    pipeline.detect_error = ModelError(f"{models / 'brain_mri'} is of another encoder.", "Train again.")
    refused = post(client)
    assert refused.json()["detail"] == "brain_mri is of another encoder. Train again."
    weights = models / "liver_ct" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    facts = {fact["name"]: fact["problem"] for fact in client.get("/info/").json()["anomalabel"]["trained"]}
    assert facts["brain_mri"] == ""
    assert "damaged" in facts["liver_ct"]
    assert str(studies) not in client.get("/info/").text.replace(f'"studies":"{studies}"', "")

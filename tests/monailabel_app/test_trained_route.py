"""`POST /infer/` of the tasks with trained models: which model answers, their further maps, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from server_talk import array_of, parts

from anomalabel.errors import ModelError

FEW_SHOT, RECONSTRUCTION = "few_shot_localization", "unet_reconstruction"
METHODS = {FEW_SHOT: "few_shot", RECONSTRUCTION: "reconstruction"}

both = pytest.mark.parametrize("task", [FEW_SHOT, RECONSTRUCTION])


@pytest.fixture
def folders(models: Path, reconstruction_models: Path) -> dict[str, Path]:
    """Where the models of each task lie; both have one for `brain_mri` and one for `liver_ct`."""
    return {FEW_SHOT: models, RECONSTRUCTION: reconstruction_models}


def post(client: TestClient, task: str, query: str = "image=head", **params: Any) -> Any:
    return client.post(f"/infer/{task}?{query}", data={"params": json.dumps(params)})


@pytest.mark.usefixtures("folders")
def test_the_tasks_are_listed_with_what_can_be_chosen(client: TestClient) -> None:
    tasks = client.get("/info/").json()["models"]
    assert set(tasks) == {"clap_attention", FEW_SHOT, RECONSTRUCTION}
    offered = {task: tasks[task]["config"] for task in METHODS}
    assert all(config["trained"] == ["brain_mri", "liver_ct"] for config in offered.values())
    assert not any("backbone" in config for config in offered.values())
    further = {"uncertainty", "saliency", "reconstruction"}
    assert {task: further & config.keys() for task, config in offered.items()} == {
        FEW_SHOT: {"uncertainty"},
        RECONSTRUCTION: {"saliency", "reconstruction"},
    }
    assert client.get("/ready").json() == {"ready": True, "backbones": ["embedded"]}


@pytest.mark.usefixtures("folders")
def test_the_models_of_both_methods_are_told_apart(client: TestClient) -> None:
    trained = client.get("/info/").json()["anomalabel"]["trained"]
    assert [(facts["task"], facts["name"], facts["config"], facts["shots"]) for facts in trained] == [
        (FEW_SHOT, "brain_mri", "brain_mri", 4),
        (FEW_SHOT, "liver_ct", "liver_ct", 4),
        (RECONSTRUCTION, "brain_mri", "brain_mri", 60),
        (RECONSTRUCTION, "liver_ct", "liver_ct", 60),
    ]


@both
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
    client: TestClient,
    folders: dict[str, Path],
    pipeline: Any,
    task: str,
    params: dict[str, Any],
    chosen: str,
) -> None:
    report = json.loads(parts(post(client, task, **params))["params"][1])
    (request,) = pipeline.requests
    folder = str(folders[task] / chosen)
    assert (request.method, request.config, request.backbone) == (METHODS[task], chosen, folder)
    assert (report["method"], report["config"]) == (METHODS[task], chosen)


@pytest.mark.parametrize(
    ("task", "wanted", "factors"),
    [
        (FEW_SHOT, ["uncertainty"], {"uncertainty": 0.1}),
        (RECONSTRUCTION, ["saliency"], {"saliency": -1}),
        (RECONSTRUCTION, ["reconstruction"], {"reconstruction": 0.5}),
        (RECONSTRUCTION, ["saliency", "reconstruction"], {"saliency": -1, "reconstruction": 0.5}),
        # This method has no such map.
        (RECONSTRUCTION, ["uncertainty"], {}),
    ],
)
@pytest.mark.usefixtures("folders")
def test_each_map_that_is_asked_for_comes_as_a_part_of_its_name_on_the_same_grid(
    client: TestClient, pipeline: Any, tmp_path: Path, task: str, wanted: list[str], factors: dict[str, float]
) -> None:
    assert set(parts(post(client, task))) == {"params", "image"}
    assert pipeline.requests[-1].extra_maps == ()
    for compact in (False, True):
        reply = parts(post(client, task, compact=compact, **dict.fromkeys(wanted, True)))
        assert list(reply) == ["params", "image", *factors]
        heatmap, its_header = array_of(reply["image"][1], tmp_path)
        for name, factor in factors.items():
            assert reply[name][0] == f"head.{name}.nrrd"
            values, header = array_of(reply[name][1], tmp_path)
            assert values.dtype == np.float32
            np.testing.assert_array_equal(header["space directions"], its_header["space directions"])
            np.testing.assert_array_equal(header["space origin"], its_header["space origin"])
            if not compact:
                np.testing.assert_allclose(values, heatmap * factor, rtol=1e-6)


@pytest.mark.usefixtures("folders")
def test_a_model_without_saliency_sends_the_other_map(client: TestClient, pipeline: Any) -> None:
    reply = parts(post(client, RECONSTRUCTION, config="liver_ct", saliency=True, reconstruction=True))
    assert set(reply) == {"params", "image", "reconstruction"}
    assert pipeline.requests[0].extra_maps == ("reconstruction",)
    assert set(parts(post(client, RECONSTRUCTION, config="liver_ct", saliency=True))) == {"params", "image"}


def test_a_damaged_model_is_named_without_its_folder(
    client: TestClient, reconstruction_models: Path, studies: Path
) -> None:
    (reconstruction_models / "liver_ct" / "weights.safetensors").write_bytes(b"torn")
    refused = post(client, RECONSTRUCTION, config="liver_ct", saliency=True)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("liver_ct/weights.safetensors is ")
    assert str(studies) not in refused.text


def test_a_method_without_uncertainty_sends_none(client: TestClient) -> None:
    response = client.post("/infer/clap_attention?image=head", data={"params": '{"uncertainty": true}'})
    assert set(parts(response)) == {"params", "image"}


@both
@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"config": "chest_xray"}, "Train it first: POST /train/{task}"),
        ({"trained": "chest_xray"}, "brain_mri, liver_ct"),
        ({"trained": "../brain_mri"}, "No model is trained"),
        ({"trained": "previous"}, "No model is trained"),
        ({"config": "kidney"}, "kidney"),
        ({"config": "brain_mri", "trained": "liver_ct"}, "Leave config out"),
        ({"backbone": "embedded"}, "backbone"),
        ({"positive": ["tumor"]}, "positive"),
        ({"method": "clap"}, "method"),
        ({"extra_maps": ["saliency"]}, "extra_maps"),
        ({"seed": -1}, "seed"),
        ({"uncertainty": "perhaps"}, "uncertainty"),
        ({"reconstruction": "perhaps"}, "reconstruction"),
    ],
)
@pytest.mark.usefixtures("folders")
def test_bad_requests_are_422_with_the_reason(
    client: TestClient, studies: Path, pipeline: Any, task: str, params: dict[str, Any], named: str
) -> None:
    refused = post(client, task, **params)
    assert refused.status_code == 422
    assert named.format(task=task) in refused.json()["detail"]
    assert str(studies) not in refused.text
    assert pipeline.requests == []


@pytest.mark.parametrize("key", ["extra_maps", "saliency", "reconstruction"])
def test_a_method_of_words_knows_none_of_the_further_maps(client: TestClient, key: str) -> None:
    refused = client.post("/infer/clap_attention?image=head", data={"params": json.dumps({key: ["saliency"]})})
    assert refused.status_code == 422
    assert f"cannot set: {key}" in refused.json()["detail"]


@both
def test_nothing_trained_yet_says_how_to_train(client: TestClient, task: str) -> None:
    refused = post(client, task)
    assert refused.status_code == 422
    assert "No model is trained for 'brain_mri' yet (trained: none). Train it first" in refused.json()["detail"]


def test_the_model_of_one_method_is_none_of_the_other(client: TestClient, models: Path) -> None:
    assert post(client, FEW_SHOT).status_code == 200
    assert "POST /train/unet_reconstruction" in post(client, RECONSTRUCTION).json()["detail"]


@both
def test_a_model_that_cannot_be_used_is_listed_with_its_problem_and_named_without_folders(
    client: TestClient, folders: dict[str, Path], studies: Path, pipeline: Any, task: str
) -> None:
    pipeline.detect_error = ModelError(f"{folders[task] / 'brain_mri'} is of another encoder.", "Train again.")
    refused = post(client, task)
    assert refused.json()["detail"] == "brain_mri is of another encoder. Train again."
    weights = folders[task] / "liver_ct" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    trained = client.get("/info/").json()["anomalabel"]["trained"]
    facts = {fact["name"]: fact["problem"] for fact in trained if fact["task"] == task}
    assert facts["brain_mri"] == ""
    assert "damaged" in facts["liver_ct"]
    assert [fact["problem"] for fact in trained if fact["task"] != task] == ["", ""]
    assert str(studies) not in client.get("/info/").text.replace(f'"studies":"{studies}"', "")

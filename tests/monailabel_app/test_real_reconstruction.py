"""Training of the U-Net by a server process with the library itself, over real connections."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from requests_toolbelt.multipart.decoder import MultipartDecoder
from server_talk import array_of, wait_for

from anomalabel.config import DetectionRequest
from anomalabel.pipeline import DetectionPipeline

CONFIG = "breast_ultrasound"
TASK = "unet_reconstruction"
FOLDER = "many-healthy"
IMAGES = 60
ASKED = {"config": CONFIG, "healthy": FOLDER, "saliency": "ear", "epochs": 1, "samples": 16}
PATIENCE_S = 120


def status_of(url: str) -> dict[str, Any]:
    status: dict[str, Any] = requests.get(f"{url}/train/", timeout=30).json()
    return status


def ended(url: str) -> dict[str, Any]:
    """The status of the training once it has ended."""
    wait_for(lambda: status_of(url)["status"] != "RUNNING", PATIENCE_S)
    return status_of(url)


def train(url: str, **changes: Any) -> None:
    started = requests.post(f"{url}/train/{TASK}", json={**ASKED, **changes}, timeout=30)
    assert started.status_code == 200, started.text


def healthy_pixels(seed: int, side: int = 64) -> np.ndarray:
    """(side, side) uint8: tissue as in the fixture `planted`, with nothing planted."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = np.sin(x * generator.uniform(4, 9)) * np.cos(y * generator.uniform(4, 9))
    return np.clip(110 + 25 * waves + generator.normal(0, 6, (side, side)), 1, 200).astype(np.uint8)


@pytest.fixture(scope="module")
def learnt(running_server: Any) -> dict[str, Any]:
    """The status of a brief training on 60 pictures of tissue."""
    folder = running_server.studies / FOLDER
    folder.mkdir()
    for seed in range(IMAGES):
        Image.fromarray(healthy_pixels(seed)).save(folder / f"{seed}.png")
    train(running_server.url)
    return ended(running_server.url)


def infer(url: str, pixels: np.ndarray, folder: Path, **params: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Report, and heatmap and further maps (rows, columns) by the name of their part."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    answer = requests.post(
        f"{url}/infer/{TASK}",
        data={"params": json.dumps({"config": CONFIG, **params})},
        files={"file": ("picture.png", content.getvalue())},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    report, *files = MultipartDecoder.from_response(answer).parts
    maps = {}
    for file in files:
        name = file.headers[b"Content-Disposition"].decode().split('name="')[1].split('"')[0]
        maps[name] = array_of(file.content, folder)[0][0]
    return json.loads(report.content), maps


def test_the_status_tells_what_was_learned_and_how_long_it_took(learnt: dict[str, Any], running_server: Any) -> None:
    assert learnt["status"] == "DONE", learnt
    report = learnt["report"]
    assert (report["model"], report["shots_used"]) == (CONFIG, IMAGES - 1)
    (odd,) = report["left_out"]
    assert sorted([*report["images"], odd["image"]]) == sorted(f"{seed}.png" for seed in range(IMAGES))
    assert "as far from the others" in odd["reason"]
    assert "training" in learnt["details"]
    assert learnt["details"][-2:] == ["writing the model", "The new model is in use."]
    assert 0 < learnt["seconds_running"] < PATIENCE_S
    assert learnt["seconds_left"] is None
    assert str(running_server.studies) not in json.dumps(learnt)
    trained = requests.get(f"{running_server.url}/info/", timeout=30).json()["anomalabel"]["trained"]
    (facts,) = [facts for facts in trained if facts["task"] == TASK]
    assert (facts["name"], facts["shots"], facts["problem"]) == (CONFIG, IMAGES - 1, "")


@pytest.mark.usefixtures("learnt")
def test_what_comes_over_the_wire_is_what_the_library_says_with_the_same_model(
    running_server: Any, planted: np.ndarray, tmp_path: Path
) -> None:
    report, maps = infer(running_server.url, planted, tmp_path, saliency=True, reconstruction=True)
    assert list(maps) == ["image", "saliency", "reconstruction"]
    folder = running_server.studies / "anomalabel" / "models" / TASK / CONFIG
    asked = {"config": CONFIG, "method": "reconstruction", "backbone": str(folder)}
    request = DetectionRequest(**asked, extra_maps=("saliency", "reconstruction"))
    Image.fromarray(planted).save(tmp_path / "picture.png")
    result = DetectionPipeline("cpu").detect(tmp_path / "picture.png", request)
    for name, values in {"image": result.anomaly_map, **result.extra_maps}.items():
        assert np.isfinite(values).any()
        np.testing.assert_allclose(maps[name], values[0], atol=1e-4)
    assert (report["method"], report["model"]["name"]) == ("reconstruction", CONFIG)
    assert report["image_score"] == pytest.approx(result.report.image_score, abs=1e-4)
    assert report["image_threshold"]["rule"].startswith("image: ")
    again, alone = infer(running_server.url, planted, tmp_path)
    assert list(alone) == ["image"]
    np.testing.assert_array_equal(alone["image"], maps["image"])
    assert again["image_score"] == report["image_score"]


@pytest.mark.usefixtures("learnt")
def test_a_cancelled_training_changes_nothing_and_the_same_request_goes_on_from_its_checkpoint(
    running_server: Any, planted: np.ndarray, tmp_path: Path
) -> None:
    url = running_server.url
    before = infer(url, planted, tmp_path)[0]["model"]["weights_sha256"]
    first_seen = []
    for least in (8, 9):
        train(url, epochs=500, seed=1)
        wait_for(lambda: status_of(url)["stage"] == "training" and status_of(url)["done"] > 0, PATIENCE_S)
        first_seen.append(status_of(url)["done"])
        wait_for(lambda least=least: status_of(url)["done"] >= least, PATIENCE_S)
        running = status_of(url)
        assert running["total"] == 500
        assert running["seconds_left"] > 0
        assert requests.delete(f"{url}/train/", timeout=30).status_code == 200
        assert ended(url)["status"] == "STOPPED"
    # An epoch has one step here and ends with a checkpoint, the last one not if it was cancelled before.
    assert first_seen[0] < 7 <= first_seen[1]
    assert infer(url, planted, tmp_path)[0]["model"]["weights_sha256"] == before

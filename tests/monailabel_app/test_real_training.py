"""Few-shot training by a server process with the library itself, over real connections."""

import io
import json
import time
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import requests
from PIL import Image
from requests_toolbelt.multipart.decoder import MultipartDecoder

CONFIG = "breast_ultrasound"
TRAIN = "train/few_shot_localization"


def picture(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def ended(url: str) -> dict[str, Any]:
    """The status of the training once it has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status: dict[str, Any] = requests.get(f"{url}/train/", timeout=10).json()
        if status["status"] != "RUNNING":
            return status
        time.sleep(0.05)
    raise AssertionError(status)


def infer(url: str, pixels: np.ndarray, tmp_path: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Report, heatmap and uncertainty (rows, columns) of a picture."""
    answer = requests.post(
        f"{url}/infer/few_shot_localization",
        data={"params": json.dumps({"config": CONFIG, "uncertainty": True})},
        files={"file": ("picture.png", picture(pixels))},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    report, *maps = (part.content for part in MultipartDecoder.from_response(answer).parts)
    arrays = []
    for number, content in enumerate(maps):
        file = tmp_path / f"{number}.nrrd"
        file.write_bytes(content)
        arrays.append(nrrd.read(str(file), index_order="C")[0][0])
    heatmap, uncertainty = arrays
    return json.loads(report), heatmap, uncertainty


def test_the_status_tells_what_was_learned_and_from_what(trained_server: Any) -> None:
    report = trained_server.training["report"]
    assert (report["model"], report["shots_used"]) == (CONFIG, 4)
    assert sorted(report["images"]) == ["0.png", "1.png", "2.png", "3.png"]
    reasons = {one["image"]: one["reason"] for one in report["left_out"]}
    assert reasons.keys() == {"again.png", "torn.png"}
    assert reasons["again.png"] == "it is the same image as 0.png"
    assert reasons["torn.png"].startswith("healthy/torn.png is truncated")
    assert str(trained_server.studies) not in json.dumps(trained_server.training)
    assert "4 held-out healthy images" in report["thresholds"]["image"]
    stages = trained_server.training["details"]
    assert stages[0] == "loading the encoder"
    assert stages[-2:] == ["writing the model", "The new model is in use."]


def test_the_model_marks_what_is_planted_and_says_what_healthy_images_score(
    trained_server: Any, planted: np.ndarray, tmp_path: Path
) -> None:
    report, heatmap, uncertainty = infer(trained_server.url, planted, tmp_path)
    row, column = np.unravel_index(np.nanargmax(heatmap), heatmap.shape)
    assert (planted[row - 8 : row + 9, column - 8 : column + 9] == 250).any()
    assert report["image_score"] > report["image_threshold"]["value"]
    assert report["image_threshold"]["rule"] == trained_server.training["report"]["thresholds"]["image"]
    assert report["threshold"]["rule"].startswith("pixel: ")
    np.testing.assert_array_equal(np.isnan(heatmap), np.isnan(uncertainty))
    assert np.nanmin(uncertainty) >= 0 < np.nanmax(uncertainty)


def test_another_training_is_in_use_at_once_and_a_cancelled_one_changes_nothing(
    trained_server: Any, planted: np.ndarray, tmp_path: Path
) -> None:
    url = trained_server.url
    before = infer(url, planted, tmp_path)[0]["model"]["weights_sha256"]
    long = {"config": CONFIG, "healthy": "healthy", "shots": 4, "epochs": 10_000, "seed": 1}
    assert requests.post(f"{url}/{TRAIN}", json=long, timeout=10).status_code == 200
    assert requests.post(f"{url}/{TRAIN}", json=long, timeout=10).status_code == 409
    assert infer(url, planted, tmp_path)[0]["model"]["weights_sha256"] == before
    assert requests.delete(f"{url}/train/", timeout=10).status_code == 200
    assert ended(url)["status"] == "STOPPED"
    assert infer(url, planted, tmp_path)[0]["model"]["weights_sha256"] == before

    requests.post(f"{url}/{TRAIN}", json={**long, "epochs": 1}, timeout=10)
    status = ended(url)
    assert status["status"] == "DONE"
    after = infer(url, planted, tmp_path)[0]["model"]["weights_sha256"]
    assert before != after == status["report"]["weights_sha256"]


def test_too_few_images_are_an_error_that_names_the_others(trained_server: Any) -> None:
    asked = {"config": CONFIG, "healthy": "healthy", "shots": 7}
    assert requests.post(f"{trained_server.url}/{TRAIN}", json=asked, timeout=10).status_code == 200
    status = ended(trained_server.url)
    assert status["status"] == "ERROR"
    assert status["error"].startswith("4 healthy images can be learned from, and 7 shots are wanted. Left out: ")
    assert "healthy/torn.png is truncated" in status["error"]
    assert str(trained_server.studies) not in json.dumps(status)

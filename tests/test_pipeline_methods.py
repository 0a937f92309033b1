"""Methods without prompts, from files to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalabel.config import DetectionRequest
from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.pipeline import DetectionPipeline

TILE = 8


@pytest.fixture(scope="module")
def pipeline() -> DetectionPipeline:
    return DetectionPipeline("cpu", "float32")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Four healthy pictures of speckle, and one with a checkerboard in its lower right quarter."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(5):
        image = np.random.default_rng(seed).uniform(60, 120, (64, 64))
        if seed == 4:
            rows, columns = np.mgrid[:32, :32] // TILE
            image[32:, 32:] = 40 + 200 * ((rows + columns) % 2)
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{seed}.png")
    return folder


def ask(folder: Path, method: str, **values) -> DetectionRequest:
    return DetectionRequest(config="chest_xray", method=method, backbone=str(folder), **values)


def test_a_bank_is_built_once_and_scores_what_is_foreign(pipeline, pictures, tiny_clip_folder, tiny_clip):
    request = ask(tiny_clip_folder, "normal_bank")
    told = []
    shots = [pictures / f"{seed}.png" for seed in range(3)]
    detector = pipeline.detector(request, shots, lambda done, total: told.append((done, total)))
    sick, healthy = (pipeline.detect(pictures / f"{seed}.png", request, detector=detector) for seed in (4, 3))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert sick.report.image_score > healthy.report.image_score
    assert pipeline.detect(shots[1], request, detector=detector).report.image_score < 1e-3
    report = sick.report
    assert (report.method, report.model, report.prompt_specificity) == ("normal_bank", tiny_clip.identity, None)
    assert (report.prompts.positive, report.prompts.negative) == ((), ())
    assert not [warning for warning in report.warnings if "prompt" in warning or "never saw" in warning]


def test_a_bank_without_healthy_images(pipeline, pictures, tiny_clip_folder):
    request = ask(tiny_clip_folder, "normal_bank")
    with pytest.raises(ConfigError, match=r"learns from healthy images and none was given.*--healthy"):
        pipeline.detector(request)
    with pytest.raises(ConfigError, match="learns from healthy images"):
        pipeline.detect(pictures / "4.png", request)


def test_a_healthy_image_that_cannot_be_read(pipeline, pictures, tiny_clip_folder):
    with pytest.raises(ImageReadError, match=r"missing\.png"):
        pipeline.detector(ask(tiny_clip_folder, "normal_bank"), [pictures / "0.png", pictures / "missing.png"])


def test_healthy_images_are_not_read_by_methods_that_need_none(pipeline, tiny_clip_folder):
    detector = pipeline.detector(ask(tiny_clip_folder, "intensity"), [Path("missing.png")])
    assert detector.identity.name == "none"


def test_brightness_needs_no_model(pipeline, pictures):
    result = pipeline.detect(pictures / "4.png", ask(Path("no/such/model"), "intensity"))
    report = result.report
    assert (report.method, report.model.name, report.model.weights_sha256) == ("intensity", "none", "")
    assert report.image_score == pytest.approx(np.nanquantile(result.anomaly_map, 0.99))
    brightest = np.unravel_index(int(np.nanargmax(result.anomaly_map)), result.anomaly_map.shape)
    assert brightest[1] >= 32
    assert brightest[2] >= 32


def test_a_network_without_text_serves_methods_without_prompts(pipeline, pictures, monkeypatch):
    from anomalabel.backbones import encoders
    from anomalabel.backbones.patch_encoders import TimmPatchEncoder

    made = TimmPatchEncoder("mobilenetv3_small_050", pretrained=False, side=64)
    monkeypatch.setattr(encoders, "load_patch_encoder", lambda name, device, precision: made)
    request = DetectionRequest(config="chest_xray", method="normal_bank", backbone="timm:mobilenetv3_small_050")
    detector = pipeline.detector(request, [pictures / "0.png"])
    report = pipeline.detect(pictures / "0.png", request, detector=detector).report
    assert report.model == made.identity
    assert report.image_score == pytest.approx(0, abs=0.05)

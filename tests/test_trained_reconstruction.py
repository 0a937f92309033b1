"""Detection with a trained reconstruction model: the whole way to the files, and folders that cannot be used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from anomalabel.attention import text_saliency
from anomalabel.backbones import load_self_attention
from anomalabel.config import DetectionRequest
from anomalabel.detectors.base import DescribedDetector
from anomalabel.errors import ConfigError, ModelError
from anomalabel.model_folder import read_description, read_model_folder, write_model_folder
from anomalabel.outputs import output_paths, write_result
from anomalabel.pipeline import DetectionPipeline

EDGES = {
    "errors": {"features": 0.0, "cell": 8},
    "healthy_level": True,
    "training": {"epochs": 4, "samples": 64, "batch_size": 8},
}
"""Learned for long enough to see lesions by their edges; in a random encoder's eyes they are nothing special."""


@pytest.fixture
def pipeline() -> DetectionPipeline:
    return DetectionPipeline("cpu", "float32")


@pytest.fixture
def bench(reconstruction_bench, monkeypatch):
    """No network of timm can be had."""
    monkeypatch.setattr(load_self_attention, "find_timm_weights", lambda network: None)
    return reconstruction_bench


@pytest.fixture
def sick(bench, tmp_path) -> Path:
    return bench.draw(tmp_path / "sick.png", 33, planted=True)


@pytest.fixture
def request_of(bench):
    def make(**values) -> DetectionRequest:
        return DetectionRequest(
            **{"config": "tissue", "method": "reconstruction", "backbone": str(bench.model), **values}
        )

    return make


def test_a_planted_lesion_on_the_whole_way_to_the_files(bench, pipeline, sick, request_of, tmp_path):
    bench.configure(**EDGES)
    trained = bench.train(saliency="plp")
    description = read_description(bench.model)
    asked = request_of(extra_maps=("saliency", "reconstruction"))
    result = pipeline.detect(sick, asked)
    report = result.report
    assert (report.method, report.config, report.calibrated) == ("reconstruction", "tissue", True)
    assert (report.model.name, report.model.weights_sha256) == ("model", trained.weights_sha256)
    assert report.prompts == description.prompts
    assert (report.image_threshold, report.threshold) == (
        description.thresholds["image"],
        description.thresholds["pixel"],
    )
    assert any("Learned from 12 healthy images" in warning for warning in report.warnings)
    # The lower left quarter is planted.
    values = result.anomaly_map[0]
    assert values.shape == (32, 32)
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    assert (row >= 14, column < 18) == (True, True)
    assert report.image_score > 1.5 * report.image_threshold.value
    column, row, plane = report.findings[0].peak_index
    assert (plane, row >= 14, column < 18) == (0, True, True)
    healthy = pipeline.detect(bench.draw(tmp_path / "fine.png", 44), asked)
    assert healthy.report.image_score < report.image_threshold.value
    paths = output_paths(tmp_path / "out", sick)
    write_result(result, paths)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"sick.heatmap.nrrd", "sick.findings.json", "sick.saliency.nrrd", "sick.reconstruction.nrrd"} <= written
    unseen = np.isnan(values)
    for extra in result.extra_maps.values():
        np.testing.assert_array_equal(np.isnan(extra[0]), unseen)
    restored = result.extra_maps["reconstruction"][0]
    assert 0 <= np.nanmin(restored) < np.nanmax(restored) <= 1
    # What is believed healthy lacks the checkerboard.
    pixels = np.asarray(Image.open(sick)).astype(np.float32) / 255
    assert np.nanstd(restored[18:, :14]) < 0.6 * np.std(pixels[18:, :14])


@pytest.mark.parametrize("saliency", ["none", "ear", "plp", "clap"])
def test_the_folder_answers_as_what_was_learned(bench, pipeline, sick, request_of, saliency):
    bench.train(saliency=saliency)
    first = pipeline.detect(sick, request_of())
    again = DetectionPipeline("cpu", "float32").detect(sick, request_of())
    np.testing.assert_array_equal(first.anomaly_map, again.anomaly_map)
    assert first.report == again.report
    # Without a folder the same is learned from the same images at once.
    healthy = [bench.healthy / one.name for one in read_description(bench.model).healthy]
    values = {"backbone": str(bench.encoder), "config": str(bench.config)}
    asked = request_of(method=f"reconstruction_{saliency}", **values)
    direct = pipeline.detect(sick, asked, detector=pipeline.detector(asked, healthy))
    np.testing.assert_allclose(direct.anomaly_map, first.anomaly_map, atol=1e-4)
    assert direct.report.model.name == "U-Net"
    assert direct.report.image_threshold.rule == first.report.image_threshold.rule


def test_saliency_none_asks_for_no_attention(bench, pipeline, sick, request_of, monkeypatch):
    bench.train(saliency="none")
    monkeypatch.setattr(text_saliency, "text_attention", lambda *_: pytest.fail("attention was asked for"))
    monkeypatch.setattr(load_self_attention, "load_model", lambda *_: pytest.fail("attention was asked for"))
    detector = pipeline.detector(request_of())
    assert detector.shows == {"reconstruction"}
    assert pipeline.detect(sick, request_of(extra_maps=("reconstruction",))).report.prompts.positive == ()
    with pytest.raises(ConfigError, match="has no saliency map to show"):
        pipeline.detect(Path("missing.png"), request_of(extra_maps=("saliency",)))


def test_self_attention_stays_the_one_that_was_learned_with(bench, pipeline, sick, request_of, monkeypatch):
    bench.train(saliency="ear")
    before = pipeline.detect(sick, request_of())
    # Weights that turn up later are another network's.
    monkeypatch.setattr(
        load_self_attention, "find_timm_weights", lambda _: pytest.fail("another network was asked for")
    )
    later = DetectionPipeline("cpu", "float32")
    detector = later.detector(request_of())
    assert isinstance(detector, DescribedDetector)
    assert detector.description == "Saliency: EAR: mean self-attention of knowing."
    np.testing.assert_array_equal(later.detect(sick, request_of()).anomaly_map, before.anomaly_map)


def test_a_model_whose_self_attention_is_gone_is_refused(bench, sick, request_of):
    bench.train(saliency="ear")
    model, tensors = read_model_folder(bench.model)
    settings = model.config.reconstruction.model_copy(update={"self_attention": "timm:vit_small_patch16_224.dino"})
    config = model.config.model_copy(update={"reconstruction": settings})
    write_model_folder(bench.model, model.model_copy(update={"config": config}), tensors)
    with pytest.raises(ModelError, match=r"vit_small_patch16_224\.dino are not here and cannot be fetched"):
        DetectionPipeline("cpu", "float32").detect(sick, request_of())


def test_a_running_detector_goes_on_and_the_next_request_sees_the_new_model(bench, pipeline, sick, request_of):
    old = bench.train().weights_sha256
    held = pipeline.detector(request_of())
    before = pipeline.detect(sick, request_of(), detector=held)
    assert pipeline.detector(request_of()) is held
    new = bench.train(seed=1).weights_sha256
    np.testing.assert_array_equal(pipeline.detect(sick, request_of(), detector=held).anomaly_map, before.anomaly_map)
    assert before.report.model.weights_sha256 == old
    assert pipeline.detect(sick, request_of()).report.model.weights_sha256 == new != old


def test_another_encoder_under_the_same_name_is_refused(bench, sick, request_of, tmp_path):
    copied = Path(shutil.copytree(bench.encoder, tmp_path / "encoder"))
    bench.train(encoder=str(copied))
    (weights,) = copied.glob("*.safetensors")
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    with pytest.raises(ModelError, match=r"trained on features of the encoder encoder.*train again"):
        DetectionPipeline("cpu", "float32").detect(sick, request_of())
    shutil.rmtree(copied)
    with pytest.raises(ModelError, match="There is no model"):
        DetectionPipeline("cpu", "float32").detect(sick, request_of())


def test_tensors_that_do_not_fit_the_description_are_refused(bench, sick, request_of):
    bench.train()
    model, tensors = read_model_folder(bench.model)
    for name in ("level.msgms.mean", next(name for name in tensors if name.startswith("network."))):
        write_model_folder(bench.model, model, {key: value for key, value in tensors.items() if key != name})
        with pytest.raises(ModelError, match=r"do not fit its description.*Train it again"):
            DetectionPipeline("cpu", "float32").detect(sick, request_of())
    write_model_folder(bench.model, model, tensors)
    assert DetectionPipeline("cpu", "float32").detect(sick, request_of()).report.calibrated


def test_another_method_does_not_take_the_folder(bench, pipeline, sick, request_of):
    bench.train()
    refusal = r"trained by the method reconstruction, not by few_shot\. Ask with --method reconstruction"
    with pytest.raises(ModelError, match=refusal):
        pipeline.detect(sick, request_of(method="few_shot"))
    model, tensors = read_model_folder(bench.model)
    write_model_folder(bench.model, model.model_copy(update={"method": "few_shot"}), tensors)
    with pytest.raises(ModelError, match="trained by the method few_shot, not by reconstruction"):
        pipeline.detect(sick, request_of())


def test_what_was_learned_cannot_be_asked_otherwise(bench, pipeline, sick, request_of):
    bench.train()
    with pytest.raises(ConfigError, match=r"trained for tissue, the request is about brain_mri"):
        pipeline.detect(sick, request_of(config="brain_mri"))
    with pytest.raises(ConfigError, match="texts of a trained model are part of what it learned"):
        pipeline.detect(sick, request_of(positive=("a cyst",)))
    before = pipeline.detect(sick, request_of())
    bench.configure(channels=[5] * 6, score="max")
    after = pipeline.detect(sick, request_of(config=str(bench.config)))
    np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)

"""Detection with a trained model folder: the whole way, a new model in its place, and folders that cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import DetectionRequest
from anomalabel.errors import ConfigError, ModelError
from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
from anomalabel.learning.healthy_set import list_healthy
from anomalabel.localization.few_shot.stored import from_tensors
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.model_folder import read_description, read_model_folder, write_model_folder
from anomalabel.outputs import output_paths, write_result
from anomalabel.pipeline import DetectionPipeline


@pytest.fixture
def train(few_shot_files, tmp_path):
    """Trains `model` of six pictures, one epoch."""

    def run(seed=0, encoder=None):
        request = FewShotTraining(config=str(few_shot_files.config), shots=6, seed=seed, epochs=1)
        encoders = NamedEncoders(str(encoder or few_shot_files.encoder), "cpu", "float32")
        images = list_healthy(few_shot_files.healthy)
        return train_few_shot(request, images, tmp_path / "model", encoders, lambda *told: None, store=FeatureStore())

    return run


@pytest.fixture
def pipeline() -> DetectionPipeline:
    return DetectionPipeline("cpu", "float32")


@pytest.fixture
def sick(few_shot_files, tmp_path) -> Path:
    return few_shot_files.draw(tmp_path / "sick.png", 33, planted=True)


@pytest.fixture
def request_of(tmp_path):
    def make(folder=tmp_path / "model", **values) -> DetectionRequest:
        return DetectionRequest(**{"config": "tissue", "method": "few_shot", "backbone": str(folder), **values})

    return make


def test_a_report_tells_the_trained_models_own_words(train, pipeline, sick, request_of, tmp_path):
    trained = train()
    description = read_description(tmp_path / "model")
    result = pipeline.detect(sick, request_of())
    report = result.report
    assert (report.model.name, report.model.weights_sha256) == ("model", trained.weights_sha256)
    assert report.prompts == description.prompts
    assert report.config == "tissue"
    assert report.calibrated
    assert report.threshold == description.thresholds["pixel"]
    assert report.image_threshold == description.thresholds["image"]
    assert not any("relative to this image" in warning for warning in report.warnings)
    assert result.uncertainty_map.shape == result.anomaly_map.shape == (1, 32, 32)
    for finding in report.findings:
        column, row, plane = finding.peak_index
        assert result.anomaly_map[plane, row, column] > report.threshold.value
        assert finding.uncertainty is not None
    paths = output_paths(tmp_path / "out", sick)
    write_result(result, paths)
    assert paths.uncertainty.name == "sick.uncertainty.nrrd"
    assert paths.uncertainty.is_file()


def test_the_folder_answers_as_what_was_learned(train, pipeline, sick, request_of, few_shot_files, tmp_path):
    train()
    first = pipeline.detect(sick, request_of())
    again = DetectionPipeline("cpu", "float32").detect(sick, request_of())
    np.testing.assert_array_equal(first.anomaly_map, again.anomaly_map)
    np.testing.assert_array_equal(first.uncertainty_map, again.uncertainty_map)
    assert first.report == again.report
    model, _ = from_tensors(*read_model_folder(tmp_path / "model"), torch.device("cpu"))
    assert set(model.weights) == {"bank", "text", "head"}
    # Without a folder the same is learned from the images at once.
    shots = [few_shot_files.healthy / one.name for one in read_description(tmp_path / "model").healthy]
    text = few_shot_files.config.read_text()
    few_shot_files.config.write_text(text.replace("epochs: 3", "epochs: 1"))
    asked = request_of(few_shot_files.encoder, config=str(few_shot_files.config))
    direct = pipeline.detect(sick, asked, detector=pipeline.detector(asked, shots))
    np.testing.assert_allclose(direct.anomaly_map, first.anomaly_map, atol=1e-4)
    assert direct.report.model.name == "few_shot on knowing"


def test_a_running_detector_goes_on_and_the_next_request_sees_the_new_model(train, pipeline, sick, request_of):
    old = train().weights_sha256
    held = pipeline.detector(request_of())
    before = pipeline.detect(sick, request_of(), detector=held)
    assert pipeline.detector(request_of()) is held
    during = []

    def look(done, total):
        if not during:
            during.append(train(seed=1).weights_sha256)

    meanwhile = pipeline.detect(sick, request_of(), look, detector=held)
    np.testing.assert_array_equal(meanwhile.anomaly_map, before.anomaly_map)
    assert meanwhile.report.model.weights_sha256 == old
    assert during[0] != old
    after = pipeline.detect(sick, request_of())
    assert after.report.model.weights_sha256 == during[0]
    assert not np.array_equal(after.anomaly_map, before.anomaly_map)
    assert pipeline.detector(request_of()) is not held


def test_what_was_learned_cannot_be_asked_otherwise(train, pipeline, sick, request_of, few_shot_files):
    train()
    with pytest.raises(ConfigError, match=r"trained for tissue, the request is about brain_mri.*--config tissue"):
        pipeline.detect(sick, request_of(config="brain_mri"))
    for side in ("positive", "negative"):
        with pytest.raises(ConfigError, match="texts of a trained model are part of what it learned"):
            pipeline.detect(sick, request_of(**{side: ("a cyst",)}))
    with pytest.raises(ConfigError, match="There is no config 'tisue'"):
        pipeline.detect(sick, request_of(config="tisue"))
    # The file it was trained by names the same config.
    assert pipeline.detect(sick, request_of(config=str(few_shot_files.config))).report.config == "tissue"
    # What concerns findings and slices alone may be chosen.
    none = pipeline.detect(sick, request_of(minimum_volume_mm3=1e9)).report
    assert none.findings == ()


def test_later_edits_of_the_config_change_nothing(train, pipeline, sick, request_of, few_shot_files):
    train()
    before = pipeline.detect(sick, request_of())
    few_shot_files.configure(bank=False, scales=[1, 3])
    after = pipeline.detect(sick, request_of(config=str(few_shot_files.config)))
    np.testing.assert_array_equal(after.anomaly_map, before.anomaly_map)


def test_another_encoder_under_the_same_name_is_refused(train, sick, request_of, few_shot_files, tmp_path):
    from safetensors.torch import load_file, save_file

    copied = Path(shutil.copytree(few_shot_files.encoder, tmp_path / "encoder"))
    train(encoder=copied)
    (weights,) = copied.glob("*.safetensors")
    save_file({name: value * 1.01 for name, value in load_file(weights).items()}, weights)
    with pytest.raises(ModelError, match=r"trained on features of the encoder encoder.*train again"):
        DetectionPipeline("cpu", "float32").detect(sick, request_of())
    shutil.rmtree(copied)
    with pytest.raises(ModelError, match="There is no model"):
        DetectionPipeline("cpu", "float32").detect(sick, request_of())


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def test_damaged_folders_are_refused_and_say_so(train, pipeline, sick, request_of, tmp_path):
    train()
    weights = tmp_path / "model" / "weights.safetensors"
    whole = weights.read_bytes()
    for place in (-20, len(whole) // 2, 200):
        weights.write_bytes(whole)
        flip(weights, place)
        with pytest.raises(ModelError, match=r"weights.safetensors is damaged.*(train again|Copy the folder again)"):
            DetectionPipeline("cpu", "float32").detect(sick, request_of())
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="damaged"):
        pipeline.detect(sick, request_of())
    weights.write_bytes(whole)
    assert pipeline.detect(sick, request_of()).report.calibrated


def test_another_schema_is_refused(train, pipeline, sick, request_of, tmp_path):
    from anomalabel.model_folder.tensor_file import pack, unpack

    train()
    weights = tmp_path / "model" / "weights.safetensors"
    label, tensors = unpack(weights.read_bytes())
    for schema, word in (("anomalabel.model/0", "older"), ("anomalabel.model/9", "newer")):
        weights.write_bytes(pack(json.dumps({**json.loads(label.text), "schema": schema}), tensors))
        with pytest.raises(ModelError, match=word):
            pipeline.detect(sick, request_of())


def test_another_methods_model_is_refused(train, pipeline, sick, request_of, tmp_path):
    train()
    model, tensors = read_model_folder(tmp_path / "model")
    write_model_folder(tmp_path / "model", model.model_copy(update={"method": "reconstruction"}), tensors)
    refusal = r"trained by the method reconstruction, not by few_shot\. Ask with --method reconstruction"
    with pytest.raises(ModelError, match=refusal):
        pipeline.detect(sick, request_of())


def test_other_methods_do_not_take_a_trained_folder_for_an_encoder(train, pipeline, sick, request_of, few_shot_files):
    train()
    with pytest.raises(ModelError, match=r"open_clip_config\.json"):
        pipeline.detect(sick, request_of(method="clap", config=str(few_shot_files.config)))

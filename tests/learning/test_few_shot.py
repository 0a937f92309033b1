"""From a folder of healthy pictures to a model folder: what is learned from, what is refused, what stays."""

from __future__ import annotations

import errno
import os
import shutil

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import load_config
from anomalabel.detectors.registry import texts_of
from anomalabel.errors import Cancelled, ConfigError, ModelError, OutputError
from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
from anomalabel.learning.healthy_set import list_healthy
from anomalabel.localization.few_shot.stored import from_tensors
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.model_folder import read_description, read_model_folder

STAGES = (
    "reading healthy images",
    "comparing healthy images",
    "encoding healthy images",
    "encoding views",
    "learning head 1 of 2",
    "learning head 2 of 2",
    "judging held-out images",
    "checking on planted anomalies",
    "writing the model",
)


def silent(stage, done, total):
    """Nobody watches."""


@pytest.fixture
def train(few_shot_files, tmp_path):
    """Trains from the pictures into `model`."""

    def run(shots=4, seed=0, epochs=None, healthy=None, watch=silent, out=tmp_path / "model", encoder=None, **more):
        request = FewShotTraining(config=str(few_shot_files.config), shots=shots, seed=seed, epochs=epochs)
        encoders = NamedEncoders(str(encoder or few_shot_files.encoder), "cpu", "float32")
        paths = list_healthy(few_shot_files.healthy) if healthy is None else healthy
        return train_few_shot(request, paths, out, encoders, watch, **more)

    return run


def tensors_of(folder):
    return read_model_folder(folder)[1]


def test_a_model_folder_with_all_that_is_known(train, few_shot_files, tmp_path):
    report = train()
    model, tensors = read_model_folder(tmp_path / "model")
    assert report.model == "model"
    assert report.shots_used == len(model.healthy) == 4
    assert report.images == tuple(one.name for one in model.healthy)
    assert set(report.images) < {f"{number}.png" for number in range(10)}
    assert report.weights_sha256 == model.weights_sha256
    assert report.left_out == ()
    config = load_config(few_shot_files.config)
    assert model.config == config
    assert model.method == "few_shot"
    assert model.prompts == texts_of("few_shot", config)
    assert model.encoder == str(few_shot_files.encoder)
    assert model.backbone.name == "knowing"
    assert report.metrics == model.metrics
    assert {"uncertainty_error_auroc", "held_out_score_mean", "held_out_score_std"} <= set(model.metrics)
    assert report.thresholds == {name: one.rule for name, one in model.thresholds.items()}
    assert "4 held-out healthy images" in report.thresholds["image"]
    assert (tmp_path / "model" / "curves.png").is_file()
    fitted, calibration = from_tensors(model, tensors, torch.device("cpu"))
    assert set(fitted.weights) == {"bank", "text", "head"}
    assert len(calibration.scores) == 4
    assert np.mean(calibration.scores) == pytest.approx(model.metrics["held_out_score_mean"])


def test_the_same_again_is_the_same_bit_for_bit(train, tmp_path):
    train(out=tmp_path / "first")
    shutil.rmtree(tmp_path / "cache")
    train(out=tmp_path / "again", store=FeatureStore())
    train(out=tmp_path / "other", seed=1)
    first, again, other = (tensors_of(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(first[name], again[name]) for name in first.keys() | again.keys())
    assert not torch.equal(first["heads.0.weights.adapters.0.weight"], other["heads.0.weights.adapters.0.weight"])


def test_epochs_of_the_request_count(train, tmp_path):
    train(epochs=1)
    assert read_description(tmp_path / "model").config.few_shot.training.epochs == 1


def test_progress_passes_every_stage_in_order(train):
    told = []
    train(watch=lambda stage, done, total: told.append((stage, done, total)))
    assert tuple(dict.fromkeys(stage for stage, _, _ in told)) == STAGES
    assert all(0 <= done <= total for _, done, total in told)


def test_cancelling_in_any_stage_leaves_the_old_model(train, tmp_path):
    folder = tmp_path / "model"
    train(epochs=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for stage in STAGES:

        def watch(told, done, total, stage=stage):
            if told == stage:
                raise Cancelled

        with pytest.raises(Cancelled):
            train(seed=1, epochs=1, watch=watch)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_cancelling_the_first_training_leaves_nothing(train, tmp_path):
    def watch(told, done, total):
        if told == "writing the model":
            raise Cancelled

    with pytest.raises(Cancelled):
        train(epochs=1, watch=watch)
    assert not (tmp_path / "model").exists()


def test_the_new_model_takes_the_place_of_the_old_one_unless_the_disk_is_full(train, tmp_path, monkeypatch):
    from anomalabel.model_folder import folder as folder_file

    train(epochs=1)
    first = read_description(tmp_path / "model").weights_sha256
    train(epochs=1, seed=1)
    old = read_description(tmp_path / "model").weights_sha256
    assert old != first
    assert read_description(tmp_path / "model" / "previous").weights_sha256 == first

    def full(path, content):
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder_file, "write_synced", full)
    with pytest.raises(OutputError, match="the disk or its quota is full"):
        train(epochs=1, seed=2)
    assert read_description(tmp_path / "model").weights_sha256 == old
    assert not list((tmp_path / "model").glob(".writing*"))


def test_too_little_space_is_said_before_anything_is_read(train, monkeypatch):
    told = []
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match="full"):
        train(watch=lambda *stage: told.append(stage))
    assert told == []


def test_fewer_healthy_images_than_shots(train, few_shot_files):
    (few_shot_files.healthy / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(
        ConfigError, match=r"10 healthy images can be learned from, and 16 shots are wanted.*broken.png"
    ):
        train(shots=16)


def test_the_same_image_twice_is_learned_from_once(train, few_shot_files):
    for number in range(3):
        shutil.copy(few_shot_files.healthy / "4.png", few_shot_files.healthy / f"copy{number}.png")
    report = train(shots=10, epochs=1)
    assert len(set(report.images)) == 10
    assert [(one.image, one.reason) for one in report.left_out] == [
        (f"copy{number}.png", "it is the same image as 4.png") for number in range(3)
    ]
    with pytest.raises(ConfigError, match="10 healthy images can be learned from, and 11 shots are wanted"):
        train(shots=11)


def test_what_reviews_call_abnormal_is_left_out_by_name(train):
    report = train(shots=8, abnormal=frozenset({"3", "7.png"}))
    assert not {"3.png", "7.png"} & set(report.images)
    assert {(one.image, one.reason) for one in report.left_out} == {
        ("3.png", "it is named as abnormal"),
        ("7.png", "it is named as abnormal"),
    }
    with pytest.raises(ConfigError, match="8 healthy images"):
        train(shots=9, abnormal=frozenset({"3", "7.png"}))


def test_images_of_another_size_or_kind_are_left_out_by_name(train, few_shot_files):
    few_shot_files.draw(few_shot_files.healthy / "large.png", 90, side=100)
    image = np.stack([np.random.default_rng(3).integers(0, 200, (40, 40)) for _ in range(6)], axis=2)
    nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), np.eye(4)), few_shot_files.healthy / "head.nii.gz")
    report = train(shots=10, epochs=1)
    assert set(report.images) == {f"{number}.png" for number in range(10)}
    reasons = {one.image: one.reason for one in report.left_out}
    assert set(reasons) == {"large.png", "head.nii.gz"}
    with pytest.raises(ConfigError, match=r"shots are wanted.*large.png"):
        train(shots=12, epochs=1)


def test_an_image_far_from_the_others_is_left_out_by_its_distance(train, few_shot_files):
    rows, columns = np.mgrid[:32, :32] // 4
    Image.fromarray((255 * ((rows + columns) % 2)).astype(np.uint8)).save(few_shot_files.healthy / "board.png")
    report = train(shots=10, epochs=1)
    (left,) = [one for one in report.left_out if one.image == "board.png"]
    assert "times as far from the others as is usual" in left.reason


def test_three_images_cannot_tell_an_odd_one_which_is_said(train, few_shot_files):
    for number in range(3, 10):
        (few_shot_files.healthy / f"{number}.png").unlink()
    report = train(shots=3, epochs=1)
    assert any("at least 4 are needed" in warning for warning in report.warnings)


def test_terms_that_no_ontology_knows_are_said_once(train, few_shot_files, tmp_path):
    text = few_shot_files.config.read_text()
    few_shot_files.config.write_text(text.replace("- glioma\n", "- snarkitis\n"))
    report = train(epochs=1)
    assert any("No ontology here knows these terms of the config: snarkitis" in one for one in report.warnings)
    assert any("never saw" in one and "snarkitis" in one for one in report.warnings)
    assert read_description(tmp_path / "model").warnings == tuple(
        one for one in report.warnings if "ontology" not in one
    )


def test_the_folder_of_somebody_else_is_not_touched(train, few_shot_files, tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "model").mkdir()
    save_file({"x": torch.zeros(1)}, tmp_path / "model" / "weights.safetensors")
    before = (tmp_path / "model" / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match="was not written by AnomaLabel"):
        train()
    assert (tmp_path / "model" / "weights.safetensors").read_bytes() == before


def test_parts_that_learn_nothing_leave_no_curves(train, few_shot_files, tmp_path):
    few_shot_files.configure(alignment=False)
    train()
    assert not (tmp_path / "model" / "curves.png").exists()
    assert not any(name.startswith("heads.") for name in tensors_of(tmp_path / "model"))


def test_an_encoder_that_is_not_there(train, tmp_path):
    with pytest.raises(ModelError, match="There is no model"):
        train(encoder=tmp_path / "nowhere")


def test_a_relative_folder_of_an_encoder_is_found_from_elsewhere(train, few_shot_files, tmp_path, monkeypatch):
    monkeypatch.chdir(few_shot_files.encoder.parent)
    train(epochs=1, encoder=few_shot_files.encoder.name)
    assert read_description(tmp_path / "model").encoder == str(few_shot_files.encoder.resolve())


def test_features_are_encoded_once_and_never_stale(train, few_shot_files, tmp_path, monkeypatch):
    from anomalabel.backbones.patch_encoders import TokenPatchEncoder

    asked = []
    original = TokenPatchEncoder.patch_features

    def count(self, images):
        asked.append(len(images))
        return original(self, images)

    monkeypatch.setattr(TokenPatchEncoder, "patch_features", count)
    train(out=tmp_path / "first")
    # The eight that are compared, and four views of each of four shots.
    assert sum(asked) == 8 + 16
    asked.clear()
    train(out=tmp_path / "again")
    assert asked == []
    few_shot_files.configure(tasks={"cutpaste": 1, "gaussian_intensity": 0, "source_deformation": 0, "identity": 0})
    train(out=tmp_path / "other")
    assert sum(asked) == 16
    first, again = tensors_of(tmp_path / "first"), tensors_of(tmp_path / "again")
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_volumes_are_learned_from(few_shot_files, tmp_path):
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number in range(4):
        slices = [few_shot_picture(10 * number + place) for place in range(3)]
        nibabel.save(
            nibabel.Nifti1Image(np.stack(slices, axis=2).astype(np.int16), np.eye(4)), folder / f"{number}.nii.gz"
        )
    request = FewShotTraining(config=str(few_shot_files.config), shots=3)
    encoders = NamedEncoders(str(few_shot_files.encoder), "cpu", "float32")
    report = train_few_shot(request, list_healthy(folder), tmp_path / "model", encoders, silent)
    assert report.shots_used == 3
    assert len(set(report.images)) == 3


def few_shot_picture(seed):
    y, x = np.mgrid[:32, :32] / 32
    generator = np.random.default_rng(seed)
    return 110 + 25 * np.sin(x * generator.uniform(4, 9)) * np.cos(y * 6) + generator.normal(0, 6, (32, 32))

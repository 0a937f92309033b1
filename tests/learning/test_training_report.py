"""What a training's report says, and names of encoders that last."""

from __future__ import annotations

from pathlib import Path

from anomalabel.config import load_config
from anomalabel.finding import ModelIdentity, PromptTexts, Threshold
from anomalabel.learning.healthy_set import LeftOut
from anomalabel.learning.training_report import LeftOutImage, lasting_name, training_report
from anomalabel.model_folder import HealthyImage, TrainedModel


def model(**changes: object) -> TrainedModel:
    values = {
        "method": "reconstruction",
        "config": load_config("brain_mri"),
        "backbone": ModelIdentity(name="drawn", weights_sha256="4" * 64),
        "prompts": PromptTexts(positive=("glioma",), negative=("healthy",)),
        "healthy": tuple(HealthyImage(name=f"{number}.png", sha256="6" * 64) for number in range(3)),
        "seed": 0,
        "metrics": {"best_epoch": 4.0},
        "thresholds": {"image": Threshold(value=1.5, rule="of images"), "pixel": Threshold(value=2, rule="of pixels")},
        "weights_sha256": "5" * 64,
        "warnings": ("Few images.",),
    }
    return TrainedModel.model_validate(values | changes)


def test_a_report_names_what_was_learned_from_and_what_was_not(tmp_path):
    left_out = [LeftOut(Path("/private/patient/7.png"), "it is constant")]
    report = training_report(tmp_path / "knees", model(), left_out)
    assert (report.model, report.weights_sha256, report.shots_used) == ("knees", "5" * 64, 3)
    assert report.images == ("0.png", "1.png", "2.png")
    assert report.left_out == (LeftOutImage(image="7.png", reason="it is constant"),)
    assert report.metrics == {"best_epoch": 4.0}
    assert report.thresholds == {"image": "of images", "pixel": "of pixels"}
    assert report.warnings == ("Few images.",)
    # A client of the server sees no folders.
    assert "/private" not in report.model_dump_json()
    assert str(tmp_path) not in report.model_dump_json()


def test_terms_that_no_ontology_knows_are_said(tmp_path):
    config = load_config("brain_mri").model_copy(update={"conditions": ("glioma", "snarkitis")})
    report = training_report(tmp_path, model(config=config), [])
    assert report.warnings == ("Few images.", "No ontology here knows these terms of the config: snarkitis.")


def test_a_folder_of_an_encoder_is_named_by_its_whole_path(tiny_clip_folder, monkeypatch):
    monkeypatch.chdir(tiny_clip_folder.parent)
    assert lasting_name(tiny_clip_folder.name) == str(tiny_clip_folder.resolve())
    assert lasting_name(str(tiny_clip_folder)) == str(tiny_clip_folder.resolve())


def test_other_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "embedded").mkdir()
    for name in ("embedded", "timm:resnet18"):
        assert lasting_name(name) == name

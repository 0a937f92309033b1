"""A model through the tensors of a folder: bit for bit the same, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.config import AnatomyConfig, FewShotSettings, load_config
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.few_shot.stored import from_tensors, to_tensors
from anomalabel.model_folder import HealthyImage, TrainedModel, read_model_folder, write_model_folder

CALIBRATION = Calibration(Threshold(value=1.5, rule="image"), Threshold(value=2.5, rule="pixel"), (0.5, 1.25, 1 / 3))


def described(model, method="few_shot", **settings) -> TrainedModel:
    config: AnatomyConfig = load_config("brain_mri")
    chosen = FewShotSettings.model_validate(settings) if settings else model.settings
    return TrainedModel(
        method=method,
        config=config.model_copy(
            update={
                "few_shot": chosen,
                "normal_bank": config.normal_bank.model_copy(update={"score_share": 0.25}),
            }
        ),
        backbone=ModelIdentity(name="drawn", weights_sha256="4" * 64),
        prompts=PromptTexts(positive=("glioma",), negative=("healthy",)),
        healthy=(HealthyImage(name="one.png", sha256="6" * 64),) * 3,
        seed=0,
        thresholds={"image": CALIBRATION.image, "pixel": CALIBRATION.pixel},
    )


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"bank": False},
        {"text": False},
        {"text_score": "softmax", "scales": (1, 3), "suppression": {"enabled": True}},
        {"bank": False, "text": False, "refinement": {"enabled": True, "queries": 3, "heads": 2}},
        {"alignment": False, "prompts": {"enabled": True}},
        {"alignment": False},
    ],
)
def test_every_map_and_threshold_comes_back_bit_for_bit(drawn_model, slices, tmp_path, parts):
    model, several = drawn_model(**parts), slices(3)
    write_model_folder(tmp_path / "model", described(model), to_tensors(model, CALIBRATION))
    again, calibration = from_tensors(*read_model_folder(tmp_path / "model"), torch.device("cpu"))
    assert calibration == CALIBRATION
    assert again.weights == model.weights
    raw = model.raw_maps(several)
    assert set(again.raw_maps(several)) == set(raw)
    for kind, maps in again.raw_maps(several).items():
        np.testing.assert_array_equal(maps, raw[kind])
    np.testing.assert_array_equal(again.anomaly_maps(several), model.anomaly_maps(several))
    spreads = [one.uncertainty_maps(several, raw, 1.0, torch.Generator().manual_seed(3)) for one in (model, again)]
    np.testing.assert_array_equal(*spreads)
    assert again.image_score(model.anomaly_maps(several)) == model.image_score(model.anomaly_maps(several))
    assert not any(value.requires_grad for one in again.heads for value in one.head.parameters())


def test_a_model_without_a_texts_level_comes_back(drawn_model, slices):
    model = replace(drawn_model(text=False, alignment=False), text_level=None)
    again, _ = from_tensors(described(model), to_tensors(model, CALIBRATION), torch.device("cpu"))
    assert again.text_level is None
    np.testing.assert_array_equal(again.anomaly_maps(slices(0)), model.anomaly_maps(slices(0)))


def test_another_method_is_refused(drawn_model):
    model = drawn_model()
    with pytest.raises(ModelError, match="trained by the method reconstruction, not by few_shot"):
        from_tensors(described(model, "reconstruction"), to_tensors(model, CALIBRATION), torch.device("cpu"))


@pytest.mark.parametrize(
    "missing",
    [
        "bank.patches",
        "bank.weights",
        "texts.healthy",
        "heads.0.weights.adapters.0.weight",
        "heads.1.texts.diseased",
        "text_level",
        "healthy_scores",
    ],
)
def test_a_missing_tensor_is_refused(drawn_model, missing):
    model = drawn_model()
    tensors = to_tensors(model, CALIBRATION)
    del tensors[missing]
    with pytest.raises(ModelError, match=r"do not fit its description.*Train it again"):
        from_tensors(described(model), tensors, torch.device("cpu"))


def test_settings_that_fit_other_weights_are_refused(drawn_model):
    model = drawn_model()
    other = described(model, refinement={"enabled": True, "queries": 3, "heads": 2})
    with pytest.raises(ModelError, match="do not fit its description"):
        from_tensors(other, to_tensors(model, CALIBRATION), torch.device("cpu"))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("heads.", "0 heads and should hold 2"),
        ("heads.1.", "1 heads"),
        ("bank.", "the bank is missing"),
        ("scale.bank", "no scale of bank"),
    ],
)
def test_a_part_that_the_config_asks_for_and_the_folder_lacks_is_refused(drawn_model, gone, said):
    model = drawn_model()
    tensors = {name: value for name, value in to_tensors(model, CALIBRATION).items() if not name.startswith(gone)}
    with pytest.raises(ModelError, match=f"do not fit its description: .*{said}"):
        from_tensors(described(model), tensors, torch.device("cpu"))


def test_thresholds_are_required(drawn_model):
    model = drawn_model()
    bare = described(model).model_copy(update={"thresholds": {"image": CALIBRATION.image}})
    with pytest.raises(ModelError, match="pixel"):
        from_tensors(bare, to_tensors(model, CALIBRATION), torch.device("cpu"))

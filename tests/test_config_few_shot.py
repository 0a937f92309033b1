"""Settings of few-shot localization that contradict each other or make no sense."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from anomalabel.config import FewShotSettings, load_config, shipped_config_names

OFF = {"alignment": False}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (OFF | {"bank": False, "text": False}, "nothing is left to score with"),
        (OFF | {"simclr": {"enabled": True}}, "simclr and distillation help what learns"),
        (OFF | {"distillation": {"enabled": True, "teacher": "x"}}, "simclr and distillation help what learns"),
        ({"distillation": {"enabled": True}}, "names no teacher"),
        ({"tasks": {"cutpaste": 0, "gaussian_intensity": 0, "source_deformation": 0, "identity": 0}}, "at least one"),
        ({"tasks": {"cutpaste": -0.1}}, "greater than or equal to 0"),
        ({"scales": [2]}, "odd numbers"),
        ({"scales": [1, 3, 3]}, "each once"),
        ({"scales": [-1]}, "odd numbers"),
        ({"scales": []}, "at least 1 item"),
        ({"simclr": {"enabled": True}, "tasks": {"identity": 0}}, "give tasks.identity a share"),
        ({"episodes": {"path": "x"}, "prompts": {"enabled": True}}, "replaces the epochs"),
        ({"episodes": {"path": "x"}, "simclr": {"enabled": True}}, "replaces the epochs"),
        ({"heads": 1}, "greater than or equal to 2"),
        ({"temperature": 0}, "greater than 0"),
        ({"text_score": "mean"}, "'max' or 'softmax'"),
        ({"uncertainty": {"dropout": 1.0}}, "less than 1"),
        ({"uncertainty": {"softness": 0}}, "greater than 0"),
        ({"suppression": {"minimum_area": 0}}, "greater than 0"),
        ({"false_positive_rate": 1}, "less than 1"),
        ({"pixel_quantile": 0}, "greater than 0"),
        ({"training": {"views": 0}}, "greater than or equal to 1"),
        ({"prompts": {"tokens": 0}}, "greater than or equal to 1"),
        ({"weights": {"bank": -1}}, "greater than or equal to 0"),
        ({"memory": True}, "Extra inputs"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        FewShotSettings.model_validate(values)


@pytest.mark.parametrize(
    ("values", "learns"),
    [
        ({}, True),
        (OFF, False),
        (OFF | {"prompts": {"enabled": True}}, True),
        (OFF | {"refinement": {"enabled": True}}, True),
        (OFF | {"bank": False}, False),
    ],
)
def test_what_learns(values, learns):
    assert FewShotSettings.model_validate(values).learns is learns


def test_no_shipped_config_mirrors_a_chest_and_all_have_a_bank():
    assert not load_config("chest_xray").augmentation.mirror_left_right
    assert not load_config("chest_xray").augmentation.mirror_up_down
    for name in shipped_config_names():
        assert load_config(name).few_shot.bank

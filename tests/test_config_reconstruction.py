"""Settings of reconstruction that contradict each other or make no sense, and what is published of them."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from anomalabel.config import ReconstructionSettings, load_config, shipped_config_names
from anomalabel.errors import ConfigError
from anomalabel.prompts.render import render_prompts

ALONE = {"msgms": 1.0, "features": 0.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"saliency": "gradcam"}, "'none', 'ear', 'plp' or 'clap'"),
        ({"side": 32}, "greater than or equal to 64"),
        ({"side": 80}, "multiple of 32"),
        ({"side": 2048}, "less than or equal to 1024"),
        ({"channels": [16, 32, 64, 128, 256]}, "channels must be 6 positive numbers"),
        ({"channels": [16, 32, 64, 128, 256, 0]}, "channels must be 6 positive numbers"),
        ({"mosaic": {"blocks": []}}, "at least 1 item"),
        ({"mosaic": {"blocks": [1]}}, "different numbers from 2"),
        ({"mosaic": {"blocks": [8, 16, 8]}}, "different numbers from 2"),
        ({"mosaic": {"blocks": [32, 48]}}, "the side 128 must be a multiple of each mosaic block"),
        ({"mosaic": {"blocks": [32, 256]}}, "the side 128 must be a multiple of each mosaic block"),
        ({"losses": {"l2": 0, "ssim": 0, "msgms": 0}}, "at least one weight must be above 0"),
        ({"losses": {"l2": -1}}, "greater than or equal to 0"),
        ({"similarity": {"scales": 0}}, "greater than or equal to 1"),
        ({"side": 64, "similarity": {"scales": 5}}, "5 scales leaves fewer than 8 pixels of 64"),
        ({"similarity": {"constant": 0}}, "greater than 0"),
        ({"errors": {"msgms": 0, "features": 0}}, "at least one kind of error must count"),
        ({"errors": {"cell": 3}}, "the side 128 must be a multiple of the errors' cell of 3"),
        ({"errors": {"msgms": 1, "features": 1}}, "two kinds of error have no common unit without healthy_level"),
        ({"score": "mean"}, "'max' or 'top'"),
        ({"score_share": 0}, "greater than 0"),
        ({"score_share": 1.5}, "less than or equal to 1"),
        ({"training": {"epochs": 0}}, "greater than or equal to 1"),
        ({"training": {"samples": 0}}, "greater than or equal to 1"),
        ({"training": {"batch_size": 0}}, "greater than or equal to 1"),
        ({"training": {"learning_rate": 0}}, "greater than 0"),
        ({"training": {"learning_rate": float("inf")}}, "finite"),
        ({"training": {"held_out": 0}}, "greater than 0"),
        ({"training": {"held_out": 0.6}}, "less than or equal to 0.5"),
        ({"training": {"patience": 0}}, "greater than or equal to 1"),
        ({"slices_a_volume": 0}, "greater than or equal to 1"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"false_positive_rate": 0}, "greater than 0"),
        ({"false_positive_rate": 1}, "less than 1"),
        ({"pixel_quantile": 1}, "less than 1"),
        ({"salience": "ear"}, "Extra inputs"),
        ({"mosaic": {"block": 8}}, "Extra inputs"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ReconstructionSettings.model_validate(values)


@pytest.mark.parametrize(
    "values",
    [
        {"side": 64, "similarity": {"scales": 4}},
        {"side": 1024, "similarity": {"scales": 8}, "mosaic": {"blocks": [2, 512]}},
        {"side": 96, "mosaic": {"blocks": [3, 24, 96]}, "errors": {"cell": 12}},
        {"channels": [1] * 6},
        {"healthy_level": False, "errors": ALONE},
        {"healthy_level": False, "errors": {"msgms": 0, "features": 1}},
        {"losses": {"l2": 0, "ssim": 1, "msgms": 0}},
        {"errors": {"cell": 1}},
        {"errors": {"cell": 128}},
        {"score_share": 1.0, "training": {"held_out": 0.5}},
    ],
)
def test_accepted_as_it_is_given(values):
    told = ReconstructionSettings.model_validate(values).model_dump(mode="json", exclude_defaults=True)
    assert set(told) <= set(values)
    for key, value in values.items():
        found = ReconstructionSettings.model_validate(values).model_dump(mode="json")[key]
        assert (found if not isinstance(value, dict) else {name: found[name] for name in value}) == value


def test_published_numbers_are_the_defaults():
    settings = ReconstructionSettings()
    assert (settings.training.epochs, settings.training.samples) == (20, 3000)
    assert settings.mosaic.threshold_sd == 0.674
    assert settings.similarity.constant == 0.0026
    assert len(settings.channels) == 6
    assert settings.self_attention == "timm:vit_small_patch16_224.dino"


@pytest.mark.parametrize("name", shipped_config_names())
def test_every_shipped_config_can_be_trained(name):
    settings = load_config(name).reconstruction
    # A chosen saliency takes texts: `--saliency clap` is to work with each.
    for side in render_prompts(load_config(name)).model_dump().values():
        assert side
    assert ReconstructionSettings.model_validate(settings.model_dump()) == settings


def test_a_file_names_file_and_key(tmp_path):
    values = {"name": "mine", "title": "Mine", "anatomy": "knee", "modality": "MRI", "prompts": {"positive": ["tear"]}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values | {"reconstruction": {"side": 64, "mosaic": {"blocks": [16]}}}))
    assert load_config(path).reconstruction.mosaic.blocks == (16,)
    for change, complaint in (
        ({"side": 100}, r"reconstruction\.side: .*multiple of 32"),
        ({"training": {"epoch": 3}}, r"reconstruction\.training\.epoch: unknown key"),
        ({"mosaic": {"blocks": [48]}}, r"reconstruction: .*multiple of each mosaic block"),
    ):
        path.write_text(yaml.safe_dump(values | {"reconstruction": change}))
        with pytest.raises(ConfigError, match=rf"^{path}: {complaint}") as raised:
            load_config(path)
        assert "\n" not in str(raised.value)

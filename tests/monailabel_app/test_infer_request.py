"""The request parameters become one typed object or an error that names the key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.config import DetectionRequest, shipped_config_names
from anomalabel.errors import ConfigError, ModelError
from monailabel_app.infer_request import IGNORED_KEYS, InferRequest, parse_params

STARTED = ("embedded", "biomedclip")


def parse(**values: object) -> InferRequest:
    return parse_params(json.dumps(values), "clap", STARTED)


def test_nothing_given_means_the_defaults_of_the_library() -> None:
    assert parse_params("", "clap", STARTED).detection == DetectionRequest()
    assert parse().compact is False


def test_a_full_request_reaches_the_pipeline_unchanged() -> None:
    request = parse(
        config="liver_ct",
        backbone="biomedclip",
        positive=["tumor", "cyst"],
        negative="healthy liver",
        planes="all",
        threshold_sd=1.25,
        minimum_volume_mm3=50,
        samples=4,
        seed=7,
        compact=True,
    )
    assert request.detection == DetectionRequest(
        config="liver_ct",
        method="clap",
        backbone="biomedclip",
        positive=("tumor", "cyst"),
        negative=("healthy liver",),
        planes="all",
        threshold_sd=1.25,
        minimum_volume_mm3=50,
        samples=4,
        seed=7,
    )
    assert request.compact is True


def test_the_first_backbone_of_the_server_is_the_default() -> None:
    assert parse_params("{}", "clap", ("biomedclip", "embedded")).backbone == "biomedclip"


def test_what_the_stock_clients_always_send_is_ignored() -> None:
    assert parse(**dict.fromkeys(IGNORED_KEYS, "anything")) == parse()


def test_a_combo_box_comes_back_as_the_list_with_the_choice_first() -> None:
    request = parse(config=["chest_xray", "brain_mri"], backbone=["biomedclip", "embedded"], planes=["all"])
    assert (request.config, request.backbone, request.planes) == ("chest_xray", "biomedclip", "all")


@pytest.mark.parametrize("key", ["image", "model", "method", "session", "label", "__class__", "attention"])
def test_keys_that_are_not_the_clients_to_set_are_named(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        parse(**{key: "clap"})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"config": "/etc/passwd"}, "passwd"),
        ({"config": "../brain_mri"}, "brain_mri"),
        ({"config": []}, "config"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"samples": 0}, "samples"),
        ({"planes": "diagonal"}, "planes"),
        ({"minimum_volume_mm3": -1}, "minimum_volume_mm3"),
        ({"positive": 3}, "positive"),
        ({"negative": ["a"] * 65}, "negative"),
        ({"compact": "perhaps"}, "compact"),
    ],
)
def test_values_out_of_range_name_their_key(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse(**values)


def test_a_model_the_server_was_not_started_with_is_refused() -> None:
    with pytest.raises(ModelError, match="/models/mine"):
        parse(backbone="/models/mine")


@pytest.mark.parametrize("text", ["[1]", "null", "{", '{"threshold_sd": NaN}', '{"threshold_sd": 1e999}', "[" * 99999])
def test_what_is_no_json_object_of_finite_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="JSON"):
        parse_params(text, "clap", STARTED)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists) | st.text())
def test_any_params_parse_or_are_refused_with_a_typed_error(value: object) -> None:
    for text in (json.dumps(value), json.dumps({"seed": value, "positive": value}), str(value)):
        try:
            parsed = parse_params(text, "clap", STARTED)
        except (ConfigError, ModelError):
            continue
        assert parsed.method == "clap"
        assert parsed.config in shipped_config_names()

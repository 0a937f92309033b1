"""Settings: shipped configs, what a file may say, and errors that name file and key."""

from pathlib import Path

import pytest
import yaml

from anomalabel.config import (
    AttentionSettings,
    CtWindow,
    DetectionRequest,
    PercentileWindow,
    load_config,
    parse_settings,
    shipped_config_names,
)
from anomalabel.errors import ConfigError

MINIMAL = {"name": "mine", "title": "Mine", "anatomy": "knee", "modality": "MRI", "prompts": {"positive": ["tear"]}}

TABLE_1 = {
    "brain_mri": ("Glioma, Astrocytoma, Oligodendroglioma", "Normal, Healthy gray matter"),
    "chest_xray": ("Consolidation, Fibrosis, Atelectasis", "Healthy, Clear fields, Normal"),
    "liver_ct": ("Malignant cells, Dysplasia, Hyperplasia", "Normal, Healthy, Benign"),
    "lymph_node_histology": ("Metastatic carcinoma, Tumor metastasis", "Normal, Healthy tissue"),
    "retinal_oct": ("Retinal fluid, Drusen, Retinal detachment", "Normal, Healthy, Clear"),
}


def written(folder: Path, values: object, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(values))
    return path


def test_six_anatomies_are_shipped():
    assert shipped_config_names() == tuple(sorted([*TABLE_1, "breast_ultrasound"]))


@pytest.mark.parametrize("name", shipped_config_names())
def test_shipped_configs_carry_their_file_name_and_prompts_of_both_sides(name):
    config = load_config(name)
    assert config.name == name
    assert config.conditions
    assert config.prompts.positive or config.prompts.positive_templates
    assert config.prompts.negative or config.prompts.negative_templates


@pytest.mark.parametrize("name", TABLE_1)
def test_prompts_of_the_papers_table_1(name):
    prompts = load_config(name).prompts
    assert (prompts.positive, prompts.negative) == ((TABLE_1[name][0],), (TABLE_1[name][1],))


@pytest.mark.parametrize("name", shipped_config_names())
def test_shipped_reasons_to_reject_are_few_and_end_with_the_general_ones(name):
    reasons = load_config(name).review.rejection_reasons
    assert 6 <= len(reasons) <= 10
    assert reasons[-3:] == ("Known and not relevant", "Wrong place or size", "Other")


def test_a_config_without_reasons_to_reject_has_the_general_ones(tmp_path):
    reasons = load_config(written(tmp_path, MINIMAL)).review.rejection_reasons
    assert reasons[:3] == ("Artefact", "Normal anatomy", "Normal variant")


@pytest.mark.parametrize("reasons", [[], [""], [" "], ["Other", "other "], ["x" * 201], [3]])
def test_reasons_to_reject_that_cannot_be_chosen_are_refused(tmp_path, reasons):
    path = written(tmp_path, {**MINIMAL, "review": {"rejection_reasons": reasons}})
    with pytest.raises(ConfigError, match=r"mine\.yaml: review\.rejection_reasons"):
        load_config(path)


def test_reasons_to_reject_decide_no_result(tmp_path):
    plain = load_config(written(tmp_path, MINIMAL))
    other = load_config(written(tmp_path, {**MINIMAL, "review": {"rejection_reasons": ["No"]}}))
    deeper = load_config(written(tmp_path, {**MINIMAL, "attention": {"layer": 5}}))
    assert plain.deciding_json() == other.deciding_json() != deeper.deciding_json()
    assert "rejection_reasons" not in plain.deciding_json()


def test_published_constants():
    published = {name: load_config(name).attention for name in shipped_config_names()}
    assert {name: (one.layer, one.beta) for name, one in published.items()} == {
        "brain_mri": (9, 2.0),
        "breast_ultrasound": (9, 1.0),
        "chest_xray": (7, 0.1),
        "liver_ct": (7, 0.1),
        "lymph_node_histology": (7, 0.1),
        "retinal_oct": (7, 0.1),
    }
    assert {(one.steps, one.learning_rate, one.initial_alpha) for one in published.values()} == {(10, 1.0, 5.0)}
    assert load_config("brain_mri").findings.threshold_sd == 0.674


def test_augmentation_is_what_each_anatomy_allows():
    allowed = {name: load_config(name).augmentation for name in shipped_config_names()}
    assert {
        name: (one.mirror_left_right, one.mirror_up_down, one.rotation_degrees, one.elastic is not None)
        for name, one in allowed.items()
    } == {
        "brain_mri": (False, False, 10, True),
        "breast_ultrasound": (True, False, 0, True),
        "chest_xray": (False, False, 5, False),
        "liver_ct": (False, False, 5, False),
        "lymph_node_histology": (True, True, 180, True),
        "retinal_oct": (True, False, 5, False),
    }


def test_a_file_that_says_nothing_of_augmentation_is_only_changed_in_contrast(tmp_path):
    plain = load_config(written(tmp_path, MINIMAL)).augmentation
    assert (plain.mirror_left_right, plain.mirror_up_down, plain.rotation_degrees, plain.elastic) == (
        False,
        False,
        0,
        None,
    )
    assert plain.intensity_jitter == 0.1


def test_a_file_of_ones_own(tmp_path):
    window = {"kind": "ct_window", "center_hu": 60, "width_hu": 160}
    path = written(tmp_path, {**MINIMAL, "preprocessing": {"intensity": window}, "attention": {"layer": 3}})
    config = load_config(path)
    assert config.preprocessing.intensity == CtWindow(center_hu=60, width_hu=160)
    assert config.attention == AttentionSettings(layer=3)
    assert config.preprocessing.foreground.enabled


def test_defaults_of_a_minimal_file(tmp_path):
    config = load_config(str(written(tmp_path, MINIMAL)))
    assert config.preprocessing.intensity == PercentileWindow(low=0.5, high=99.5)
    assert config.slices.planes == "acquisition"
    assert config.prompts.negative == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"atention": {}}, "atention: unknown key"),
        ({"attention": {"layr": 3}}, "attention.layr: unknown key"),
        ({"attention": {"beta": -1}}, "attention.beta: "),
        ({"attention": {"beta": float("nan")}}, "attention.beta: .*finite"),
        ({"attention": {"samples": 3}}, "even number of samples"),
        ({"findings": {"threshold_sd": float("inf")}}, "findings.threshold_sd: .*finite"),
        ({"preprocessing": {"intensity": {"kind": "percentile", "low": 60, "high": 40}}}, "low must be below high"),
        ({"preprocessing": {"intensity": {"kind": "magic"}}}, "preprocessing.intensity: .*magic"),
        ({"preprocessing": {"denoising": {"wavelet": "haar"}}}, "preprocessing.denoising.wavelet: "),
        ({"name": "Mine!"}, "name: "),
        ({1: 2}, "1: "),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_file_in_one_line(tmp_path, change, complaint):
    path = written(tmp_path, {**MINIMAL, **change})
    with pytest.raises(ConfigError, match=complaint) as raised:
        load_config(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_missing_key_is_named(tmp_path):
    with pytest.raises(ConfigError, match="anatomy: Field required"):
        load_config(written(tmp_path, {key: value for key, value in MINIMAL.items() if key != "anatomy"}))


@pytest.mark.parametrize("content", [b"name: [1, 2", b"- a\n- b\n", b"", b"name: \xff\xfe"])
def test_a_file_that_holds_no_settings(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.yaml") as raised:
        load_config(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["knee", "knee.yaml", "", "../brain_mri", "brain_mri.json", "k" * 300 + ".yaml"])
def test_an_unknown_config(name):
    with pytest.raises(ConfigError, match=r"no config|cannot be read"):
        load_config(name)


def test_a_folder_is_no_config(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="no config"):
        load_config(tmp_path / "folder.yaml")


@pytest.mark.parametrize(
    "values",
    [
        {"threshold_sd": float("nan")},
        {"threshold_sd": float("-inf")},
        {"minimum_volume_mm3": -1},
        {"minimum_volume_mm3": float("inf")},
        {"samples": 0},
        {"samples": 1001},
        {"seed": -1},
        {"seed": 2**32},
        {"planes": "two"},
        {"method": "magic"},
        {"postive": ["a"]},
    ],
)
def test_a_request_out_of_range(values):
    with pytest.raises(ConfigError, match=f"^the request: {next(iter(values))}: "):
        parse_settings(DetectionRequest, values, "the request")


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        DetectionRequest().seed = 3

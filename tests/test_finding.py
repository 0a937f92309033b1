"""The findings' JSON form is what other programs read, key by key."""

import json

import pytest
from pydantic import ValidationError

from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold

FINDING = Finding(
    id="00000000-0000-5000-8000-000000000000",
    label="suspected anomaly",
    score=0.9,
    mean_score=0.7,
    uncertainty=None,
    volume_mm3=120.0,
    peak_index=(3, 4, 5),
    index_min=(1, 2, 3),
    index_max=(4, 5, 6),
    center_ras=(-1.0, -2.0, 3.0),
    center_lps=(1.0, 2.0, 3.0),
    size_mm=(4.0, 4.0, 4.0),
    axes_ras=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)


def report(**changes) -> FindingsReport:
    values = {
        "image": "a.nii.gz",
        "method": "clap",
        "model": ModelIdentity(name="embedded", weights_sha256="ab" * 32),
        "config": "brain_mri",
        "prompts": PromptTexts(positive=("Tumor",), negative=("Normal",)),
        "image_score": 0.5,
        "calibrated": False,
        "threshold": Threshold(value=0.2, rule="mean + 0.674 sd of this map"),
        "prompt_specificity": 0.4,
        "nonfinite_voxels": 0,
        "spacing_known": True,
        "heatmap": Heatmap(grid=(10, 20, 30), min=-1.0, max=1.0),
        "findings": (FINDING,),
        **changes,
    }
    return FindingsReport(**values)


def refuse(name: str) -> None:
    raise AssertionError(name)


def test_keys_of_the_schema():
    read = json.loads(report().to_json(), parse_constant=refuse)
    assert list(read) == [
        "schema",
        "image",
        "method",
        "model",
        "config",
        "prompts",
        "image_score",
        "calibrated",
        "threshold",
        "image_threshold",
        "minimum_volume_mm3",
        "prompt_specificity",
        "nonfinite_voxels",
        "spacing_known",
        "heatmap",
        "findings",
        "warnings",
    ]
    assert read["schema"] == "anomalabel.findings/1"
    assert read["model"] == {"name": "embedded", "weights_sha256": "ab" * 32}
    assert read["prompts"] == {"positive": ["Tumor"], "negative": ["Normal"]}
    assert read["threshold"] == {"value": 0.2, "rule": "mean + 0.674 sd of this map"}
    assert read["heatmap"] == {"grid": [10, 20, 30], "min": -1.0, "max": 1.0, "slope": None, "intercept": None}


def test_keys_of_a_finding():
    (read,) = json.loads(report().to_json())["findings"]
    assert read == {
        "id": "00000000-0000-5000-8000-000000000000",
        "label": "suspected anomaly",
        "score": 0.9,
        "mean_score": 0.7,
        "uncertainty": None,
        "volume_mm3": 120.0,
        "peak_index": [3, 4, 5],
        "index_min": [1, 2, 3],
        "index_max": [4, 5, 6],
        "center_ras": [-1.0, -2.0, 3.0],
        "center_lps": [1.0, 2.0, 3.0],
        "size_mm": [4.0, 4.0, 4.0],
        "axes_ras": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    }


def test_written_reports_come_back_equal():
    assert FindingsReport.model_validate_json(report().to_json()) == report()
    assert FindingsReport.model_validate_json(report().to_json(indent=None)) == report()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["image_score", "prompt_specificity"])
def test_numbers_that_are_not_finite_are_refused(key, value):
    with pytest.raises(ValidationError, match="finite"):
        report(**{key: value})


@pytest.mark.parametrize("key", ["score", "mean_score", "uncertainty", "volume_mm3"])
def test_findings_hold_finite_numbers_only(key):
    with pytest.raises(ValidationError, match="finite"):
        Finding(**{**FINDING.model_dump(), key: float("nan")})


@pytest.mark.parametrize("key", ["center_ras", "center_lps", "size_mm"])
def test_places_are_finite(key):
    with pytest.raises(ValidationError, match="finite"):
        Finding(**{**FINDING.model_dump(), key: (0.0, float("inf"), 0.0)})


def test_axes_are_finite():
    with pytest.raises(ValidationError, match="finite"):
        Finding(**{**FINDING.model_dump(), "axes_ras": ((float("nan"), 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))})


def test_unknown_keys_and_other_schemas_are_refused():
    read = json.loads(report().to_json())
    with pytest.raises(ValidationError, match="extra"):
        FindingsReport.model_validate({**read, "colour": "red"})
    with pytest.raises(ValidationError, match=r"anomalabel\.findings/1"):
        FindingsReport.model_validate({**read, "schema": "anomalabel.findings/2"})

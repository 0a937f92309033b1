"""The findings JSON: read as it is written by the library, refused where it is not sound."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from AnomaLabelLib.errors import ReplyError
from AnomaLabelLib.server.report import parse_report
from example_results import affine, finding, report

from anomalabel.finding import FindingsReport

MATRIX = affine((5, 6, 7), (1, 2, 3), (0, 0, 0))


def example() -> dict:
    values = np.zeros((8, 9, 10), np.float32)
    values[0, 0, 0] = 0.9
    return report(values, [finding(MATRIX, (4, 3, 2), (7, 5, 4), peak=(5, 4, 3), score=0.9)])


def test_the_librarys_own_report_is_read():
    original = FindingsReport.model_validate(example())
    read = parse_report(original.to_json())
    assert (read.threshold.value, read.threshold.rule) == (original.threshold.value, original.threshold.rule)
    assert read.image_threshold is None
    assert read.model_name == original.model.name
    assert read.heatmap.grid == original.heatmap.grid
    (ours,), (theirs,) = read.findings, original.findings
    for name in ("id", "label", "score", "mean_score", "volume_mm3", "peak_index", "index_min", "index_max"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.center_ras == theirs.center_ras
    assert ours.axes_ras == theirs.axes_ras


def test_the_threshold_of_whole_images_is_read_where_there_is_one():
    calibrated = {**example(), "image_threshold": {"value": 2.4, "rule": "image: 95th percentile of 16 images"}}
    original = FindingsReport.model_validate(calibrated)
    read = parse_report(original.to_json()).image_threshold
    assert (read.value, read.rule) == (2.4, "image: 95th percentile of 16 images")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "anomalabel.findings/2", "schema"),
        (("image_score",), float("nan"), "image_score"),
        (("image_score",), True, "image_score"),
        (("image_score",), "0.5", "image_score"),
        (("threshold",), 0.5, "threshold"),
        (("image_threshold",), 2.4, "image_threshold"),
        (("image_threshold",), {"value": float("inf"), "rule": ""}, r"image_threshold\.value"),
        (("image_threshold",), {"value": 2.4}, r"image_threshold\.rule"),
        (("findings",), {}, "findings"),
        (("findings", 0), None, r"findings\[0\]"),
        (("findings", 0, "index_max"), [7, 5, 8], "outside"),
        (("findings", 0, "index_min"), [-1, 3, 2], "outside"),
        (("findings", 0, "peak_index"), [0, 4, 3], "outside"),
        (("findings", 0, "index_min"), [4, 3], "index_min"),
        (("findings", 0, "index_min"), [4.5, 3, 2], "index_min"),
        (("findings", 0, "size_mm"), [0, 1, 1], "outside"),
        (("findings", 0, "axes_ras"), [[1, 0, 0], [0, 1, 0]], "axes_ras"),
        (("findings", 0, "axes_ras"), [[1, 0, 0], [0, 1, 0], [0, 0, "z"]], "axes_ras"),
        (("heatmap", "slope"), 0.1, "slope"),
        (("warnings",), [1], "warnings"),
        (("calibrated",), 0, "calibrated"),
    ],
)
def test_what_is_not_sound_is_refused_by_name(path, value, message):
    fields = copy.deepcopy(example())
    place = fields
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ReplyError, match=message):
        parse_report(json.dumps(fields))


@pytest.mark.parametrize("key", sorted(set(example()) - {"prompt_specificity", "prompts"}))
def test_a_missing_key_is_named(key):
    fields = example()
    del fields[key]
    with pytest.raises(ReplyError, match=key):
        parse_report(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "<html>", "[]", "null", "{"])
def test_other_texts_are_refused(text):
    with pytest.raises(ReplyError):
        parse_report(text)

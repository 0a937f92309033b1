"""Findings as rows of events, and back."""

from __future__ import annotations

import json
import math

import pytest
from AnomaLabelLib.errors import ReplyError
from AnomaLabelLib.review.row import finding_of, finding_row, method_of, origin_of
from hypothesis import given
from hypothesis import strategies as st
from review_examples import finding, row

from anomalabel.finding import Finding as LibraryFinding

numbers = st.floats(-1e6, 1e6)
edges = st.tuples(*[st.tuples(st.integers(0, 500), st.integers(0, 40), st.integers(0, 40))] * 3)


@given(edges, st.tuples(numbers, numbers, numbers), st.none() | numbers, st.none() | numbers)
def test_a_finding_comes_back_through_json(box, center, score, uncertainty):
    original = finding(
        low=[low for low, _before, _after in box],
        high=[low + before + after for low, before, after in box],
        peak_index=tuple(low + before for low, before, _after in box),
        center_ras=center,
        score=score,
        mean_score=score,
        uncertainty=uncertainty,
    )
    assert finding_of(json.loads(json.dumps(finding_row(original, "clap")))) == original


def test_the_row_is_one_of_the_findings_schema_with_where_it_comes_from():
    made = finding_row(finding(center_ras=(0.0, -2.5, 4.0)), "few_shot", "box")
    assert (made.pop("method"), made.pop("origin")) == ("few_shot", "box")
    assert LibraryFinding.model_validate_json(json.dumps(made)).center_lps == (0.0, 2.5, 4.0)
    assert math.copysign(1, made["center_lps"][0]) == 1
    assert set(made) == set(LibraryFinding.model_fields)


def test_method_and_origin_are_left_out_where_unknown():
    bare = finding_row(finding(), "")
    assert not {"method", "origin"} & set(bare)
    assert (method_of(bare), origin_of(bare)) == ("", "")
    assert (method_of(row()), origin_of(row())) == ("clap", "model")


@pytest.mark.parametrize("key", sorted(set(row()) - {"score", "mean_score", "uncertainty", "method", "origin"}))
def test_a_missing_key_is_named(key):
    values = row()
    del values[key]
    with pytest.raises(ReplyError, match=key):
        finding_of(values)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id", "", "box"),
        ("score", "0.5", "score"),
        ("score", float("nan"), "score"),
        ("mean_score", True, "mean_score"),
        ("volume_mm3", -1, "size"),
        ("volume_mm3", None, "volume_mm3"),
        ("index_min", [10, 20, 30.5], "index_min"),
        ("index_min", [-1, 20, 30], "peak"),
        ("peak_index", [9, 25, 35], "peak"),
        ("index_max", [9, 29, 39], "peak"),
        ("size_mm", [0, 1, 1], "size"),
        ("center_lps", [-14.5, -24.5, 0.0], "two places"),
        ("axes_ras", [[1, 0, 0]], "axes_ras"),
        ("center_ras", [1e400, 0, 0], "center_ras"),
    ],
)
def test_a_row_that_is_no_finding_is_refused_by_name(key, value, message):
    with pytest.raises(ReplyError, match=message):
        finding_of(row(**{key: value}))


def test_a_method_that_is_no_text_is_refused():
    with pytest.raises(ReplyError, match="method"):
        method_of(row(method=3))

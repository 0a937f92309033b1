"""Thresholds by hand, and that they keep what they promise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.errors import ConfigError
from anomalabel.evaluation.calibration import (
    HealthyOutcome,
    folds_of,
    thresholds_from,
)
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.localization.conformal import PROFILE_LEVELS, map_profile


def healthy(score: float, values: np.ndarray | None = None) -> HealthyOutcome:
    return HealthyOutcome(score, map_profile(np.array([score, score]) if values is None else values))


def shots(*patients: str | None) -> list[EvaluationCase]:
    return [
        EvaluationCase(f"{number}.png", Path(f"{number}.png"), False, patient=patient)
        for number, patient in enumerate(patients)
    ]


def test_the_image_threshold_is_the_interpolated_quantile():
    thresholds = thresholds_from([healthy(score) for score in (4.0, 1.0, 3.0, 2.0, 5.0)], 0.95, 0.5)
    assert thresholds.image == pytest.approx(4.8)
    assert thresholds.rule.startswith("image: 95th percentile of the scores of 5 held-out healthy images")
    assert "cannot promise less than 1/6 false positives" in thresholds.rule


def test_large_and_small_images_count_the_same_in_the_pixel_threshold():
    small, large = np.full(10, 1.0), np.full(100_000, 2.0)
    outcomes = [healthy(0.0, small), healthy(0.0, large)]
    assert thresholds_from(outcomes, 0.5, 0.49).pixel == pytest.approx(1.0)
    assert thresholds_from(outcomes, 0.5, 0.51).pixel == pytest.approx(2.0)


def test_the_pixel_threshold_is_close_to_the_quantile_of_all_pixels():
    maps = np.random.default_rng(0).gamma(2.0, size=(6, 64, 64))
    thresholds = thresholds_from([healthy(0.0, one) for one in maps], 0.5, 0.99)
    assert thresholds.pixel == pytest.approx(np.quantile(maps, 0.99), rel=0.005)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20, unique=True), st.floats(0.01, 0.99))
def test_a_threshold_is_never_the_smallest_or_largest_score(scores, quantile):
    thresholds = thresholds_from([healthy(score) for score in scores], quantile, quantile)
    assert min(scores) <= thresholds.image <= max(scores)
    if max(scores) - min(scores) > 1e-6:
        assert min(scores) < thresholds.image < max(scores)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000))
def test_new_healthy_images_pass_the_threshold_as_often_as_it_says(seed):
    generator = np.random.default_rng(seed)
    called = []
    for _ in range(100):
        scores = generator.exponential(size=20)
        cut = thresholds_from([healthy(score) for score in scores], 0.95, 0.5).image
        called.append(np.mean(generator.exponential(size=50) >= cut))
    assert 1 / 21 < np.mean(called) < 0.12


def test_one_healthy_image_makes_no_threshold():
    thresholds = thresholds_from([healthy(1.0)], 0.95, 0.99)
    assert math.isnan(thresholds.image)
    assert math.isnan(thresholds.pixel)
    assert thresholds.rule == "no threshold: 1 held-out healthy images, 2 are needed"


def test_a_probability_needs_no_image():
    thresholds = thresholds_from([], 0.95, 0.99, probability=0.5)
    assert thresholds.image == 0.5
    assert math.isnan(thresholds.pixel)
    assert "without any image" in thresholds.rule
    assert thresholds_from([healthy(0.1), healthy(0.2)], 0.5, 0.5, probability=0.5).image == pytest.approx(0.15)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, math.nan])
def test_the_extremes_are_refused(quantile):
    with pytest.raises(ConfigError, match="quantile"):
        thresholds_from([healthy(1.0), healthy(2.0)], quantile, 0.5)
    with pytest.raises(ConfigError, match="quantile"):
        thresholds_from([healthy(1.0), healthy(2.0)], 0.5, quantile)


@pytest.mark.parametrize(
    ("quantile", "words"), [(0.95, "95th"), (0.975, "97.5th"), (0.81, "81st"), (0.12, "12th"), (0.92, "92nd")]
)
def test_percentiles_in_words(quantile, words):
    assert f"image: {words} percentile" in thresholds_from([healthy(1.0), healthy(2.0)], quantile, 0.5).rule


def test_a_profile_leaves_the_unseen_out():
    profile = map_profile(np.array([[np.nan, 3.0], [1.0, np.nan]], dtype=np.float32))
    assert profile.shape == (PROFILE_LEVELS,)
    assert (profile[0], profile[-1]) == (pytest.approx(1.0, abs=1e-3), pytest.approx(3.0, abs=1e-3))
    assert (np.diff(profile) >= 0).all()


@pytest.mark.parametrize("count", [2, 4, 8, 9, 16, 33])
def test_each_shot_is_judged_once_by_others(count):
    folds = folds_of(shots(*([None] * count)))
    assert len(folds) == min(count, 8)
    assert sorted(number for fold in folds for number in fold.judged) == list(range(count))
    for fold in folds:
        assert sorted(fold.learnt + fold.judged) == list(range(count))
        assert len(fold.judged) <= -(-count // 8)


def test_a_patient_stays_together():
    folds = folds_of(shots("a", "b", "a", None, "b", None))
    assert sorted(fold.judged for fold in folds) == [(0, 2), (1, 4), (3,), (5,)]


@pytest.mark.parametrize("patients", [(), (None,), ("a", "a", "a")])
def test_one_patient_cannot_be_left_out(patients):
    assert folds_of(shots(*patients)) == ()

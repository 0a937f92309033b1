"""What a threshold from few healthy images promises, by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.errors import ConfigError, ModelError
from anomalabel.evaluation.calibration import HealthyOutcome, thresholds_from
from anomalabel.localization.conformal import (
    ConformalThreshold,
    PixelThreshold,
    conformal_p_value,
    images_needed,
    map_profile,
    ordinal,
)


@pytest.mark.parametrize(
    ("count", "wanted", "value", "promise"),
    [
        # The place ceil((n + 1)(1 - a)), below the highest score: 38 of 39, 96 of 100, 8 of 9, 2 of 3.
        (39, 0.05, 38, 2 / 40),
        (100, 0.05, 96, 5 / 101),
        (9, 0.2, 8, 2 / 10),
        (3, 0.5, 2, 2 / 4),
        (4, 0.5, 3, 2 / 5),
        # Never the smallest score, which the place of 0.9 would be.
        (5, 0.9, 2, 4 / 6),
        # Too few images: the 95th percentile, between the two highest scores, or the second highest.
        (2, 0.05, 1.95, 2 / 3),
        (4, 0.05, 3.85, 2 / 5),
        (16, 0.05, 15.25, 2 / 17),
        (19, 0.05, 18.1, 2 / 20),
        (22, 0.05, 21, 2 / 23),
        (38, 0.05, 37, 2 / 39),
        (8, 0.2, 7, 2 / 9),
    ],
)
def test_thresholds_by_hand(count, wanted, value, promise):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    found = ConformalThreshold.of(scores, wanted)
    assert found.value == pytest.approx(value)
    assert found.promise == pytest.approx(promise)
    assert found.expected == found.promise
    assert found.value == pytest.approx(np.quantile(scores, found.quantile))
    assert (found.images, found.wanted) == (count, wanted)


@given(st.integers(2, 200), st.floats(0.001, 0.999))
@settings(max_examples=200, deadline=None)
def test_it_is_a_quantile_and_keeps_the_wanted_rate_where_it_can(count, wanted):
    scores = np.arange(float(count))
    found = ConformalThreshold.of(scores, wanted)
    assert 0 < found.quantile < 1
    assert scores[0] < found.value < scores[-1]
    assert found.promise == pytest.approx((np.count_nonzero(scores > found.value) + 1) / (count + 1))
    assert found.promise > 1 / (count + 1)
    if count >= images_needed(wanted):
        assert found.promise <= wanted + 1e-9
    else:
        assert found.promise == pytest.approx(2 / (count + 1))
        assert (f"need {images_needed(wanted)} healthy images" in found.rule) == (found.promise > wanted + 1e-9)


@pytest.mark.parametrize(("wanted", "images"), [(0.05, 39), (0.1, 19), (0.2, 9), (0.3, 6), (0.5, 3), (0.9, 3)])
def test_the_number_of_images_that_a_rate_needs(wanted, images):
    assert images_needed(wanted) == images
    assert ConformalThreshold.of(np.arange(float(images)), wanted).promise <= wanted


def test_rules_in_words():
    few = ConformalThreshold.of(np.arange(16.0), 0.05)
    assert few.rule == (
        "image: 95th percentile of the scores of 16 held-out healthy images, linearly interpolated; at most 11.8 % "
        "false positives are promised, for healthy images like these; 5 % need 39 healthy images"
    )
    enough = ConformalThreshold.of(np.arange(100.0), 0.05)
    assert enough.rule == (
        "image: 95.96th percentile of the scores of 100 held-out healthy images, linearly interpolated; at most 4.95 % "
        "false positives are promised, for healthy images like these"
    )
    mean = ConformalThreshold.of(np.arange(16.0), 0.05, "mean", [0, 1] * 8)
    assert "11.8 % of healthy images like these are expected to lie above (at most 44.4 %" in mean.rule
    assert "none is promised" in ConformalThreshold.of(np.arange(16.0), 0.05, "refitted").rule
    assert "none is promised" in ConformalThreshold.of([1, 2], 0.05, "mean", [0, 1]).rule


@pytest.mark.parametrize(
    ("judged_by", "folds", "promise"),
    [
        ("refitted", [], 1),
        # Two folds of 8, one score above: 2 / 9 by each.
        ("mean", [0, 1] * 8, 4 / 9),
        ("lowest", [0, 1] * 8, 2 / 9),
        # Leave one out: a fold of one proves nothing alone, all together do.
        ("mean", range(16), 1),
        ("lowest", range(16), 2 / 17),
        # Four folds of 4: 2 / 5 by each, (4 + 1) / 20 together.
        ("lowest", [0, 1, 2, 3] * 4, 1 / 4),
        # Unequal folds: the largest one's bound.
        ("lowest", [0] * 10 + [1] * 6, 2 / 11),
        ("mean", [0] * 10 + [1] * 6, 2 / 11 + 2 / 7),
    ],
)
def test_promises_of_folds_by_hand(judged_by, folds, promise):
    found = ConformalThreshold.of(np.arange(16.0), 0.05, judged_by, folds)
    assert found.promise == pytest.approx(promise)
    assert found.expected == pytest.approx(2 / 17)


def test_equal_scores_are_not_above():
    found = ConformalThreshold.of([2.0] * 5, 0.05)
    assert found.value == 2
    assert found.promise == pytest.approx(2 / 6)


@pytest.mark.parametrize(("count", "wanted"), [(4, 0.05), (16, 0.05), (39, 0.05), (60, 0.1), (9, 0.4)])
def test_a_detector_that_learned_elsewhere_keeps_its_promise(count, wanted):
    draws = 4000
    scores = np.random.default_rng(count).standard_cauchy((draws, count + 1))
    found = [ConformalThreshold.of(one[:-1], wanted) for one in scores]
    rate = np.mean([one[-1] > threshold.value for one, threshold in zip(scores, found, strict=True)])
    promise = found[0].promise
    error = 3 * math.sqrt(promise * (1 - promise) / draws)
    assert rate < promise + error
    if count >= images_needed(wanted):
        # Where the threshold is one of the scores, the promise is what comes.
        assert rate > promise - error


def nearest(learned: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(Q,) distance of points to the nearest learned one."""
    return np.linalg.norm(points[:, None] - learned[None], axis=2).min(1)


def simulated(count: int, folds: int, draws: int) -> dict[str, tuple[float, ConformalThreshold]]:
    """False-positive rates of a detector by nearest neighbours in 3 dimensions, for each way to judge new images."""
    generator = np.random.default_rng(count + folds)
    number = np.arange(count) % folds
    alarms = dict.fromkeys(("lowest", "mean", "refitted"), 0)
    for _ in range(draws):
        shots, new = generator.standard_normal((count, 3)), generator.standard_normal((20, 3))
        scores = np.empty(count)
        by_folds = []
        for fold in range(folds):
            learned = shots[number != fold]
            scores[number == fold] = nearest(learned, shots[number == fold])
            by_folds.append(nearest(learned, new))
        judged = {"lowest": np.min(by_folds, 0), "mean": np.mean(by_folds, 0), "refitted": nearest(shots, new)}
        found = {way: ConformalThreshold.of(scores, 0.05, way, number) for way in alarms}
        for way in alarms:
            alarms[way] += int((judged[way] > found[way].value).sum())
    return {way: (alarms[way] / draws / 20, found[way]) for way in alarms}


@pytest.mark.parametrize(("count", "folds"), [(8, 8), (16, 2), (16, 16)])
def test_folds_keep_their_promises_and_what_is_expected(count, folds):
    for rate, threshold in simulated(count, folds, 300).values():
        assert rate <= threshold.promise
        # Such a detector is stable, so what is expected comes.
        assert rate <= threshold.expected + 0.02


def test_why_a_refitted_detector_promises_nothing():
    """A detector that scores everything higher the more images it learned from is wrong about every new image."""
    shots = np.random.default_rng(0).random(12)
    held_out = [len(shots) - 1 + shots[number] for number in range(12)]
    threshold = ConformalThreshold.of(held_out, 0.05, "refitted")
    assert len(shots) + 0.0 > threshold.value
    assert threshold.promise == 1


def test_p_values_by_hand():
    healthy = [0.1, 0.4, 0.4, 0.9]
    assert [conformal_p_value(score, healthy) for score in (0, 0.1, 0.4, 0.5, 0.9, 1)] == [1, 1, 0.8, 0.4, 0.4, 0.2]


def test_p_values_of_healthy_images_are_not_too_small():
    scores = np.random.default_rng(1).integers(0, 6, (4000, 10)).astype(float)
    found = np.array([conformal_p_value(one[-1], one[:-1]) for one in scores])
    for level in (0.1, 0.2, 0.5, 0.9):
        assert (found <= level).mean() < level + 3 * math.sqrt(level * (1 - level) / 4000)


def test_a_score_above_the_threshold_has_a_p_value_of_at_most_the_promise():
    scores = np.random.default_rng(2).random(25)
    found = ConformalThreshold.of(scores, 0.1)
    assert conformal_p_value(math.nextafter(found.value, 2), scores) <= found.promise
    assert conformal_p_value(found.value, scores) > found.promise


def test_pixel_thresholds_let_each_image_count_the_same():
    small, large = np.zeros((2, 3), np.float32), np.ones((40, 50), np.float32)
    large[:, 0] = np.nan
    unseen = np.full((3, 3), np.nan, np.float32)
    found = PixelThreshold.of([small, large, unseen], 0.49)
    assert (found.value, found.images) == (0, 2)
    assert PixelThreshold.of([small, large], 0.51).value == 1
    assert found.rule == (
        "pixel: 49th percentile of the map values of 2 held-out healthy images, each image counting the same"
    )


def test_pixel_thresholds_are_those_of_an_evaluation():
    generator = np.random.default_rng(3)
    maps = [generator.standard_normal((14, 14)).astype(np.float32) for _ in range(4)]
    outcomes = [HealthyOutcome(0.0, map_profile(one)) for one in maps]
    assert PixelThreshold.of(maps, 0.99).value == thresholds_from(outcomes, 0.95, 0.99).pixel
    assert PixelThreshold.of(maps, 0.99).value == pytest.approx(np.quantile(np.stack(maps), 0.99), abs=0.1)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (95, "95th"),
        (91, "91st"),
        (2, "2nd"),
        (83, "83rd"),
        (11, "11th"),
        (12, "12th"),
        (97.5, "97.5th"),
        (99, "99th"),
    ],
)
def test_ordinals(number, text):
    assert ordinal(number) == text


def test_bad_input_is_refused_in_words():
    for wanted in (0, 1, -0.1, math.nan):
        with pytest.raises(ConfigError, match="wanted false-positive rate"):
            ConformalThreshold.of([1, 2, 3], wanted)
        with pytest.raises(ConfigError, match="pixel quantile"):
            PixelThreshold.of([np.ones((2, 2)), np.ones((2, 2))], wanted)
    with pytest.raises(ConfigError, match="1 came"):
        ConformalThreshold.of([1], 0.05)
    with pytest.raises(ConfigError, match="0 came"):
        conformal_p_value(1, [])
    with pytest.raises(ConfigError, match="1 came"):
        PixelThreshold.of([np.ones((2, 2)), np.full((2, 2), np.nan)], 0.99)
    with pytest.raises(ModelError, match="1 of 3 held-out"):
        ConformalThreshold.of([1, math.nan, 3], 0.05)
    with pytest.raises(ConfigError, match="3 scores came with 0 fold numbers"):
        ConformalThreshold.of([1, 2, 3], 0.05, "mean")

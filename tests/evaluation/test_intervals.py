"""Estimates over draws and their bootstrap, on cases whose metrics are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anomalabel.evaluation.cases import CaseOutcome, EvaluationCase, Thresholds
from anomalabel.evaluation.intervals import estimate, resampled_weights
from anomalabel.evaluation.metrics import compute_metrics, summarise

CUTS = Thresholds(image=0.5, pixel=0.5, rule="by hand")


def case(identity, abnormal, score, patient=None, anomaly_map=None, lesion=None):
    anomaly_map = np.zeros((2, 2)) if anomaly_map is None else anomaly_map
    place = None if abnormal else ()
    known = EvaluationCase(identity, Path(identity), abnormal, patient=patient)
    return summarise(CaseOutcome(known, score, np.float32(anomaly_map), lesion, place, ()), CUTS)


def images(separation, seed, count=60):
    """Abnormal and normal images whose scores lie `separation` apart."""
    rng = np.random.default_rng(seed)
    return [case(f"{n}", n % 2 == 0, float(rng.normal(separation * (n % 2 == 0), 1))) for n in range(count)]


def test_mean_and_standard_deviation_over_draws_by_hand():
    normal, sick = case("normal", False, 0.2), case("sick", True, 0.8)
    failed = [case("normal", False, 0.2), case("sick", True, 0.1)]
    value = estimate([[normal, sick], [normal, sick], failed], [CUTS] * 3, resamples=50)["image_auroc"]
    assert value.draws == (1.0, 1.0, 0.0)
    assert value.mean == pytest.approx(2 / 3)
    # variance (1/9 + 1/9 + 4/9) / 2
    assert value.std == pytest.approx(np.sqrt(1 / 3))


def test_one_draw_has_no_standard_deviation():
    assert estimate([images(1, 0)], [CUTS], resamples=20)["image_auroc"].std is None


def test_a_draw_without_the_metric_is_none_and_left_out_of_the_mean():
    only_normal = [case("a", False, 0.1), case("b", False, 0.2)]
    value = estimate([images(1, 0), only_normal], [CUTS] * 2, resamples=20)["image_auroc"]
    assert value.draws[1] is None
    assert value.mean == value.draws[0]


def test_what_is_never_defined_has_no_estimate():
    values = estimate([[case("a", False, 0.1), case("b", False, 0.2)]], [CUTS], resamples=20)
    assert (values["image_auroc"].mean, values["image_auroc"].ci95, values["image_auroc"].draws) == (
        None,
        None,
        (None,),
    )
    assert estimate([], []) == {}


def test_the_interval_of_accuracy_is_that_of_independent_images():
    cases = [case(str(number), False, 0.9 if number < 20 else 0.1) for number in range(100)]
    value = estimate([cases], [CUTS], resamples=4000)["image_accuracy"]
    assert value.mean == pytest.approx(0.8)
    # binomial: standard error sqrt(0.8 * 0.2 / 100) = 0.04, times 1.96
    assert value.ci95 == pytest.approx((0.8 - 1.96 * 0.04, 0.8 + 1.96 * 0.04), abs=0.012)


def test_images_of_one_patient_are_drawn_together():
    # ten images each of ten patients, all right or all wrong together: as uncertain as ten images
    cases = [
        case(f"{patient}/{number}", False, 0.9 if patient < 2 else 0.1, patient=str(patient))
        for patient in range(10)
        for number in range(10)
    ]
    value = estimate([cases], [CUTS], resamples=4000)["image_accuracy"]
    # binomial of ten at 0.8, 2.5 and 97.5 percentile: 5 and 10 right
    assert value.ci95 == pytest.approx((0.5, 1.0))


def test_draws_share_their_resamples():
    cases = images(1, 3)
    once, thrice = (estimate([cases] * draws, [CUTS] * draws, resamples=200, seed=4) for draws in (1, 3))
    assert thrice["image_auroc"].ci95 == pytest.approx(once["image_auroc"].ci95)


def test_a_case_missing_from_a_draw_is_allowed():
    cases = images(1, 5)
    value = estimate([cases[:50], cases[10:]], [CUTS] * 2, resamples=100)["image_auroc"]
    low, high = value.ci95
    assert value.draws == tuple(compute_metrics(part, CUTS)["image_auroc"] for part in (cases[:50], cases[10:]))
    assert low < value.mean < high


def test_the_interval_agrees_with_a_slow_bootstrap_of_pixels():
    rng = np.random.default_rng(6)
    cases = []
    for number in range(24):
        lesion = np.zeros((40, 40), dtype=bool)
        if number % 2:
            lesion[10:20, 5 : 10 + number] = True
        anomaly_map = rng.normal(size=lesion.shape) + rng.random() * 3 * lesion
        cases.append(case(str(number), bool(number % 2), 0.0, None, anomaly_map, lesion))
    values = estimate([cases], [CUTS], resamples=120, seed=1)
    weights = resampled_weights(24, 120, np.random.default_rng(1))
    order = sorted(range(24), key=str)
    slow = [compute_metrics([cases[order[unit]] for unit in np.repeat(np.arange(24), row)], CUTS) for row in weights]
    for name in ("pixel_auroc", "pixel_auprc", "pixel_aupro", "pixel_dice", "pixel_hausdorff", "oracle_pixel_dice"):
        expected = np.percentile([draw[name] for draw in slow], [2.5, 97.5])
        assert values[name].ci95 == pytest.approx(expected, rel=2e-3), name


def test_a_seed_repeats_the_interval_and_another_moves_it():
    cases = images(1, 7)
    first, again, other = (estimate([cases], [CUTS], resamples=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["image_auroc"].ci95 != other["image_auroc"].ci95


def test_no_interval_from_one_patient_or_no_resamples():
    one_patient = [case("a", False, 0.1, "x"), case("b", True, 0.9, "x")]
    assert estimate([one_patient], [CUTS])["image_auroc"].ci95 is None
    assert estimate([images(1, 0)], [CUTS], resamples=0)["image_auroc"].ci95 is None


@pytest.mark.parametrize("seed", range(6))
def test_no_interval_where_most_resamples_are_of_one_class(seed):
    pair = [case("normal", False, 0.1), case("sick", True, 0.9)]
    value = estimate([pair], [CUTS], resamples=101, seed=seed)["image_auroc"]
    # of two images, both are drawn in about half of the resamples; otherwise one of them twice
    both = (resampled_weights(2, 101, np.random.default_rng(seed)) == 1).all(1).mean()
    assert value.mean == 1
    assert value.ci95 == ((1.0, 1.0) if both >= 0.5 else None)


def test_resamples_without_the_class_are_left_out_of_the_interval():
    cases = [case("sick", True, 0.9), *(case(str(number), False, 0.1) for number in range(5))]
    # recall is 1 wherever the one sick image was drawn, in about 1 - (5/6)^6 = 67 % of the resamples
    assert estimate([cases], [CUTS], resamples=200)["image_recall"].ci95 == (1.0, 1.0)

"""Tests between two methods against brute force and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from anomalabel.evaluation.cases import CaseOutcome, EvaluationCase, Thresholds
from anomalabel.evaluation.delong import compare_aurocs
from anomalabel.evaluation.metrics import summarise
from anomalabel.evaluation.significance import compare_methods, paired_t, wilcoxon

CUTS = Thresholds(image=0.5, pixel=0.5, rule="by hand")
LESION = np.zeros((8, 8), dtype=bool)
LESION[2:5, 2:5] = True


def brute_force_delong(abnormal, first, second):
    """DeLong et al. (Biometrics 1988): every pair compared, structural components, their covariances."""

    def wins(scores):
        return np.array(
            [[1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~abnormal]] for a in scores[abnormal]]
        )

    kernels = [wins(np.asarray(scores)) for scores in (first, second)]
    m, n = kernels[0].shape
    areas = [kernel.mean() for kernel in kernels]
    covariance = np.zeros((2, 2))
    for row in range(2):
        for column in range(2):
            for axis, size in ((1, m), (0, n)):
                parts = [kernels[which].mean(axis) - areas[which] for which in (row, column)]
                covariance[row, column] += (parts[0] * parts[1]).sum() / (size - 1) / size
    return areas, covariance


def case(identity, abnormal, score, strength=0.0, patient=None, seed=0):
    lesion = LESION & abnormal
    anomaly_map = np.random.default_rng([seed, int(identity)]).normal(size=(8, 8)) + strength * lesion
    known = EvaluationCase(identity, Path(identity), abnormal, patient=patient)
    return summarise(CaseOutcome(known, score, np.float32(anomaly_map), lesion, None, ()), CUTS)


def method(quality, seed, patient=lambda number: None, count=30):
    rng = np.random.default_rng(seed)
    return [
        case(str(n), n % 2 == 0, float(rng.normal(quality * (n % 2 == 0))), quality, patient(n), seed)
        for n in range(count)
    ]


def pick(tests, name, metric):
    return next(test for test in tests if test.test == name and test.metric == metric)


@pytest.mark.parametrize("seed", range(5))
def test_delong_agrees_with_brute_force_ties_included(seed):
    rng = np.random.default_rng(seed)
    abnormal = rng.permutation(np.arange(40) < 15)
    first = np.round(rng.normal(abnormal * 1.0), 1)
    second = np.round(0.5 * first + rng.normal(abnormal * 0.4), 1)
    result = compare_aurocs(abnormal, first, second)
    areas, covariance = brute_force_delong(abnormal, first, second)
    assert result.aurocs == pytest.approx([roc_auc_score(abnormal, first), roc_auc_score(abnormal, second)])
    assert result.aurocs == pytest.approx(areas)
    assert result.covariance == pytest.approx(covariance)
    spread = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert result.z == pytest.approx((areas[0] - areas[1]) / np.sqrt(spread))
    assert result.p_value == pytest.approx(2 * stats.norm.cdf(-abs(result.z)))


def test_delong_by_hand():
    abnormal = np.array([True, True, False, False])
    result = compare_aurocs(abnormal, np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.9, 0.8, 0.5, 0.1]))
    # first: 0.9 beats 2, 0.4 beats 1: 3/4; components (1, 1/2) and (1/2, 1), variance 1/8 each, /2 each: 1/8
    assert result.aurocs == (0.75, 1.0)
    assert result.covariance == pytest.approx(np.array([[1 / 8, 0], [0, 0]]))
    assert result.z == pytest.approx(-0.25 / np.sqrt(1 / 8))


def test_scores_that_order_alike_have_no_z():
    abnormal = np.array([True, False, True, False, True])
    scores = np.array([0.9, 0.5, 0.4, 0.1, 0.8])
    assert compare_aurocs(abnormal, scores, scores**3).p_value is None


def test_t_and_wilcoxon_by_hand():
    first, second = np.array([0.9, 0.8, 0.7, 0.9, 0.6]), np.array([0.8, 0.6, 0.4, 0.5, 0.1])
    # differences 0.1 to 0.5: mean 0.3, variance 0.025, t = 0.3 / sqrt(0.025 / 5) = sqrt(18)
    statistic, p_value, reason = paired_t(first, second)
    assert statistic == pytest.approx(np.sqrt(18))
    assert p_value == pytest.approx(2 * stats.t.sf(np.sqrt(18), 4))
    assert reason == ""
    # all five ranks on one side: 2 of 2^5 sign patterns
    statistic, p_value, _ = wilcoxon(first, second)
    assert (statistic, p_value) == (0, pytest.approx(2 / 32))


def test_pairs_without_a_difference_leave_wilcoxon():
    first, second = np.array([0.9, 0.8, 0.7, 0.9, 0.5]), np.array([0.8, 0.6, 0.4, 0.5, 0.5])
    assert wilcoxon(first, second)[1] == pytest.approx(2 / 16)


@pytest.mark.parametrize(
    ("first", "second", "t_reason", "wilcoxon_reason"),
    [
        ([], [], "fewer than 5 pairs", "fewer than 5 pairs"),
        ([0.5, 0.6, 0.7, 0.8], [0.4, 0.2, 0.1, 0.5], "fewer than 5 pairs", "fewer than 5 pairs"),
        ([0.5, 0.6, 0.7, 0.8, 0.9], [0.4, 0.5, 0.6, 0.7, 0.8], "all differences are equal", ""),
        ([0.5, 0.6] * 3, [0.5, 0.6] * 3, "all differences are equal", "no pair differs"),
    ],
)
def test_what_cannot_be_computed_says_why(first, second, t_reason, wilcoxon_reason):
    statistic, p_value, reason = paired_t(np.array(first), np.array(second))
    assert (statistic, p_value, reason) == (None, None, t_reason)
    assert wilcoxon(np.array(first), np.array(second))[2] == wilcoxon_reason


def test_draws_are_paired_where_there_are_several():
    first, second = [method(2.0, seed) for seed in range(5)], [method(0.3, seed + 10) for seed in range(5)]
    tests = compare_methods(first, second, [CUTS] * 5, [CUTS] * 5)
    test = pick(tests, "paired t", "image_auroc")
    values = [
        [roc_auc_score([c.abnormal for c in draw], [c.image_score for c in draw]) for draw in draws]
        for draws in (first, second)
    ]
    expected = stats.ttest_rel(*values)
    assert (test.unit, test.n, test.draw) == ("draw", 5, None)
    assert (test.first, test.second) == pytest.approx(tuple(np.mean(values, axis=1)))
    assert (test.statistic, test.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert pick(tests, "Wilcoxon signed-rank", "image_auroc").p_value == pytest.approx(2 / 32)
    assert pick(tests, "paired t", "pixel_auroc").first > pick(tests, "paired t", "pixel_auroc").second
    delong = [test for test in tests if test.test == "DeLong"]
    assert [test.draw for test in delong] == list(range(5))
    assert (delong[2].first, delong[2].second) == pytest.approx((values[0][2], values[1][2]))


def test_patients_are_paired_where_there_is_one_draw():
    first, second = (method(quality, seed, lambda number: str(number // 4)) for quality, seed in ((2.0, 0), (0.3, 1)))
    tests = compare_methods([first], [second], [CUTS], [CUTS])
    test = pick(tests, "paired t", "pixel_auroc")
    # 15 abnormal images, two each of patients 0 to 6, one of patient 7
    assert (test.unit, test.n) == ("patient", 8)
    means = [
        [np.mean([c.pixels.auroc for c in cases if c.abnormal and c.patient == str(patient)]) for patient in range(8)]
        for cases in (first, second)
    ]
    assert test.statistic == pytest.approx(stats.ttest_rel(*means).statistic)
    assert pick(tests, "Wilcoxon signed-rank", "pixel_dice").n == 8


def test_only_cases_of_both_methods_are_compared():
    first, second = method(1.0, 0), method(0.5, 1)
    shuffled = [second[number] for number in np.random.default_rng(2).permutation(30)][:24]
    test = pick(compare_methods([first], [shuffled], [CUTS], [CUTS]), "DeLong", "image_auroc")
    shared = {case.identity for case in shuffled}
    kept = [case for case in first if case.identity in shared]
    assert test.n == 24
    assert test.first == pytest.approx(roc_auc_score([c.abnormal for c in kept], [c.image_score for c in kept]))


def test_too_few_of_a_class_and_no_masks_are_reasons():
    few = [case("0", False, 0.1), case("1", False, 0.2), case("2", False, 0.3)]
    tests = compare_methods([few], [few], [CUTS], [CUTS])
    assert pick(tests, "DeLong", "image_auroc").reason == "fewer than two abnormal or two normal images"
    test = pick(tests, "paired t", "pixel_dice")
    assert (test.n, test.first, test.p_value, test.reason) == (0, None, None, "fewer than 5 pairs")


def test_the_same_method_twice_differs_nowhere():
    cases = method(1.0, 0)
    assert {test.p_value for test in compare_methods([cases], [cases], [CUTS], [CUTS])} == {None}

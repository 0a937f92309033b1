import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from anomalabel.evaluation.metrics import compute_metrics
from anomalabel.evaluation.metrics.image_level import ImageMetrics

ABNORMAL = [True, True, True, False, False, False, False]
SCORES = [0.8, 0.5, 0.35, 0.6, 0.4, 0.2, 0.1]


def metrics(abnormal, scores, threshold=0.5):
    """Every metric with each case once."""
    values = ImageMetrics(abnormal, scores, threshold).evaluate(np.ones((1, len(scores))))
    return {name: float(value[0]) for name, value in values.items()}


def test_metrics_by_hand():
    values = metrics(ABNORMAL, SCORES)
    # from 0.5 on: TP 0.8 and 0.5, FN 0.35, FP 0.6, TN 0.4, 0.2, 0.1
    assert values["image_accuracy"] == pytest.approx(5 / 7)
    assert values["image_precision"] == pytest.approx(2 / 3)
    assert values["image_recall"] == pytest.approx(2 / 3)
    assert values["image_tpr_at_0.5"] == pytest.approx(2 / 3)
    assert values["image_fpr_at_0.5"] == pytest.approx(1 / 4)
    assert values["image_specificity"] == pytest.approx(3 / 4)
    assert values["image_f1"] == pytest.approx(4 / 6)
    assert values["image_balanced_accuracy"] == pytest.approx((2 / 3 + 3 / 4) / 2)
    # (2 * 3 - 1 * 1) / sqrt(3 * 3 * 4 * 4)
    assert values["image_mcc"] == pytest.approx(5 / 12)
    # pairs won of 12: 0.8 wins 4, 0.5 wins 3, 0.35 wins 2
    assert values["image_auroc"] == pytest.approx(9 / 12)
    # recall grows by 1/3 at precision 1/1, 2/3 and 3/5
    assert values["image_auprc"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # 0.35 brings all abnormal ones in, and 0.6 and 0.4 of the four normal ones
    assert values["image_fpr_at_95_tpr"] == pytest.approx(0.5)
    # 0.35: 2 * 3 / (5 + 3), above 0.8: 2 / 4 and 0.5: 4 / 6
    assert values["oracle_image_f1"] == pytest.approx(0.75)


def test_the_rates_at_one_half_are_those_at_the_healthy_threshold():
    values = metrics(ABNORMAL, SCORES, threshold=0.38)
    # from 0.38 on: TP 0.8 and 0.5, FP 0.6 and 0.4
    assert values["image_tpr_at_0.5"] == pytest.approx(2 / 3)
    assert values["image_fpr_at_0.5"] == pytest.approx(2 / 4)


def test_nothing_called_abnormal_has_precision_and_mcc_0():
    values = metrics(ABNORMAL, SCORES, threshold=2.0)
    assert values["image_precision"] == values["image_f1"] == values["image_mcc"] == values["image_recall"] == 0
    assert values["image_accuracy"] == pytest.approx(4 / 7)


def test_normal_images_alone_leave_only_what_needs_no_abnormal_one():
    values = metrics([False] * 4, [0.1, 0.2, 0.3, 0.9])
    defined = {name for name, value in values.items() if not np.isnan(value)}
    assert defined == {"image_accuracy", "image_specificity", "image_fpr_at_0.5"}
    assert values["image_specificity"] == 0.75


def test_a_resample_counts_a_case_as_often_as_it_was_drawn():
    rng = np.random.default_rng(3)
    abnormal, scores = rng.random(30) < 0.5, rng.random(30)
    drawn = rng.integers(0, 3, size=(4, 30)).astype(float)
    values = ImageMetrics(abnormal, scores, 0.5).evaluate(drawn)
    for row, weight in enumerate(drawn):
        repeated = np.repeat(np.arange(30), weight.astype(int))
        expected = metrics(abnormal[repeated], scores[repeated])
        assert {name: value[row] for name, value in values.items()} == pytest.approx(expected)
        mcc = matthews_corrcoef(abnormal, scores >= 0.5, sample_weight=weight)
        assert values["image_mcc"][row] == pytest.approx(mcc)


def test_what_is_not_defined_is_none(summary, thresholds):
    values = compute_metrics([summary(False, 0.1), summary(False, 0.7)], thresholds)
    assert values["image_auroc"] is None
    assert values["image_specificity"] == 0.5
    assert {value for name, value in values.items() if name.startswith(("pixel", "finding", "pointing"))} == {None}


def test_no_case_at_all_defines_nothing(thresholds):
    assert set(compute_metrics([], thresholds).values()) == {None}

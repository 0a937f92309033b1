import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve

from anomalabel.evaluation.metrics.ranking import (
    area_under,
    auroc,
    average_precision,
    best_f1,
    count_by_case,
    divide,
    fpr_at_tpr,
    interpolated_precision,
    rank,
)

SCORES = np.array([0.8, 0.6, 0.6, 0.4, 0.35, 0.2, 0.1])
TRUTH = np.array([True, True, False, False, True, False, False])


def counted(scores, truth, weights):
    """Positives and negatives per bin for rows of weights."""
    values, bins = rank(scores)
    shape = (len(scores), len(values))
    everyone = np.arange(len(scores))
    return weights @ count_by_case(everyone, bins, truth, shape), weights @ count_by_case(everyone, bins, ~truth, shape)


def test_equal_scores_share_a_bin_below_an_empty_first_one():
    values, bins = rank(np.array([0.5, -np.inf, 2.0, 0.5]))
    assert values.tolist() == [np.inf, 2.0, 0.5, -np.inf]
    assert bins.tolist() == [2, 3, 1, 2]


def test_ranking_metrics_by_hand():
    positives, negatives = counted(SCORES, TRUTH, np.ones((1, 7)))
    # pairs won of 3 x 4: 0.8 wins 4, 0.6 wins 3 and ties 1, 0.35 wins 2: 9.5 / 12
    assert auroc(positives, negatives)[0] == pytest.approx(9.5 / 12)
    # recall grows by 1/3 at precision 1/1, 2/3 and 3/5
    assert average_precision(positives, negatives)[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    # F1 at 0.8: 2/(1+3); at 0.6: 4/(3+3); at 0.35: 6/(5+3)
    assert best_f1(positives, negatives)[0] == pytest.approx(0.75)
    # all three positives are reached at 0.35, where 0.6 and 0.4 of four negatives are in
    assert fpr_at_tpr(positives, negatives, 0.95)[0] == pytest.approx(0.5)
    # two of three are enough at 0.6, where one negative is in
    assert fpr_at_tpr(positives, negatives, 2 / 3)[0] == pytest.approx(0.25)


def test_area_ends_at_the_limit_inside_a_segment():
    x, y = np.array([0.0, 0.2, 0.6, 1.0]), np.array([0.0, 0.4, 0.8, 1.0])
    # triangle 0.2 * 0.4 / 2 = 0.04; from 0.2 to 0.3 the height goes 0.4 to 0.5: 0.045; over 0.3
    assert area_under(x, y, 0.3) == pytest.approx(0.085 / 0.3)
    assert area_under(x, y) == pytest.approx(0.04 + 0.4 * 0.6 + 0.4 * 0.9)


def test_interpolated_precision_by_hand():
    # from the top: hit, miss, miss, hit, hit; recall of 4 objects; precision 1, 1/4->2/4, 3/5; best beyond: 1, 3/5, 3/5
    positives = np.array([[0.0, 1, 0, 0, 1, 1]])
    negatives = np.array([[0.0, 0, 1, 1, 0, 0]])
    assert interpolated_precision(positives, negatives, np.array([4.0]))[0] == pytest.approx((1 + 0.6 + 0.6) / 4)


@pytest.mark.parametrize("truth", [np.ones(7, dtype=bool), np.zeros(7, dtype=bool)])
def test_one_class_is_not_defined(truth):
    positives, negatives = counted(SCORES, truth, np.ones((1, 7)))
    for metric in (auroc, average_precision, lambda a, b: fpr_at_tpr(a, b, 0.95)):
        assert np.isnan(metric(positives, negatives)[0])


def test_nothing_at_all_is_not_defined():
    nothing = np.zeros((2, 1))
    assert np.isnan(auroc(nothing, nothing)).all()
    assert np.isnan(average_precision(nothing, nothing)).all()
    assert np.isnan(best_f1(nothing, nothing)).all()


def test_division_by_nothing_is_nan_and_not_infinite():
    assert np.array_equal(divide(np.array([1.0, 1.0]), np.array([0.0, 2.0])), [np.nan, 0.5], equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(
    cases=st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=30
    )
)
def test_every_row_of_weights_agrees_with_scikit_learn(cases):
    scores, truth, first, second = (np.array(column) for column in zip(*cases, strict=True))
    weights = np.stack([first, second]).astype(float)
    positives, negatives = counted(scores.astype(float), truth, weights)
    for row, weight in enumerate(weights):
        if not weight[truth].sum() or not weight[~truth].sum():
            assert np.isnan(auroc(positives, negatives)[row])
            continue
        assert auroc(positives, negatives)[row] == pytest.approx(roc_auc_score(truth, scores, sample_weight=weight))
        expected = average_precision_score(truth, scores, sample_weight=weight)
        assert average_precision(positives, negatives)[row] == pytest.approx(expected)
        best = max(f1_score(truth, scores >= cut, sample_weight=weight) for cut in range(7))
        assert best_f1(positives, negatives)[row] == pytest.approx(best)
        fpr, tpr, _ = roc_curve(truth, scores, sample_weight=weight, drop_intermediate=False)
        assert fpr_at_tpr(positives, negatives, 0.95)[row] == pytest.approx(fpr[tpr >= 0.95 - 1e-12].min())

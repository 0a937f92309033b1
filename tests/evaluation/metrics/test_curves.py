import numpy as np
import pytest
from sklearn.metrics import auc

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.metrics import compute_curves, compute_metrics
from anomalabel.evaluation.metrics.curves import MAXIMUM_POINTS


def test_image_curves_by_hand(summary):
    cases = [summary(True, 0.8), summary(False, 0.6), summary(True, 0.4), summary(False, 0.2)]
    curves = compute_curves(cases)
    assert curves.image_roc.thresholds.tolist() == [np.inf, 0.8, 0.6, 0.4, 0.2]
    assert curves.image_roc.x.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curves.image_roc.y.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curves.image_pr.x.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curves.image_pr.y.tolist() == pytest.approx([1, 1, 1 / 2, 2 / 3, 2 / 4])


def test_froc_by_hand(summary):
    box = Box((0, 0), (3, 3))
    found = [Box((0, 0), (3, 3), 0.5), Box((8, 8), (9, 9), 0.9)]
    curve = compute_curves([summary(True, true_boxes=(box,), found=found), summary(False)]).froc
    assert curve.x.tolist() == [0, 0.5, 0.5]
    assert curve.y.tolist() == [0, 0, 1]
    assert curve.thresholds.tolist() == [np.inf, 0.9, 0.5]


def test_long_curves_are_thinned_without_losing_their_area_or_ends(summary, thresholds):
    rng = np.random.default_rng(0)
    lesion = np.zeros((80, 80), dtype=bool)
    lesion[10:40, 20:50] = True
    case = summary(True, 1, rng.normal(size=lesion.shape) + 1.5 * lesion, lesion)
    roc = compute_curves([case]).pixel_roc
    assert 100 < len(roc.x) <= MAXIMUM_POINTS
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    area = auc(roc.x, roc.y)
    assert area == pytest.approx(compute_metrics([case], thresholds)["pixel_auroc"], abs=1e-3)


def test_what_is_not_defined_has_no_curve(summary):
    curves = compute_curves([summary(True, 0.5), summary(True, 0.6)])
    assert (curves.image_roc, curves.image_pr, curves.froc, curves.pixel_roc, curves.pixel_pr) == (None,) * 5

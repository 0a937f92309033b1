import pickle

import numpy as np
import pytest

from anomalabel.errors import ImageReadError, ModelError
from anomalabel.evaluation.cases import Box, Thresholds
from anomalabel.evaluation.metrics import compute_metrics, count_cases, summarise


def test_a_stored_summary_gives_the_same_metrics_and_is_small(summary, thresholds):
    rng = np.random.default_rng(0)
    lesion = np.zeros((224, 224), dtype=bool)
    lesion[50:90, 60:110] = True
    anomaly_map = rng.normal(size=lesion.shape) + lesion
    boxes = (Box((50, 60), (89, 109)),)
    cases = [
        summary(True, 0.8, anomaly_map, lesion, boxes, [Box((45, 60), (80, 100), 0.7)], identity="sick"),
        summary(False, 0.2, rng.normal(size=lesion.shape), identity="healthy"),
    ]
    stored = pickle.dumps(cases)
    assert len(stored) < 200_000
    assert compute_metrics(pickle.loads(stored), thresholds) == compute_metrics(cases, thresholds)  # noqa: S301


def test_a_healthy_case_is_known_all_over_without_a_mask(summary):
    case = summary(False, 0.2, np.zeros((3, 3)))
    assert (case.pixels.tn, case.pixels.fn, case.findings.true_count, case.pointing) == (9, 0, 0, None)


def test_without_thresholds_only_what_is_ranked_is_defined(outcome):
    cuts = Thresholds(image=np.nan, pixel=np.inf, rule="no healthy image")
    lesion = np.eye(4)
    box = Box((0, 0), (3, 3))
    cases = [
        summarise(outcome(True, 0.8, lesion, lesion, (box,), (box,)), cuts),
        summarise(outcome(False, 0.2, identity="healthy"), cuts),
    ]
    values = compute_metrics(cases, cuts)
    assert {name: value for name, value in values.items() if value is not None} == {
        "image_auroc": 1.0,
        "image_auprc": 1.0,
        "image_fpr_at_95_tpr": 0.0,
        "oracle_image_f1": 1.0,
        "pixel_auroc": 1.0,
        "pixel_auprc": 1.0,
        "pixel_aupro": 1.0,
        "oracle_pixel_dice": 1.0,
        "pointing_accuracy": 1.0,
        "pointing_chance": 0.25,
    }
    assert cases[0].pixels.dice is None


def test_cases_left_out_are_counted(summary):
    cases = [
        summary(False, identity="a", patient="one"),
        summary(True, identity="b", patient="one"),
        summary(True, true_boxes=(Box((0, 0), (1, 1)),), identity="c"),
        summary(True, lesion=np.eye(4), true_boxes=(Box((0, 0), (3, 3)),), identity="d", patient="two"),
    ]
    counts = count_cases(cases)
    assert (counts.images, counts.abnormal, counts.patients) == (4, 3, 3)
    assert (counts.pixels_known, counts.pixels_unknown) == (2, 2)
    assert (counts.place_known, counts.place_unknown) == (3, 1)


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(summary, score):
    with pytest.raises(ModelError, match="case"):
        summary(True, score)


def test_an_infinite_map_is_refused(summary):
    with pytest.raises(ModelError, match="not finite"):
        summary(True, 0.5, np.array([[np.inf, 0.0]]))


def test_a_mask_of_another_shape_is_refused(summary):
    with pytest.raises(ImageReadError, match=r"\(2, 2\)"):
        summary(True, 0.5, np.zeros((3, 3)), np.zeros((2, 2)))


def test_nothing_seen_of_a_lesion_is_all_missed(summary, thresholds):
    case = summary(True, 0.5, np.full((3, 3), np.nan), np.eye(3))
    values = compute_metrics([case, summary(False, 0.1, np.zeros((3, 3)), identity="healthy")], thresholds)
    assert (values["pixel_fn"], values["pixel_tn"]) == (3, 9)
    # three unseen pixels lose to nine seen ones
    assert values["pixel_auroc"] == 0

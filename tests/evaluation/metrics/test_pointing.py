import numpy as np
import pytest

from anomalabel.evaluation.cases import Box
from anomalabel.evaluation.metrics import compute_metrics
from anomalabel.evaluation.metrics.pointing import pointing

LESION = np.zeros((4, 5), dtype=bool)
LESION[1, 1:3] = True


def peaked(*places):
    anomaly_map = np.zeros((4, 5), dtype=np.float32)
    for place in places:
        anomaly_map[place] = 1
    return anomaly_map


def test_the_maximum_lies_in_the_lesion_or_not():
    assert pointing(peaked((1, 2)), LESION, None).hit == 1
    assert pointing(peaked((2, 2)), LESION, None).hit == 0
    # 2 of 20 pixels
    assert pointing(peaked((2, 2)), LESION, None).chance == pytest.approx(0.1)


def test_of_equal_maxima_the_share_counts():
    # one of four equal maxima lies in the lesion
    assert pointing(peaked((1, 1), (0, 0), (3, 3), (3, 4)), LESION, None).hit == 0.25
    # a constant map points as chance does
    constant = pointing(np.ones((4, 5), dtype=np.float32), LESION, None)
    assert constant.hit == constant.chance == pytest.approx(0.1)


def test_chance_counts_seen_pixels_only():
    anomaly_map = peaked((1, 2))
    anomaly_map[2:] = np.nan
    anomaly_map[1, 1] = np.nan
    # one seen lesion pixel of nine seen ones
    assert pointing(anomaly_map, LESION, None).chance == pytest.approx(1 / 9)


def test_without_a_mask_the_boxes_are_the_place():
    boxes = (Box((0, 0), (1, 1)), Box((1, 1), (2, 2)))
    # 4 + 4 - 1 pixels
    assert pointing(peaked((2, 2)), None, boxes).chance == pytest.approx(7 / 20)
    assert pointing(peaked((2, 2)), None, boxes).hit == 1
    assert pointing(peaked((3, 3)), None, boxes).hit == 0


def test_a_mask_goes_before_boxes():
    assert pointing(peaked((3, 3)), LESION, (Box((3, 3), (3, 3)),)).hit == 0


def test_nothing_seen_points_nowhere_and_no_place_is_not_played():
    assert pointing(np.full((4, 5), np.nan, dtype=np.float32), LESION, None).hit == 0
    assert pointing(peaked((1, 1)), None, None) is None
    assert pointing(peaked((1, 1)), np.zeros_like(LESION), ()) is None


def test_means_are_over_abnormal_cases_of_known_place(summary, thresholds):
    cases = [
        summary(True, 1, peaked((1, 2)), LESION, identity="hit"),
        summary(True, 1, peaked((0, 0)), None, (Box((3, 3), (3, 4)),), identity="missed"),
        summary(True, 1, peaked((0, 0)), identity="unknown"),
        summary(False, 0, peaked((0, 0)), identity="healthy"),
    ]
    values = compute_metrics(cases, thresholds)
    assert values["pointing_accuracy"] == 0.5
    assert values["pointing_chance"] == pytest.approx(0.1)

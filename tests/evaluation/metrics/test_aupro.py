import itertools

import numpy as np
import pytest
from scipy.ndimage import label

from anomalabel.evaluation.metrics import compute_metrics
from anomalabel.evaluation.metrics.aupro import FPR_LIMIT, region_weights


def slow_aupro(maps, lesions):
    """The definition, threshold by threshold and region by region."""
    regions = []
    for number, lesion in enumerate(lesions):
        labels, count = label(lesion, structure=np.ones((3,) * lesion.ndim))
        regions += [(number, labels == region) for region in range(1, count + 1)]
    healthy = sum(np.count_nonzero(~lesion & ~np.isnan(one)) for one, lesion in zip(maps, lesions, strict=True))
    points = [(0.0, 0.0)]
    for cut in np.unique(np.concatenate([one[~np.isnan(one)] for one in maps]))[::-1]:
        false = sum(np.count_nonzero((one >= cut) & ~lesion) for one, lesion in zip(maps, lesions, strict=True))
        overlap = np.mean([np.count_nonzero(maps[number][region] >= cut) / region.sum() for number, region in regions])
        points.append((false / healthy, overlap))
    area = 0.0
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        if x >= FPR_LIMIT or next_x == x:
            continue
        end = min(next_x, FPR_LIMIT)
        area += (end - x) * (y + y + (next_y - y) * (end - x) / (next_x - x)) / 2
    return area / FPR_LIMIT


def test_regions_touch_at_corners_and_weigh_the_same():
    lesion = np.zeros((5, 6), dtype=bool)
    lesion[0, 0] = lesion[1, 1] = lesion[2, 1] = lesion[4, 4] = True
    weights, regions = region_weights(lesion)
    assert regions == 2
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_regions_of_a_volume_touch_between_slices():
    lesion = np.zeros((3, 4, 4), dtype=bool)
    lesion[0, 0, 0] = lesion[1, 1, 1] = lesion[2, 3, 3] = True
    assert region_weights(lesion)[1] == 2


def test_by_hand(summary, thresholds):
    # regions (0.9, 0.3) and (0.7); ten others, 0.8 and nine at 0.1
    anomaly_map = np.full((1, 14), 0.1)
    anomaly_map[0, [0, 1, 4, 7]] = 0.9, 0.3, 0.7, 0.8
    lesion = np.zeros((1, 14))
    lesion[0, [0, 1, 4]] = 1
    anomaly_map[0, 13] = np.nan
    value = compute_metrics([summary(True, 1, anomaly_map, lesion)], thresholds)["pixel_aupro"]
    # overlap 1/4 at FPR 0 and 0.1, then 3/4, then 1 up to FPR 1: 0.1 * 0.25 + 0.2 * 1 over 0.3
    assert value == pytest.approx((0.1 * 0.25 + 0.2 * 1) / 0.3)


@pytest.mark.parametrize("shape", [(24, 20), (4, 12, 10)])
def test_it_agrees_with_the_definition(summary, thresholds, shape):
    rng = np.random.default_rng(sum(shape))
    maps, lesions, cases = [], [], []
    for number in range(5):
        lesion = rng.random(shape) < (0.08 if number < 3 else 0)
        anomaly_map = np.round(rng.random(shape) + 0.4 * lesion, 2 if number else 6).astype(np.float32)
        anomaly_map[rng.random(shape) < 0.05] = np.nan
        maps.append(anomaly_map)
        lesions.append(lesion)
        cases.append(summary(number < 3, 0.0, anomaly_map, lesion, identity=str(number)))
    value = compute_metrics(cases, thresholds)["pixel_aupro"]
    assert value == pytest.approx(slow_aupro(maps, lesions), abs=2e-4 if len(shape) == 3 else 1e-9)
    assert 0.2 < value < 0.9


def test_a_perfect_map_reaches_1(summary, thresholds):
    lesion = np.zeros((6, 6))
    lesion[1:3, 1:3] = lesion[5, 5] = 1
    assert compute_metrics([summary(True, 1, lesion, lesion)], thresholds)["pixel_aupro"] == pytest.approx(1)

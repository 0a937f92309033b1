"""The numbers of the demonstration, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anomalabel.demo.run import verdict
from anomalabel.demo.score import score_lesion
from anomalabel.errors import ImageReadError

SPACING = (2.0, 3.0, 5.0)


def truth() -> np.ndarray:
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[2:4, 2:4, 2:4] = True
    return mask


def test_a_peak_inside_is_found_inside() -> None:
    anomaly_map = np.zeros((6, 7, 8), dtype=np.float32)
    anomaly_map[3, 3, 3] = 1
    score = score_lesion(anomaly_map, truth(), SPACING)
    assert (score.peak_in_lesion, score.peak_distance_mm, score.lesion_seen) == (True, 0.0, 1.0)
    assert verdict(score).startswith("Yes")


@pytest.mark.parametrize(
    ("peak", "distance"), [((3, 3, 6), 3 * 2.0), ((3, 6, 3), 3 * 3.0), ((5, 3, 3), 2 * 5.0), ((4, 4, 4), 38**0.5)]
)
def test_the_distance_is_in_millimetres_along_each_axis(peak: tuple[int, int, int], distance: float) -> None:
    anomaly_map = np.zeros((6, 7, 8), dtype=np.float32)
    anomaly_map[peak] = 1
    score = score_lesion(anomaly_map, truth(), SPACING)
    assert not score.peak_in_lesion
    assert score.peak_distance_mm == pytest.approx(distance)
    assert verdict(score) == f"No: the map's peak lies {distance:.0f} mm away from the planted lesion."


def test_auroc_counts_seen_voxels_only_and_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    anomaly_map = rng.integers(0, 9, size=(6, 7, 8)).astype(np.float32) + 2 * truth()
    anomaly_map[2] = np.nan
    seen = np.isfinite(anomaly_map)
    score = score_lesion(anomaly_map, truth(), SPACING)
    assert score.auroc == pytest.approx(roc_auc_score(truth()[seen], anomaly_map[seen]))
    assert score.lesion_seen == 0.5


def test_a_lesion_that_nobody_looked_at_is_an_error_and_not_a_zero() -> None:
    anomaly_map = np.zeros((6, 7, 8), dtype=np.float32)
    anomaly_map[truth()] = np.nan
    with pytest.raises(ImageReadError, match="must have been seen"):
        score_lesion(anomaly_map, truth(), SPACING)
    with pytest.raises(ImageReadError, match="shape"):
        score_lesion(anomaly_map[1:], truth(), SPACING)

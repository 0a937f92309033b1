"""Thresholds from held-out healthy images, and the same out of a model's description."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.errors import ConfigError, ModelError
from anomalabel.finding import Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.conformal import ConformalThreshold, PixelThreshold

SCORES = [0.5, 3.0, 1.0, 2.0, 4.0]
MAPS = [np.float32([[0, 1], [2, np.nan]]), np.float32([5]), np.arange(8, dtype=np.float32).reshape(2, 2, 2)]


@pytest.mark.parametrize("judged_by", ["same", "refitted"])
def test_thresholds_are_those_of_conformal_prediction(judged_by):
    found = Calibration.of(SCORES, MAPS, 0.4, 0.9, judged_by)
    image, pixel = ConformalThreshold.of(SCORES, 0.4, judged_by), PixelThreshold.of(MAPS, 0.9)
    assert found.image == Threshold(value=image.value, rule=image.rule)
    assert found.pixel == Threshold(value=pixel.value, rule=pixel.rule)
    assert found.scores == tuple(SCORES)
    # Of six places the fourth leaves two above: 2 / 6 of new images at most, which is below 0.4.
    assert found.image.value == 3.0


def test_who_judges_decides_what_is_promised():
    same, refitted = (Calibration.of(SCORES, MAPS, 0.4, 0.9, judge).image for judge in ("same", "refitted"))
    assert same.value == refitted.value
    assert "are promised" in same.rule
    assert "none is promised" in refitted.rule


def test_it_comes_back_from_a_description():
    found = Calibration.of(SCORES, MAPS, 0.4, 0.9, "same")
    assert set(found.thresholds) == {"image", "pixel"}
    assert Calibration.from_thresholds(found.thresholds, SCORES) == found


@pytest.mark.parametrize("missing", ["image", "pixel"])
def test_a_description_without_a_threshold(missing):
    thresholds = Calibration.of(SCORES, MAPS, 0.4, 0.9, "same").thresholds
    del thresholds[missing]
    with pytest.raises(KeyError, match=missing):
        Calibration.from_thresholds(thresholds, SCORES)


@pytest.mark.parametrize(
    ("scores", "maps", "error"),
    [
        ([1.0], MAPS, ConfigError),
        (SCORES, MAPS[:1], ConfigError),
        ([*SCORES, float("nan")], MAPS, ModelError),
        ([*SCORES, float("-inf")], MAPS, ModelError),
    ],
)
def test_what_sets_no_threshold(scores, maps, error):
    with pytest.raises(error):
        Calibration.of(scores, maps, 0.4, 0.9, "same")

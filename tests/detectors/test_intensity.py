"""Brightness as a detector."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.config import Clahe, ForegroundSettings, PreprocessingSettings
from anomalabel.detectors.base import no_progress
from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.preprocessing.equalisation import equalise
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

PLAIN = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))


def test_the_map_is_the_image_and_the_score_its_high_quantile():
    scaled = np.arange(200, dtype=np.float32).reshape(2, 10, 10) / 200
    seen = np.ones(scaled.shape, dtype=bool)
    seen[0, 0, :5] = False
    positions = (SlicePosition(0, 0, "axial"),)
    told = []
    detection = IntensityDetector(PLAIN).detect(
        PreparedVolume(scaled, seen), np.eye(4), positions, lambda done, total: told.append((done, total))
    )
    np.testing.assert_array_equal(detection.anomaly_map[0, 0, 5:], scaled[0, 0, 5:])
    np.testing.assert_array_equal(detection.anomaly_map[0, 1:], scaled[0, 1:])
    assert np.isnan(detection.anomaly_map[0, 0, :5]).all()
    assert np.isnan(detection.anomaly_map[1]).all()
    assert detection.image_score == pytest.approx(np.quantile(np.arange(5, 100), 0.99) / 200)
    assert detection.prompt_specificity is None
    assert told == [(0, 1), (1, 1)]


def test_slices_are_prepared_as_for_every_method():
    settings = PLAIN.model_copy(update={"equalisation": Clahe()})
    scaled = np.random.default_rng(0).random((1, 32, 32), dtype=np.float32)
    prepared = PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool))
    detector = IntensityDetector(settings)
    detection = detector.detect(prepared, np.eye(4), (SlicePosition(0, 0, "image"),), no_progress)
    np.testing.assert_allclose(detection.anomaly_map[0], equalise(scaled[0], Clahe()))
    assert detector.identity.weights_sha256 == ""

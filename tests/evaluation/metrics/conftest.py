"""Cases for the metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anomalabel.evaluation.cases import CaseOutcome, EvaluationCase, Thresholds
from anomalabel.evaluation.metrics import summarise


@pytest.fixture
def thresholds():
    """Image and pixel threshold of 0.5."""
    return Thresholds(image=0.5, pixel=0.5, rule="by hand")


@pytest.fixture
def outcome():
    """Build the outcome of a case; the map is 0 everywhere unless given."""

    def build(
        abnormal, score=0.0, anomaly_map=None, lesion=None, true_boxes=None, found=(), identity="case", patient=None
    ):
        anomaly_map = np.zeros((4, 4)) if anomaly_map is None else anomaly_map
        return CaseOutcome(
            case=EvaluationCase(identity, Path(identity), abnormal, patient=patient),
            image_score=score,
            anomaly_map=np.asarray(anomaly_map, dtype=np.float32),
            lesion=None if lesion is None else np.asarray(lesion, dtype=bool),
            true_boxes=true_boxes,
            found=tuple(found),
        )

    return build


@pytest.fixture
def summary(outcome, thresholds):
    """Build the summary of a case from the arguments of `outcome`."""
    return lambda *arguments, **named: summarise(outcome(*arguments, **named), thresholds)

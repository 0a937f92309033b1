"""One evaluated case reduced to what the metrics need, so that maps need not be kept (224 x 224: about 50 kB)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomalabel.errors import ImageReadError, ModelError
from anomalabel.evaluation.cases import CaseOutcome, Thresholds
from anomalabel.evaluation.metrics.box_matching import MatchedFindings, match_findings
from anomalabel.evaluation.metrics.pixel_level import PixelSummary, summarise_pixels
from anomalabel.evaluation.metrics.pointing import Pointing, pointing


@dataclass(frozen=True, eq=False)
class CaseSummary:
    """What the metrics need of one case; plain numbers and small arrays, so it can be pickled.

    Args:
        identity: of the case in its set.
        patient: who was imaged, None where nobody knows.
        abnormal: what is true.
        image_score: larger = more anomalous.
        pixels: None where the disease's pixels are unknown.
        findings: None where the disease's place is unknown.
        pointing: None for a healthy case and where the disease's place is unknown.
    """

    identity: str
    patient: str | None
    abnormal: bool
    image_score: float
    pixels: PixelSummary | None
    findings: MatchedFindings | None
    pointing: Pointing | None


def summarise(outcome: CaseOutcome, thresholds: Thresholds) -> CaseSummary:
    """Reduce what a method said about a case.

    Args:
        outcome: of the case. A healthy case without mask or boxes has no lesion anywhere.
        thresholds: its `pixel` cuts the map here, once and for all.

    Raises:
        ModelError: the score or the map holds an infinite number, or the score is NaN.
        ImageReadError: the mask's shape is not the map's.
    """
    case, anomaly_map, lesion, true_boxes = outcome.case, outcome.anomaly_map, outcome.lesion, outcome.true_boxes
    if not np.isfinite(outcome.image_score) or np.isinf(anomaly_map).any():
        raise ModelError(
            f"The method's result for {case.identity} is not finite.", "Check the model with `anomalabel models check`."
        )
    if not case.abnormal:
        lesion = np.zeros(anomaly_map.shape, dtype=bool) if lesion is None else lesion
        true_boxes = () if true_boxes is None else true_boxes
    if lesion is not None and lesion.shape != anomaly_map.shape:
        raise ImageReadError(
            f"The mask of {case.identity} has shape {lesion.shape}, its map {anomaly_map.shape}.",
            "Save the mask on the grid of its image.",
        )
    return CaseSummary(
        identity=case.identity,
        patient=case.patient,
        abnormal=case.abnormal,
        image_score=float(outcome.image_score),
        pixels=None if lesion is None else summarise_pixels(anomaly_map, lesion, thresholds.pixel),
        findings=None if true_boxes is None else match_findings(outcome.found, true_boxes),
        pointing=pointing(anomaly_map, lesion, true_boxes) if case.abnormal else None,
    )

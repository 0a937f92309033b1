"""Points of the curves that a report draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomalabel.evaluation.metrics.finding_level import FindingMetrics
from anomalabel.evaluation.metrics.image_level import ImageMetrics
from anomalabel.evaluation.metrics.pixel_pool import PixelPool
from anomalabel.evaluation.metrics.ranking import Numbers, fractions, precisions
from anomalabel.evaluation.metrics.summary import CaseSummary

MAXIMUM_POINTS = 500


@dataclass(frozen=True, eq=False)
class Curve:
    """Points as a threshold falls, (points,) float64 each.

    Args:
        x: false positive rate (ROC), recall (precision-recall) or false alarms per image (FROC).
        y: true positive rate, precision or sensitivity.
        thresholds: score or map value of each point; +inf at the start, where nothing is called abnormal.
    """

    x: Numbers
    y: Numbers
    thresholds: Numbers


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of one draw, None where not defined (one class only, no mask, no box); at most 500 points each."""

    image_roc: Curve | None
    image_pr: Curve | None
    froc: Curve | None
    pixel_roc: Curve | None
    pixel_pr: Curve | None


def compute_curves(summaries: Sequence[CaseSummary]) -> Curves:
    """Curves over all cases. Precision-recall points belong to a staircase: precision holds up to its recall."""
    everyone = np.ones((1, len(summaries)))
    images = ImageMetrics([case.abnormal for case in summaries], [case.image_score for case in summaries], np.inf)
    image_roc, image_pr = _roc_and_pr(images.scores, *images.counts(everyone))
    scores, rate, sensitivity = FindingMetrics([case.findings for case in summaries]).froc(everyone)
    pixels = [case.pixels.ranks for case in summaries if case.pixels is not None]
    pool = PixelPool(pixels)
    pixel_roc, pixel_pr = _roc_and_pr(pool.values, *pool.counts(np.ones((1, len(pixels))))[:2])
    return Curves(image_roc, image_pr, _curve(rate, sensitivity, scores), pixel_roc, pixel_pr)


def _roc_and_pr(values: Numbers, positives: Numbers, negatives: Numbers) -> tuple[Curve | None, Curve | None]:
    recall, false_positive_rate = fractions(positives), fractions(negatives)
    if np.isnan(recall).any() or np.isnan(false_positive_rate).any():
        return None, None
    precision = precisions(positives, negatives)
    return _curve(false_positive_rate, recall, values), _curve(recall, precision, values)


def _curve(x: Numbers, y: Numbers, thresholds: Numbers) -> Curve | None:
    """The first row of x and y, thinned to points that lie evenly along the curve."""
    across, up = x[0], y[0]
    if np.isnan(across).any() or np.isnan(up).any():
        return None
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], min(MAXIMUM_POINTS, len(length)))))
    if len(length) <= MAXIMUM_POINTS:
        kept = np.arange(len(length))
    return Curve(across[kept], up[kept], thresholds[kept])

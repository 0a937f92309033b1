"""Metrics of whole images: ranked by their score, and cut at the healthy threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.metrics.confusion import Confusion
from anomalabel.evaluation.metrics.ranking import (
    Numbers,
    auroc,
    average_precision,
    best_f1,
    count_by_case,
    fpr_at_tpr,
    rank,
)


class ImageMetrics:
    """Image metrics of many cases, over and over for different weights of the cases.

    Args:
        abnormal: (cases,) what is true.
        scores: (cases,) larger = more anomalous.
        threshold: score from which an image is called abnormal, set on healthy images.
    """

    def __init__(self, abnormal: Sequence[bool], scores: Sequence[float], threshold: float) -> None:
        truth: NDArray[np.bool_] = np.array(abnormal, dtype=bool)
        values = np.array(scores, dtype=np.float64)
        self.scores, bins = rank(values)
        numbers, shape = np.arange(len(values)), (len(values), len(self.scores))
        self._positives = count_by_case(numbers, bins, truth, shape)
        self._negatives = count_by_case(numbers, bins, ~truth, shape)
        called = values >= threshold
        self._table = np.stack([truth & called, ~truth & ~called, ~truth & called, truth & ~called], axis=1)

    def counts(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Abnormal and normal cases at each of `scores`, (resamples, bins) both."""
        return weights @ self._positives, weights @ self._negatives

    def evaluate(self, weights: Numbers) -> dict[str, Numbers]:
        """Every image metric as (resamples,) of case weights (resamples, cases); NaN where not defined.

        `image_auprc` is average precision. `image_fpr_at_0.5` and `image_tpr_at_0.5` are the rates at the healthy
        threshold, which stands at 0.5 of a calibrated score. `oracle_image_f1` is the best F1 of all thresholds,
        found on the very images it judges.
        """
        positives, negatives = self.counts(weights)
        confusion = Confusion(*(weights @ self._table).T)
        return {
            "image_auroc": auroc(positives, negatives),
            "image_auprc": average_precision(positives, negatives),
            "image_accuracy": confusion.accuracy,
            "image_precision": confusion.precision,
            "image_recall": confusion.recall,
            "image_f1": confusion.f1,
            "image_specificity": confusion.specificity,
            "image_balanced_accuracy": confusion.balanced_accuracy,
            "image_mcc": confusion.matthews_correlation,
            "image_fpr_at_0.5": confusion.false_positive_rate,
            "image_tpr_at_0.5": confusion.recall,
            "image_fpr_at_95_tpr": fpr_at_tpr(positives, negatives, 0.95),
            "oracle_image_f1": best_f1(positives, negatives),
        }

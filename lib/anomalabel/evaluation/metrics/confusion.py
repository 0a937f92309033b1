"""Metrics of a two-by-two table, for many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomalabel.evaluation.metrics.ranking import Numbers, divide


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of true and false calls, each (resamples,).

    What needs the abnormal (recall, precision, F1, IoU) is NaN where there is none, what needs the normal
    (specificity, false positive rate) likewise, and what needs both (balanced accuracy, MCC) where either is missing.
    Precision is 0 where abnormal ones exist and nothing was called abnormal, and MCC is 0 where all calls are the
    same: scikit-learn's conventions.
    """

    tp: Numbers
    tn: Numbers
    fp: Numbers
    fn: Numbers

    @property
    def accuracy(self) -> Numbers:
        """Share of right calls."""
        return divide(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def precision(self) -> Numbers:
        """Share of the abnormal among what was called abnormal."""
        value = np.nan_to_num(divide(self.tp, self.tp + self.fp), nan=0.0)
        return np.where(self.tp + self.fn > 0, value, np.nan)

    @property
    def recall(self) -> Numbers:
        """Share of the abnormal that was called so; also sensitivity, true positive rate."""
        return divide(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Numbers:
        """Share of the normal that was not called abnormal."""
        return divide(self.tn, self.tn + self.fp)

    @property
    def false_positive_rate(self) -> Numbers:
        """Share of the normal that was called abnormal."""
        return divide(self.fp, self.tn + self.fp)

    @property
    def f1(self) -> Numbers:
        """Harmonic mean of precision and recall; of pixels this is the Dice coefficient."""
        return np.where(self.tp + self.fn > 0, divide(2 * self.tp, 2 * self.tp + self.fp + self.fn), np.nan)

    @property
    def iou(self) -> Numbers:
        """Intersection over union (Jaccard index)."""
        return np.where(self.tp + self.fn > 0, divide(self.tp, self.tp + self.fp + self.fn), np.nan)

    @property
    def balanced_accuracy(self) -> Numbers:
        """Mean of recall and specificity."""
        return (self.recall + self.specificity) / 2

    @property
    def matthews_correlation(self) -> Numbers:
        """Correlation of calls and truth, -1 to 1."""
        positives, negatives = self.tp + self.fn, self.tn + self.fp
        product = (self.tp + self.fp) * positives * negatives * (self.tn + self.fn)
        value = np.nan_to_num(divide(self.tp * self.tn - self.fp * self.fn, np.sqrt(product)), nan=0.0)
        return np.where((positives > 0) & (negatives > 0), value, np.nan)

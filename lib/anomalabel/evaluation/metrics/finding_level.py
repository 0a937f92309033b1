"""Metrics of findings: sensitivity against false alarms per image, and average precision of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.metrics.box_matching import AP_IOUS, MatchedFindings, ScoredHits
from anomalabel.evaluation.metrics.ranking import Numbers, count_by_case, divide, interpolated_precision, rank

FALSE_POSITIVES_PER_IMAGE = (0.5, 1, 2)


class FindingMetrics:
    """Finding metrics of many cases, over and over for different weights of the cases.

    Args:
        cases: None where the place of the disease is unknown; such a case is left out. Healthy cases count: their
            findings are false alarms.
    """

    def __init__(self, cases: Sequence[MatchedFindings | None]) -> None:
        self._known = [number for number, case in enumerate(cases) if case is not None]
        known = [case for case in cases if case is not None]
        self._true_counts = np.array([case.true_count for case in known], dtype=np.float64)
        self._froc = _Events([case.froc for case in known])
        self._matches = [_Events([case.matches[level] for case in known]) for level in range(len(AP_IOUS))]

    def froc(self, weights: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """Score, false alarms per image and sensitivity as the threshold falls, (bins,) and (resamples, bins) twice."""
        weights = weights[:, self._known]
        hits, false_alarms = self._froc.counts(weights)
        sensitivity = divide(np.cumsum(hits, axis=1), (weights @ self._true_counts)[:, None])
        rate = divide(np.cumsum(false_alarms, axis=1), weights.sum(1)[:, None])
        return self._froc.scores, rate, sensitivity

    def evaluate(self, weights: Numbers) -> dict[str, Numbers]:
        """Every finding metric as (resamples,) of case weights (resamples, cases); NaN without a true box.

        Sensitivity at a rate is the largest of all thresholds with at most that many false alarms per image; the curve
        is a staircase, nothing is interpolated.
        """
        _, rate, sensitivity = self.froc(weights)
        values = {
            f"finding_sensitivity_at_{allowed:g}_fp": np.where(rate <= allowed, sensitivity, 0).max(1)
            for allowed in FALSE_POSITIVES_PER_IMAGE
        }
        weights = weights[:, self._known]
        total = weights @ self._true_counts
        for iou, events in zip(AP_IOUS, self._matches, strict=True):
            values[f"finding_ap_at_{iou:g}"] = interpolated_precision(*events.counts(weights), total)
        return {name: np.where(total > 0, value, np.nan) for name, value in values.items()}


class _Events:
    """Scored events of all cases in one ranking."""

    def __init__(self, cases: Sequence[ScoredHits]) -> None:
        scores = np.concatenate([np.empty(0), *(case.scores for case in cases)])
        hits = np.concatenate([np.empty(0, dtype=bool), *(case.hits for case in cases)])
        numbers: NDArray[np.intp] = np.repeat(np.arange(len(cases)), [len(case.scores) for case in cases])
        self.scores, bins = rank(scores)
        shape = (len(cases), len(self.scores))
        self._hits = count_by_case(numbers, bins, hits, shape)
        self._false_alarms = count_by_case(numbers, bins, ~hits, shape)

    def counts(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Hits and false alarms at each of `scores`, (resamples, bins) both."""
        return weights @ self._hits, weights @ self._false_alarms

"""DeLong's test of two correlated AUROCs, by the fast algorithm of Sun and Xu (IEEE SPL, 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from anomalabel.evaluation.metrics.ranking import Numbers

RELATIVE_VARIANCE_TOLERANCE = 1e-12
"""A variance of the difference this small beside those of its parts is rounding."""


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs on the same cases.

    Args:
        aurocs: of the first and the second score.
        covariance: (2, 2) of the two.
        z: difference over its standard error; None where that is 0, as for scores that order the cases alike.
        p_value: two-sided; None like z.
    """

    aurocs: tuple[float, float]
    covariance: Numbers
    z: float | None
    p_value: float | None


def compare_aurocs(abnormal: NDArray[np.bool_], first: Numbers, second: Numbers) -> DeLong:
    """Test whether two scores separate the same independent cases equally well.

    Args:
        abnormal: (cases,) at least two True and two False.
        first: (cases,) larger = more anomalous.
        second: likewise.
    """
    scores = np.stack([first, second])
    positives, negatives = scores[:, abnormal], scores[:, ~abnormal]
    m, n = positives.shape[1], negatives.shape[1]
    among_all = rankdata(np.concatenate([positives, negatives], axis=1), axis=1)
    of_positives = (among_all[:, :m] - rankdata(positives, axis=1)) / n
    of_negatives = 1 - (among_all[:, m:] - rankdata(negatives, axis=1)) / m
    aurocs = of_positives.mean(1)
    covariance = np.cov(of_positives) / m + np.cov(of_negatives) / n
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = p_value = None
    if variance > RELATIVE_VARIANCE_TOLERANCE * float(np.trace(covariance)):
        z = float((aurocs[0] - aurocs[1]) / np.sqrt(variance))
        p_value = float(2 * norm.sf(abs(z)))
    return DeLong((float(aurocs[0]), float(aurocs[1])), covariance, z, p_value)

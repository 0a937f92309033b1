"""Curves over a falling threshold, for many resamples of the cases at once.

scikit-learn has these for one list of scores; here every row is a resample, which makes a bootstrap affordable. The
tests hold each function against scikit-learn's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from anomalabel.volume import FloatArray

Numbers = NDArray[np.float64]

TPR_TOLERANCE = 1e-12
"""A true positive rate this close below a wanted one reaches it."""


def rank(values: Numbers | FloatArray) -> tuple[Numbers, NDArray[np.intp]]:
    """Distinct values from high to low, so that equal scores pass a threshold together.

    Args:
        values: (n,), -inf allowed.

    Returns:
        (bins,) the distinct values led by +inf, where a curve starts with nothing called abnormal; (n,) the bin of
        each value.
    """
    distinct, position = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)
    return np.concatenate([[np.inf], distinct[::-1]]), len(distinct) - position.reshape(-1)


def count_by_case(
    cases: NDArray[np.intp], bins: NDArray[np.intp], amounts: NDArray[Any], shape: tuple[int, int]
) -> csr_array:
    """(cases, bins) sparse sums of `amounts`, so that `weights @ counts` is what a resample holds in each bin."""
    return csr_array((np.asarray(amounts, dtype=np.float64), (cases, bins)), shape=shape)


def fractions(counts: Numbers) -> Numbers:
    """Share of all counts (..., bins) at or above each bin's value; NaN where there is no count at all."""
    reached = np.cumsum(counts, axis=-1)
    return divide(reached, reached[..., -1:])


def divide(numerator: Numbers, denominator: Numbers) -> Numbers:
    """Elementwise quotient, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotient = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def area_under(x: Numbers, y: Numbers, limit: float = 1.0) -> Numbers:
    """Area under curves (..., bins) by the trapezoid rule, from x = 0 to `limit`, divided by `limit`; NaN from NaN."""
    start, stop = np.minimum(x[..., :-1], limit), np.minimum(x[..., 1:], limit)
    rise = np.nan_to_num(divide(y[..., 1:] - y[..., :-1], x[..., 1:] - x[..., :-1]))
    middle = y[..., :-1] + rise * ((start + stop) / 2 - x[..., :-1])
    area = ((stop - start) * middle).sum(-1) / limit
    return np.where(np.isnan(x[..., -1] + y[..., -1]), np.nan, area)


def auroc(positives: Numbers, negatives: Numbers) -> Numbers:
    """Area under the ROC curve of counts (..., bins), ties counted half; NaN where a class is missing."""
    return area_under(fractions(negatives), fractions(positives))


def precisions(positives: Numbers, negatives: Numbers) -> Numbers:
    """Share of positives among all that lies at or above each bin's value, (..., bins); 1 where nothing does."""
    hits = np.cumsum(positives, axis=-1)
    return np.nan_to_num(divide(hits, hits + np.cumsum(negatives, axis=-1)), nan=1.0)


def average_precision(positives: Numbers, negatives: Numbers) -> Numbers:
    """Sum over thresholds of gained recall times precision, as scikit-learn has it; NaN where a class is missing."""
    gained = np.diff(fractions(positives), axis=-1)
    area = (gained * precisions(positives, negatives)[..., 1:]).sum(-1)
    return np.where(negatives.sum(-1) > 0, area, np.nan)


def interpolated_precision(positives: Numbers, negatives: Numbers, total: Numbers) -> Numbers:
    """Average precision of detections, all-points interpolation (PASCAL VOC 2010).

    Args:
        positives: (..., bins) matched detections.
        negatives: (..., bins) unmatched ones.
        total: (...,) true objects, also those that no detection matched.

    Returns:
        (...,) area under the best precision at or beyond each recall; NaN where there is no object.
    """
    best = np.maximum.accumulate(precisions(positives, negatives)[..., :0:-1], axis=-1)[..., ::-1]
    return divide((positives[..., 1:] * best).sum(-1), total)


def best_f1(positives: Numbers, negatives: Numbers) -> Numbers:
    """Largest F1 over all thresholds: tuned on what it judges, to be shown as an oracle only; NaN without positives."""
    hits = np.cumsum(positives, axis=-1)
    called = hits + np.cumsum(negatives, axis=-1)
    return divide(2 * hits, called + hits[..., -1:]).max(-1)


def fpr_at_tpr(positives: Numbers, negatives: Numbers, wanted: float) -> Numbers:
    """Smallest false positive rate whose true positive rate is at least `wanted`; NaN where a class is missing."""
    reached = fractions(positives) >= wanted - TPR_TOLERANCE
    least = np.where(reached, fractions(negatives), np.inf).min(-1)
    return np.where(np.isfinite(least), least, np.nan)

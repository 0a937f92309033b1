"""Metrics over draws of the shots, with confidence intervals from a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalabel.evaluation.cases import Estimate, Thresholds
from anomalabel.evaluation.metrics.compute import MetricSuite, compute_metrics, resampling_unit
from anomalabel.evaluation.metrics.pixel_pool import RESAMPLING_RESOLUTION
from anomalabel.evaluation.metrics.ranking import Numbers
from anomalabel.evaluation.metrics.summary import CaseSummary

PERCENTILES = (2.5, 97.5)
DEFINED_SHARE = 0.5
"""An interval needs a value in at least this share of the resamples."""

RESAMPLES_AT_ONCE = 100


def estimate(
    draws: Sequence[Sequence[CaseSummary]], thresholds: Sequence[Thresholds], resamples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """Every metric with its mean over draws, their standard deviation and a 95 % percentile interval.

    Patients are drawn with replacement, all images of a patient together, an image of unknown patient by itself. Each
    draw of the shots is evaluated on the same resample and the values averaged, so the interval tells what other
    patients would change, and `std` what other shots would. Resamples in which a metric is not defined are left out;
    there is no interval where that happens in more than half, nor with fewer than two patients. In resamples pixel
    values are pooled into about 3,000 bins; means and draws use all that were kept.

    Args:
        draws: the case summaries of each draw; which cases a draw holds may differ.
        thresholds: one per draw.
        resamples: of the bootstrap; 0 gives no intervals.
        seed: of the bootstrap.

    Returns:
        One estimate per metric; a mean is over the draws in which the metric is defined.
    """
    points = [compute_metrics(cases, cuts) for cases, cuts in zip(draws, thresholds, strict=True)]
    if not points:
        return {}
    averages = _resampled(draws, thresholds, resamples, seed)
    return {
        name: _estimate([values[name] for values in points], averages.get(name, np.empty(0)), resamples)
        for name in points[0]
    }


def resampled_weights(units: int, resamples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """(resamples, units) how often each unit is drawn when as many are drawn with replacement as there are."""
    return generator.multinomial(units, np.full(units, 1 / units), size=resamples)


def _resampled(
    draws: Sequence[Sequence[CaseSummary]], thresholds: Sequence[Thresholds], resamples: int, seed: int
) -> dict[str, Numbers]:
    """Metrics averaged over draws, (resamples,) each; empty where nothing can be resampled."""
    units = sorted({resampling_unit(case) for cases in draws for case in cases})
    if len(units) < 2 or resamples < 1:
        return {}
    number = {unit: index for index, unit in enumerate(units)}
    weights = resampled_weights(len(units), resamples, np.random.default_rng(seed)).astype(np.float64)
    per_draw = []
    for cases, cuts in zip(draws, thresholds, strict=True):
        suite = MetricSuite(cases, cuts, RESAMPLING_RESOLUTION)
        of_cases = weights[:, [number[resampling_unit(case)] for case in cases]]
        parts = [
            suite.evaluate(of_cases[start : start + RESAMPLES_AT_ONCE])
            for start in range(0, resamples, RESAMPLES_AT_ONCE)
        ]
        per_draw.append({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return {name: _mean_of_defined(np.stack([values[name] for values in per_draw])) for name in per_draw[0]}


def _mean_of_defined(values: Numbers) -> Numbers:
    """Mean over the first axis without NaN; NaN where all are."""
    defined = ~np.isnan(values)
    count = defined.sum(0)
    return np.where(count > 0, np.where(defined, values, 0).sum(0) / np.maximum(count, 1), np.nan)


def _estimate(points: Sequence[float | None], resampled: Numbers, resamples: int) -> Estimate:
    values = [value for value in points if value is not None]
    if not values:
        return Estimate(None, None, None, tuple(points))
    resampled = resampled[~np.isnan(resampled)]
    interval = None
    if resamples and len(resampled) >= DEFINED_SHARE * resamples:
        low, high = np.percentile(resampled, PERCENTILES)
        interval = (float(low), float(high))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(float(np.mean(values)), spread, interval, tuple(points))

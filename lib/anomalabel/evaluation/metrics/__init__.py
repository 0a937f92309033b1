"""Metrics of images, pixels and findings, with how each treats what is missing."""

from anomalabel.evaluation.metrics.compute import CaseCounts, compute_metrics, count_cases
from anomalabel.evaluation.metrics.curves import Curve, Curves, compute_curves
from anomalabel.evaluation.metrics.summary import CaseSummary, summarise

__all__ = [
    "CaseCounts",
    "CaseSummary",
    "Curve",
    "Curves",
    "compute_curves",
    "compute_metrics",
    "count_cases",
    "summarise",
]

"""CLAP: attention for disease minus attention for health, and the region it suspects (clap.txt section 2, eq. 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anomalabel.volume import FloatArray

REGION_SD = 0.674
"""Suspected region = map > mean + this many standard deviations: a normal distribution's upper quartile (eq. 2)."""


def scale_to_unit(values: FloatArray, low: float, high: float) -> FloatArray:
    """Take low to 0 and high to 1, clipped; a map without range becomes 0 everywhere."""
    if high <= low:
        return np.zeros_like(values)
    return np.clip((values - low) / (high - low), 0, 1)


def region_threshold(anomaly_map: FloatArray, sd: float = REGION_SD) -> float:
    """mean + sd * standard deviation over what was seen (NaN left out) of a map of any shape."""
    return float(np.nanmean(anomaly_map, dtype=np.float64) + sd * np.nanstd(anomaly_map, dtype=np.float64))


def suspected_region(anomaly_map: FloatArray, sd: float = REGION_SD) -> NDArray[np.bool_]:
    """Where the map exceeds `region_threshold`; unseen voxels never belong to it."""
    return np.nan_to_num(anomaly_map, nan=-np.inf) > region_threshold(anomaly_map, sd)

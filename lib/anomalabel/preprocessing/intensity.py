"""Source intensities to [0, 1]."""

from __future__ import annotations

import numpy as np

from anomalabel.config import CtWindow, IntensityScaling, PercentileWindow, ZScore
from anomalabel.volume import FloatArray


def scale_intensity(array: FloatArray, seen: np.ndarray, settings: IntensityScaling) -> FloatArray:
    """Scale the seen voxels to [0, 1]; the others become 0.

    Args:
        array: any shape, float32, in the source's own units (Hounsfield units for a CT window).
        seen: bool of the same shape, at least one True; seen voxels are finite.
        settings: which window.

    Returns:
        float32 of the same shape, finite, in [0, 1].
    """
    low, high = window_bounds(array[seen], settings)
    scaled = np.subtract(array, np.float32(low), dtype=np.float32)
    scaled /= np.float32(high - low)
    np.clip(scaled, 0.0, 1.0, out=scaled)
    scaled[~seen] = 0.0
    return scaled


def window_bounds(values: FloatArray, settings: IntensityScaling) -> tuple[float, float]:
    """The source values that become 0 and 1; low < high unless all values are equal.

    Args:
        values: (n,) finite seen values.
        settings: percentile window (clip at two percentiles), CT window (centre +- width / 2) or z-score
            (mean +- clip_sd standard deviations).
    """
    match settings:
        case CtWindow():
            return settings.center_hu - settings.width_hu / 2, settings.center_hu + settings.width_hu / 2
        case ZScore():
            mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
            low, high = mean - settings.clip_sd * deviation, mean + settings.clip_sd * deviation
        case PercentileWindow():
            low, high = (float(bound) for bound in np.percentile(values, (settings.low, settings.high)))
    if low < high:
        return low, high
    # Nearly all values are equal: the few others are what there is to see.
    return float(values.min()), float(values.max())

"""Removes specks from an anomaly map (few_shot_localization.txt section 4.5.3).

A blur or a median would move and lower the peaks that remain; one threshold would need a level that fits all images. An
area opening works at every level at once: it removes each bright island smaller than an area and moves no edge. Taken
alone it also flattens every peak, since the top of any lesion is smaller than the area at some level. So it decides
here, and does not draw: a peak whose island has the area at half of the peak's height, counted from the slice's median,
is a lesion and is drawn again in full (reconstruction by dilation); the others are cut down to their surroundings, the
level at which their island reaches the area, though never below the median.
"""

from __future__ import annotations

import math

import numpy as np
from skimage.morphology import area_opening, local_maxima, reconstruction

from anomalabel.volume import FloatArray

NEIGHBOURS = 2
"""Diagonal neighbours belong to an island, as in findings."""


def suppress_specks(anomaly_map: FloatArray, minimum_area: float) -> FloatArray:
    """Cut down bright islands that are smaller than an area; every other value stays exactly as it is.

    No value rises, no new peak appears, and a second pass changes nothing.

    Args:
        anomaly_map: (Z, Y, X) or (Y, X) float32, NaN = unseen; each slice on its own.
        minimum_area: smaller islands go; share of the slice's seen voxels, inside (0, 1).

    Returns:
        A map of the same shape, NaN where it was NaN.
    """
    if anomaly_map.ndim == 2:
        return _suppress(anomaly_map, minimum_area)
    return np.stack([_suppress(one, minimum_area) for one in anomaly_map])


def _suppress(one: FloatArray, minimum_area: float) -> FloatArray:
    """Of a slice (Y, X)."""
    seen = np.isfinite(one)
    pixels = math.ceil(minimum_area * np.count_nonzero(seen))
    if pixels <= 1:
        return one.copy()
    # A value of the map, not a mean of two: cutting down to it leaves it the median, so a second pass sees the same.
    median = np.quantile(one[seen], 0.5, method="lower")
    raised = seen & (one > median)
    # A margin, since scikit-image's max-tree fails where an axis is shorter than three.
    above = np.pad(np.where(raised, one, median), 1, constant_values=median)
    opened = area_opening(above, pixels, NEIGHBOURS)
    lesions = local_maxima(above, connectivity=NEIGHBOURS) & (above - opened <= opened - median)
    drawn = reconstruction(np.where(lesions, above, opened), above, method="dilation")
    kept = one.copy()
    kept[raised] = drawn[1:-1, 1:-1][raised]
    return kept

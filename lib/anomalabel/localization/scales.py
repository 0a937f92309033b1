"""Anomaly maps at several scales (few_shot_localization.txt section 4.5.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.volume import FloatArray


def multi_scale(maps: FloatArray, seen: NDArray[np.bool_], scales: tuple[int, ...]) -> FloatArray:
    """Mean over scales of the maps averaged over scale x scale neighbourhoods.

    A small scale keeps focal lesions sharp, a large one lifts broad changes over the noise of single patches. Patches
    that were not seen, and those beyond the border, are left out of each mean.

    Args:
        maps: (N, rows, columns) float32, finite where seen.
        seen: (N, rows, columns) bool.
        scales: odd, in patches; 1 is the map itself.

    Returns:
        (N, rows, columns) float32, NaN where unseen.
    """
    inside = np.where(seen, maps, 0).astype(np.float64)
    total = np.zeros(maps.shape)
    for scale in scales:
        if scale == 1:
            total += inside
            continue
        window = (1, scale, scale)
        mass = ndimage.uniform_filter(seen.astype(np.float64), window, mode="constant")
        total += ndimage.uniform_filter(inside, window, mode="constant") / np.where(seen, mass, 1)
    return np.where(seen, total / len(scales), np.nan).astype(np.float32)

"""Per-region overlap (Bergmann et al., MVTec AD, IJCV 2021): every lesion counts the same, large or small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from anomalabel.evaluation.metrics.ranking import Numbers, area_under, fractions

FPR_LIMIT = 0.3
"""The overlap is integrated up to this false positive rate."""


def region_weights(lesion: NDArray[np.bool_]) -> tuple[Numbers, int]:
    """What each lesion pixel adds to the overlap of its region.

    Args:
        lesion: (Y, X) or (Z, Y, X); regions are parts that touch at a side, an edge or a corner.

    Returns:
        (lesion pixels,) in array order, 1 / pixels of the region, so that a region's weights add up to 1; and how
        many regions there are.
    """
    labels, regions = ndimage.label(lesion, np.ones((3,) * lesion.ndim))
    numbers = labels[lesion]
    return 1 / np.bincount(numbers, minlength=regions + 1)[numbers], int(regions)


def aupro(regions: Numbers, negatives: Numbers) -> Numbers:
    """Area under mean per-region overlap against false positive rate up to `FPR_LIMIT`, divided by it.

    Args:
        regions: (..., bins) sums of region weights from the highest value down.
        negatives: (..., bins) counts of pixels outside all lesions, of all images.

    Returns:
        (...,) 0 to 1; NaN without a region or without a pixel outside.
    """
    return area_under(fractions(negatives), fractions(regions), FPR_LIMIT)

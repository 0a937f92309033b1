"""What a task did to an image, and how much of it can be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from anomalabel.volume import FloatArray

NOTICEABLE = 0.06
"""A difference of looks that counts in full; smaller ones count in proportion."""

NEIGHBOURHOOD = 0.015
"""Looks are compared in a Gaussian of this standard deviation, share of the image's shorter side."""

GAP = 0.05
"""Gaps in a change narrower than this share of the shorter side are closed: there it only passes through its zero."""


@dataclass(frozen=True)
class Change:
    """An image as a task left it.

    Args:
        image: (H, W) float32 in [0, 1].
        extent: (H, W) in [0, 1], how far the task reached into each pixel; 0 where the image is as it was.
    """

    image: FloatArray
    extent: FloatArray


def seen_change(before: FloatArray, change: Change) -> FloatArray:
    """How much each pixel was changed so that it shows, (H, W) float32 in [0, 1], at most the change's extent.

    Args:
        before: (H, W) in [0, 1], the image as it was.
        change: made of it.
    """
    side = min(before.shape)
    difference = difference_of_looks(before, change.image, NEIGHBOURHOOD * side)
    showing = np.minimum(difference / NOTICEABLE, 1)
    closed = ndimage.grey_closing(showing, size=2 * round(GAP * side / 2) + 1)
    return (change.extent * ndimage.gaussian_filter(closed, NEIGHBOURHOOD * side)).astype(np.float32)


def difference_of_looks(before: FloatArray, after: FloatArray, width: float) -> FloatArray:
    """By how much mean and standard deviation of each pixel's neighbourhood differ, added up, (H, W).

    Pixel by pixel, speckle moved onto speckle differs everywhere and still looks the same.

    Args:
        before, after: (H, W).
        width: standard deviation of the Gaussian that is the neighbourhood, pixels.
    """
    (mean_before, deviation_before), (mean_after, deviation_after) = (
        _local_statistics(image, width) for image in (before, after)
    )
    return np.abs(mean_after - mean_before) + np.abs(deviation_after - deviation_before)


def _local_statistics(image: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    mean = ndimage.gaussian_filter(image, width)
    return mean, np.sqrt(np.maximum(ndimage.gaussian_filter(image**2, width) - mean**2, 0))

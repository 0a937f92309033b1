"""What of a picture a scanner saw: an ultrasound's sector, an X-ray within its collimation; not the black around.

A field of view is convex, so it is the convex hull of what is lit: cysts, and shadows that reach the lower border,
are anatomy and stay inside as long as something lit reaches as deep on either side of them. Following the black from
the border instead would take such shadows away, and with them the sign of many malignant lesions. The price: the black
bay between the upper corners of a curved probe's sector, or between neck and shoulder, counts as inside.
"""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from anomalabel.volume import FloatArray

Mask = NDArray[np.bool_]

BLACK = 0.015
"""Black lies within this share of the picture's range above its darkest value: JPEG's ringing and a little noise."""

NEIGHBOURHOOD_SHARE = 0.02
LIT_SHARE = 0.2
"""A pixel is lit where this share of its neighbourhood is not black: a few specks light nothing, and dark speckle is
no black. The neighbourhood is as wide as the other share of the picture's shorter side."""

THIN_SHARE = 0.05
"""Letters, rulers and bridges to them are thinner than this share of the shorter side."""

KEPT_SHARE = 0.03
"""Lit parts of at least this share of the largest one are seen by the scanner, smaller islands burnt in."""

LEAST_SHARE = 0.25
"""A field of view smaller than this share of what is seen is not believed."""


def field_of_view(image: FloatArray, seen: Mask) -> Mask:
    """Which pixels show anything, without the black around them and what is burnt into it.

    A result of less than a quarter of what is seen is taken for a dark picture, not for a small field of view: then all
    that is seen is inside.

    Args:
        image: (H, W) float32 in [0, 1], finite, not equalised (which would light up the black).
        seen: (H, W) bool; what is not seen is outside.

    Returns:
        (H, W) bool, within `seen`.
    """
    if not seen.any():
        return seen.copy()
    low, high = float(image.min(where=seen, initial=np.inf)), float(image.max(where=seen, initial=-np.inf))
    black = low + BLACK * (high - low)
    bright = seen & (image > black)
    around = uniform_filter(bright.astype(np.float32), _odd_width(NEIGHBOURHOOD_SHARE, image), mode="nearest")
    inside: Mask = _hull(_large_parts(around > LIT_SHARE, _odd_width(THIN_SHARE, image)) & bright) & seen
    return inside if np.count_nonzero(inside) >= LEAST_SHARE * np.count_nonzero(seen) else seen.copy()


def _large_parts(lit: Mask, thin: int) -> Mask:
    """Parts that remain large when all that is thinner is cut off, grown back; the border is no edge."""
    cut = minimum_filter(lit.view(np.uint8), thin, mode="nearest")
    labels = cc3d.connected_components(cut, connectivity=8)
    sizes = cc3d.statistics(labels)["voxel_counts"]
    sizes[0] = 0
    if not sizes.any():
        return lit
    kept = (sizes >= KEPT_SHARE * sizes.max())[labels]
    grown: Mask = maximum_filter(kept.view(np.uint8), thin + 2).view(bool) & lit
    return grown


def _hull(mask: Mask) -> Mask:
    """Convex hull of the centres of a mask's pixels: between two lines through the outermost pixels of its rows."""
    rows = np.flatnonzero(mask.any(axis=1))
    hull = np.zeros_like(mask)
    if len(rows) == 0:
        return hull
    columns = np.arange(mask.shape[1])
    between = np.arange(rows[0], rows[-1] + 1)
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    left, right = -_outline(rows, -first, between), _outline(rows, last, between)
    # Rounding must not lose a pixel that lies on the line.
    hull[between] = (columns >= left[:, np.newaxis] - 1e-6) & (columns <= right[:, np.newaxis] + 1e-6)
    return hull


def _outline(rows: NDArray[np.intp], farthest: NDArray[np.intp], between: NDArray[np.intp]) -> NDArray[np.float64]:
    """The lowest concave line above the farthest pixels of rows, at each row (Andrew's monotone chain)."""
    corners: list[tuple[int, int]] = []
    for row, column in zip(rows.tolist(), farthest.tolist(), strict=True):
        while len(corners) > 1 and _is_below(corners[-2], corners[-1], (row, column)):
            corners.pop()
        corners.append((row, column))
    corner_rows, corner_columns = zip(*corners, strict=True)
    return np.interp(between, corner_rows, corner_columns)


def _is_below(before: tuple[int, int], corner: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether the corner lies on or below the line from the one before it to the one after it."""
    rise, way = after[1] - before[1], after[0] - before[0]
    return (corner[1] - before[1]) * way <= rise * (corner[0] - before[0])


def _odd_width(share: float, image: FloatArray) -> int:
    """Pixels of a centred window, at least 3."""
    return max(2 * round(share * min(image.shape) / 2) + 1, 3)

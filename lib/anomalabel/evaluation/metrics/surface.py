"""How far the outline of a prediction lies from that of the lesion, in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOUNDARY_TOLERANCE_PIXELS = 2.0
"""An outline pixel this close to the other outline agrees with it."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Agreement of two outlines in one image.

    Args:
        hausdorff: largest distance from a pixel of one outline to the other outline, in pixels of the evaluated grid.
        hd95: the larger of the two directed 95th percentiles, in pixels.
        boundary_f1: harmonic mean of the shares of either outline within `BOUNDARY_TOLERANCE_PIXELS` of the other
            (Csurka et al., BMVC 2013), 0 to 1.
    """

    hausdorff: float
    hd95: float
    boundary_f1: float


def surface_distances(predicted: NDArray[np.bool_], lesion: NDArray[np.bool_]) -> SurfaceDistances | None:
    """Compare outlines; distances count pixels (voxels of a volume), whatever their size in millimetres.

    Args:
        predicted: (Y, X) or (Z, Y, X).
        lesion: same shape. An outline is what one step of erosion removes; a volume of one slice counts as a picture.

    Returns:
        None without a lesion, whatever was predicted. With a lesion and nothing predicted, both distances are the
        image's diagonal, the largest there can be, and the boundary F1 is 0.
    """
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    if not lesion.any():
        return None
    if not predicted.any():
        diagonal = float(np.linalg.norm(np.array(lesion.shape) - 1))
        return SurfaceDistances(diagonal, diagonal, 0.0)
    if lesion.shape[0] == 1:
        predicted, lesion = predicted[0], lesion[0]
    outline, true_outline = get_mask_edges(predicted, lesion)
    outward = np.asarray(get_surface_distance(outline, true_outline))
    inward = np.asarray(get_surface_distance(true_outline, outline))
    agreed, found = (float((way <= BOUNDARY_TOLERANCE_PIXELS).mean()) for way in (outward, inward))
    return SurfaceDistances(
        hausdorff=float(max(outward.max(), inward.max())),
        hd95=float(max(np.percentile(outward, 95), np.percentile(inward, 95))),
        boundary_f1=2 * agreed * found / (agreed + found) if agreed + found else 0.0,
    )

"""How well a map shows a lesion whose place is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from anomalabel.errors import ImageReadError
from anomalabel.volume import FloatArray


@dataclass(frozen=True)
class LesionScore:
    """What is said about one map.

    Args:
        peak_in_lesion: whether the map's largest value lies inside the lesion.
        peak_distance_mm: from the peak to the nearest voxel of the lesion; 0 inside.
        auroc: chance that a voxel of the lesion scores higher than one outside; 0.5 is guessing.
        lesion_seen: share of the lesion's voxels that the detector looked at, 0 to 1.
    """

    peak_in_lesion: bool
    peak_distance_mm: float
    auroc: float
    lesion_seen: float


def score_lesion(
    anomaly_map: FloatArray, truth: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> LesionScore:
    """Compare a map with the truth.

    Args:
        anomaly_map: (Z, Y, X), NaN where nothing was seen.
        truth: (Z, Y, X), True inside the lesion.
        spacing_mm: voxel size along (i, j, k) = (X, Y, Z).

    Raises:
        ImageReadError: other shapes, no lesion, or nothing was seen inside or outside of it.
    """
    seen = np.isfinite(anomaly_map)
    if anomaly_map.shape != truth.shape or not (seen & truth).any() or not (seen & ~truth).any():
        raise ImageReadError(
            f"A map of shape {anomaly_map.shape} cannot be compared with a lesion of shape {truth.shape}: "
            "voxels inside and outside of it must have been seen.",
            "Give the map and the truth of the same image.",
        )
    peak = np.unravel_index(int(np.nanargmax(anomaly_map)), anomaly_map.shape)
    distance = distance_transform_edt(~truth, sampling=spacing_mm[::-1])
    return LesionScore(
        peak_in_lesion=bool(truth[peak]),
        peak_distance_mm=float(distance[peak]),
        auroc=_auroc(anomaly_map[seen & truth], anomaly_map[seen & ~truth]),
        lesion_seen=float((seen & truth).sum() / truth.sum()),
    )


def _auroc(inside: FloatArray, outside: FloatArray) -> float:
    """Mann-Whitney: ties count half."""
    ranks = rankdata(np.concatenate([inside, outside]))
    above = ranks[: inside.size].sum() - inside.size * (inside.size + 1) / 2
    return float(above / (float(inside.size) * float(outside.size)))

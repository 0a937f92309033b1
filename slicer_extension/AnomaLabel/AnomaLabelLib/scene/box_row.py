"""What the heatmap says inside a box of voxels, as a finding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from ..server.json_fields import Index
from ..server.report import Finding
from .geometry import same_grid
from .voxel_box import VoxelBox, box_values, is_heatmap, matrix_of, voxel_mm3, world_boxes


@dataclass(frozen=True)
class BoxScores:
    """Heatmap values inside a box.

    Args:
        score, mean_score, uncertainty: None where nothing was seen, or where there is no map.
        peak_index: (i, j, k) of the largest value; the box's middle where nothing was seen.
        voxels: how many count.
    """

    score: float | None
    mean_score: float | None
    uncertainty: float | None
    peak_index: Index
    voxels: int


def box_scores(
    volume: slicer.vtkMRMLScalarVolumeNode,
    box: VoxelBox,
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None = None,
    inside: np.ndarray | None = None,
) -> BoxScores:
    """Scores of a box.

    Args:
        volume: a heatmap; another volume gives no scores, since brightness is none.
        uncertainty: map on the same grid, or None.
        inside: (Z, Y, X) bool over the box, which of its voxels count; None for all.
    """
    shape = tuple(high - low + 1 for low, high in zip(box.index_min, box.index_max, strict=True))[::-1]
    inside = np.ones(shape, bool) if inside is None else inside
    voxels = int(inside.sum())
    known = None
    if uncertainty is not None and same_grid(uncertainty, volume):
        known = _mean(box_values(uncertainty, box)[inside])
    if not is_heatmap(volume):
        return BoxScores(None, None, known, box.middle, voxels)
    values = np.where(inside, box_values(volume, box), np.float32(np.nan))
    mean = _mean(values)
    if mean is None:
        return BoxScores(None, None, known, box.middle, voxels)
    k, j, i = (int(place) for place in np.unravel_index(np.nanargmax(values), shape))
    first_i, first_j, first_k = box.index_min
    peak = (first_i + i, first_j + j, first_k + k)
    return BoxScores(float(values[k, j, i]), mean, known, peak, voxels)


def box_finding(
    volume: slicer.vtkMRMLScalarVolumeNode, box: VoxelBox, finding_id: str, label: str, scores: BoxScores
) -> Finding:
    """A box of voxels as a finding of a volume's grid."""
    matrix = matrix_of(volume)
    (world,) = world_boxes(matrix, np.array([box.index_min]), np.array([box.index_max]))
    return Finding(
        id=finding_id,
        label=label,
        score=scores.score,
        mean_score=scores.mean_score,
        uncertainty=scores.uncertainty,
        volume_mm3=scores.voxels * voxel_mm3(matrix),
        peak_index=scores.peak_index,
        index_min=box.index_min,
        index_max=box.index_max,
        center_ras=world.center_ras,
        size_mm=world.size_mm,
        axes_ras=world.axes_ras,
    )


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is no NaN, None where all is."""
    seen = values[~np.isnan(values)]
    return float(seen.mean(dtype=np.float64)) if seen.size else None

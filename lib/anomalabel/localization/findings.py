"""From an anomaly map to findings: connected regions, their boxes in voxels and in the world."""

from __future__ import annotations

import uuid

import numpy as np
from scipy import ndimage

from anomalabel.finding import Finding, Index, Point
from anomalabel.volume import LPS_FROM_RAS, FloatArray, Matrix


def extract_findings(
    anomaly_map: FloatArray,
    affine_ras: Matrix,
    threshold: float,
    minimum_volume_mm3: float,
    label: str,
    identity: str,
    uncertainty: FloatArray | None = None,
) -> list[Finding]:
    """Connected regions (26 neighbours) where the map exceeds a threshold, highest score first.

    Args:
        anomaly_map: (Z, Y, X) float32, NaN = unseen, which belongs to no region.
        affine_ras: (4, 4), index (i, j, k) to RAS millimetres.
        threshold: strict lower bound.
        minimum_volume_mm3: smaller regions are dropped.
        label: what the regions are called.
        identity: what makes this run; with the region's number it gives each finding its UUID (version 5), so that
            the same run on the same image names its findings the same.
        uncertainty: (Z, Y, X), or None.
    """
    above = np.nan_to_num(anomaly_map, nan=-np.inf) > threshold
    # SciPy, since cc3d 4.1.1 fails on some thin arrays.
    labels, _ = ndimage.label(above, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    voxel_mm3 = float(abs(np.linalg.det(affine_ras[:3, :3])))
    findings = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        volume_mm3 = float(sizes[number]) * voxel_mm3
        if volume_mm3 < minimum_volume_mm3:
            continue
        inside = labels[box] == number
        values = anomaly_map[box]
        peak = np.unravel_index(int(np.argmax(np.where(inside, values, -np.inf))), inside.shape)
        first = np.array([part.start for part in box])
        last = np.array([part.stop - 1 for part in box])
        findings.append(
            Finding(
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{identity}/{number}")),
                label=label,
                score=float(values[peak]),
                mean_score=float(values[inside].mean(dtype=np.float64)),
                uncertainty=None if uncertainty is None else float(np.nanmean(uncertainty[box][inside])),
                volume_mm3=volume_mm3,
                peak_index=_ijk(first + np.array(peak)),
                index_min=_ijk(first),
                index_max=_ijk(last),
                **world_box(affine_ras, _ijk(first), _ijk(last)),
            )
        )
    return sorted(findings, key=lambda finding: (-finding.score, finding.id))


def world_box(affine_ras: Matrix, index_min: Index, index_max: Index) -> dict[str, tuple]:
    """The box of voxels from `index_min` to `index_max` (both included, (i, j, k)) in the world.

    Returns:
        `center_ras`, `center_lps`, `size_mm` (edge lengths along i, j, k, voxel borders included) and `axes_ras` (unit
        directions of i, j, k): exact for oblique and flipped affines.
    """
    low, high = np.array(index_min, dtype=float), np.array(index_max, dtype=float)
    center_ras = affine_ras @ np.append((low + high) / 2, 1.0)
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    axes = (affine_ras[:3, :3] / spacing_mm).T
    return {
        "center_ras": _point(center_ras[:3]),
        "center_lps": _point((LPS_FROM_RAS @ center_ras)[:3]),
        "size_mm": _point((high - low + 1) * spacing_mm),
        "axes_ras": tuple(_point(axis) for axis in axes),
    }


def _ijk(zyx: np.ndarray) -> Index:
    z, y, x = (int(value) for value in zyx)
    return x, y, z


def _point(values: np.ndarray) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z

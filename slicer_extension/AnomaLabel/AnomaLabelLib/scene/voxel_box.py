"""Boxes of voxels and where they lie in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from ..errors import SceneError
from ..server.json_fields import Index, Point
from ..translation import _
from .geometry import grid_size, ijk_to_ras
from .ownership import HEATMAP_ROLE, ROLE_ATTRIBUTE


@dataclass(frozen=True)
class VoxelBox:
    """A box of whole voxels, (i, j, k), both ends inclusive."""

    index_min: Index
    index_max: Index

    @property
    def middle(self) -> Index:
        """The voxel in the middle; of two, the first."""
        i, j, k = ((low + high) // 2 for low, high in zip(self.index_min, self.index_max, strict=True))
        return i, j, k


@dataclass(frozen=True)
class WorldBox:
    """A box in the frame of its volume's node, RAS; the names and meanings are those of a finding."""

    center_ras: Point
    size_mm: Point
    axes_ras: tuple[Point, Point, Point]


def world_boxes(matrix: np.ndarray, index_min: np.ndarray, index_max: np.ndarray) -> list[WorldBox]:
    """Where boxes of voxels lie, borders of the voxels included.

    Args:
        matrix: (4, 4) index to RAS.
        index_min, index_max: (N, 3), both inclusive.
    """
    low, high = np.asarray(index_min, dtype=float), np.asarray(index_max, dtype=float)
    spacing_mm = np.linalg.norm(matrix[:3, :3], axis=0)
    i_axis, j_axis, k_axis = (_point(axis) for axis in (matrix[:3, :3] / spacing_mm).T)
    centers = (low + high) / 2 @ matrix[:3, :3].T + matrix[:3, 3]
    sizes = (high - low + 1) * spacing_mm
    return [
        WorldBox(_point(center), _point(size), (i_axis, j_axis, k_axis))
        for center, size in zip(centers, sizes, strict=True)
    ]


def voxel_mm3(matrix: np.ndarray) -> float:
    """Volume of one voxel of an index-to-RAS matrix."""
    return float(abs(np.linalg.det(matrix[:3, :3])))


def enclosing_voxels(points_ijk: np.ndarray, volume: slicer.vtkMRMLScalarVolumeNode, name: str) -> VoxelBox:
    """The voxels of a volume that a box covers by more than half along each axis, at least one, clipped to the image.

    Args:
        points_ijk: (N, 3) corners of the box as continuous indices, whole numbers in the middle of voxels.
        name: of the box, for the message.

    Raises:
        SceneError: the box lies outside the image wholly.
    """
    size = np.array(grid_size(volume))
    low, high = points_ijk.min(axis=0), points_ijk.max(axis=0)
    if (high <= -0.5).any() or (low >= size - 0.5).any():
        raise SceneError(
            _("Box '{name}' lies outside the image '{image}'.").format(name=name, image=volume.GetName()),
            _("Drag it over the image, or delete it."),
        )
    # The border before a voxel is at its index less a half, so adding a half rounds a border to its voxel.
    first, last = np.floor(low + 1.0).astype(int), np.ceil(high - 1.0).astype(int)
    thin = last < first
    holding = np.floor((low + high) / 2 + 0.5).astype(int)
    first, last = np.where(thin, holding, first), np.where(thin, holding, last)
    first, last = np.clip(first, 0, size - 1), np.clip(last, 0, size - 1)
    return VoxelBox(_index(first), _index(last))


def box_values(volume: slicer.vtkMRMLScalarVolumeNode, box: VoxelBox) -> np.ndarray:
    """(Z, Y, X) values of a volume inside a box, where they lie."""
    i, j, k = (slice(low, high + 1) for low, high in zip(box.index_min, box.index_max, strict=True))
    return slicer.util.arrayFromVolume(volume)[k, j, i]


def is_heatmap(volume: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume's values say how anomalous a voxel is, and not how bright."""
    return volume.GetAttribute(ROLE_ATTRIBUTE) == HEATMAP_ROLE


def matrix_of(volume: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """(4, 4) index to RAS in the volume's own frame.

    Raises:
        SceneError: the volume holds no image.
    """
    if min(grid_size(volume)) == 0:
        raise SceneError(_("Volume '{name}' holds no image.").format(name=volume.GetName()), _("Load its image again."))
    return ijk_to_ras(volume)


def _index(values: np.ndarray) -> Index:
    i, j, k = (int(value) for value in values)
    return i, j, k


def _point(values: np.ndarray) -> Point:
    x, y, z = values.tolist()
    return x, y, z

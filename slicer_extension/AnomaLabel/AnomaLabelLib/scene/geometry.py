"""Index-to-world matrices of volume nodes, as numpy."""

from __future__ import annotations

from itertools import product

import numpy as np
import slicer
import vtk

GEOMETRY_TOLERANCE_MM = 1e-3


def ijk_to_ras(volume: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """(4, 4) float64: index (i, j, k, 1) to RAS millimetres in the node's own frame, parent transforms left out."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def grid_size(volume: slicer.vtkMRMLVolumeNode) -> tuple[int, int, int]:
    """Voxels along (i, j, k); zeros for a node without an image."""
    image = volume.GetImageData()
    return tuple(image.GetDimensions()) if image else (0, 0, 0)


def same_grid(first: slicer.vtkMRMLVolumeNode, second: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether two volumes have their voxels at the same places, to a thousandth of a millimetre at every corner.

    From which end an axis is counted does not matter: MRML's general reader turns the third axis of a left-handed
    file round, its NRRD reader does not.
    """
    size = grid_size(first)
    if size != grid_size(second) or min(size) == 0:
        return False
    last = np.array(size) - 1
    ends = np.array(list(product((0, 1), repeat=3)))
    corners = _world_corners(first, ends * last)
    for turned in product((0, 1), repeat=3):
        if np.abs(corners - _world_corners(second, (ends ^ turned) * last)).max() <= GEOMETRY_TOLERANCE_MM:
            return True
    return False


def _world_corners(volume: slicer.vtkMRMLVolumeNode, indices: np.ndarray) -> np.ndarray:
    """(N, 3) positions in the node's own frame of (N, 3) voxel indices."""
    return (ijk_to_ras(volume) @ np.column_stack([indices, np.ones(len(indices))]).T).T[:, :3]


def to_world(node: slicer.vtkMRMLTransformableNode, point_ras: np.ndarray) -> np.ndarray:
    """(3,) point of a node's own frame in world RAS millimetres, through its parent transforms."""
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld([float(value) for value in point_ras], world)
    return np.array(world)

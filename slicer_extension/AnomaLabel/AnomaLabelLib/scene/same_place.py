"""Voxels of one volume in the index order of another one that has the same grid."""

from __future__ import annotations

import numpy as np
import slicer

from ..errors import SceneError
from ..translation import _
from .geometry import ijk_to_ras, same_grid


def in_order_of(grid: slicer.vtkMRMLVolumeNode, volume: slicer.vtkMRMLVolumeNode, values: np.ndarray) -> np.ndarray:
    """Values of a volume, (Z, Y, X), as a view whose axes are counted from the same ends as those of `grid`.

    Readers differ in the end from which they count the slices of a left-handed file, see `same_grid`.

    Raises:
        SceneError: the voxels of the two lie at different places.
    """
    if not same_grid(grid, volume):
        raise SceneError(
            _("'{first}' and '{other}' lie on different grids.").format(first=grid.GetName(), other=volume.GetName()),
            _("Use results of one image that was not resampled."),
        )
    steps = np.linalg.inv(ijk_to_ras(grid)) @ ijk_to_ras(volume)
    backwards = np.diagonal(steps)[:3] < 0
    return values[tuple(slice(None, None, -1) if backwards[2 - axis] else slice(None) for axis in range(3))]

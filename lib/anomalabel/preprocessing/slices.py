"""2-D slices out of a volume, turned as a radiologist looks at them, and back into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from nibabel.orientations import io_orientation

from anomalabel.config import Planes
from anomalabel.volume import Matrix, Volume

Plane = Literal["axial", "coronal", "sagittal", "image"]

PLANE_OF_NORMAL: dict[int, Plane] = {0: "sagittal", 1: "coronal", 2: "axial"}
"""World axis (0 right, 1 anterior, 2 superior) that a plane is perpendicular to."""

ROW_AND_COLUMN: dict[Plane, tuple[int, int]] = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}
"""World axes that run down the rows and along the columns; both decrease: to posterior or inferior, to left."""

THICK_SLICE_RATIO = 1.2
"""From this ratio of spacings on, the widest spacing tells the acquisition axis."""


@dataclass(frozen=True)
class SlicePosition:
    """One slice: `axis` is the array axis (0 = Z, 1 = Y, 2 = X) it is perpendicular to, `index` its place there."""

    axis: int
    index: int
    plane: Plane


def acquisition_axis(volume: Volume) -> int:
    """The array axis along which the slices were acquired.

    A single slice's is its axis of length 1; else the axis with clearly the widest spacing; else the file's own slice
    axis 0, which for DICOM is the acquisition plane.
    """
    single = [axis for axis, length in enumerate(volume.shape) if length == 1]
    if single:
        return single[0]
    spacing_mm = volume.spacing_mm[::-1]
    widest = int(np.argmax(spacing_mm))
    others = max(spacing for axis, spacing in enumerate(spacing_mm) if axis != widest)
    return widest if spacing_mm[widest] > THICK_SLICE_RATIO * others else 0


def slice_positions(
    volume: Volume, planes: Planes, seen: np.ndarray, minimum_slice_fraction: float
) -> tuple[SlicePosition, ...]:
    """The slices to look at, in order along each axis.

    Args:
        planes: "acquisition" for one stack, "all" for three; an image of one slice has one stack.
        seen: (Z, Y, X) bool.
        minimum_slice_fraction: slices of which a smaller share is seen are left out, [0, 1).

    Returns:
        At least one position wherever anything is seen.
    """
    flat = any(length == 1 for length in volume.shape)
    axes = (acquisition_axis(volume),) if planes == "acquisition" or flat else (0, 1, 2)
    return tuple(position for axis in axes for position in _positions_along(axis, volume, seen, minimum_slice_fraction))


def extract_slice(array: np.ndarray, affine_ras: Matrix, position: SlicePosition) -> np.ndarray:
    """A slice in display orientation, as a view: what is written into it is written into the array.

    Axial: rows run from anterior to posterior; coronal and sagittal: from superior to inferior. Columns run from the
    patient's right to left, in sagittal slices from anterior to posterior. A picture ("image") stays as stored.

    Args:
        array: (Z, Y, X).
        affine_ras: (4, 4); the dominant directions count, so that oblique volumes work.

    Returns:
        (H, W) of the array's type.
    """
    return _display(np.moveaxis(array, position.axis, 0)[position.index], affine_ras, position)


def slice_spacing_mm(affine_ras: Matrix, position: SlicePosition) -> tuple[float, float]:
    """Millimetres between the rows and between the columns of a displayed slice."""
    by_array_axis = np.linalg.norm(affine_ras[:3, :3], axis=0)[::-1]
    remaining = [axis for axis in range(3) if axis != position.axis]
    if _is_transposed(affine_ras, position):
        remaining.reverse()
    return float(by_array_axis[remaining[0]]), float(by_array_axis[remaining[1]])


def _positions_along(axis: int, volume: Volume, seen: np.ndarray, minimum_slice_fraction: float) -> list[SlicePosition]:
    plane: Plane = "image" if volume.spatial_dims == 2 else PLANE_OF_NORMAL[_world_axes(volume.affine_ras)[axis][0]]
    fractions = seen.mean(axis=tuple(other for other in range(3) if other != axis))
    kept = np.flatnonzero((fractions >= minimum_slice_fraction) & (fractions > 0))
    if kept.size == 0 and fractions.any():
        kept = np.array([np.argmax(fractions)])
    return [SlicePosition(axis, int(index), plane) for index in kept]


def _world_axes(affine_ras: Matrix) -> tuple[tuple[int, int], ...]:
    """For each array axis the world axis it follows most (each taken once) and its sign."""
    return _followed_axes(np.ascontiguousarray(affine_ras, dtype=np.float64).tobytes())


@lru_cache(maxsize=64)
def _followed_axes(affine_bytes: bytes) -> tuple[tuple[int, int], ...]:
    """Asked a dozen times for each slice, and slow to tell: it takes a singular value decomposition."""
    followed = io_orientation(np.frombuffer(affine_bytes).reshape(4, 4))[::-1]
    return tuple((int(world_axis), int(sign)) for world_axis, sign in followed)


def _is_transposed(affine_ras: Matrix, position: SlicePosition) -> bool:
    """Whether the slice's rows run along its second array axis."""
    if position.plane == "image":
        return False
    world_axes = [axis for index, (axis, _) in enumerate(_world_axes(affine_ras)) if index != position.axis]
    return world_axes[0] != ROW_AND_COLUMN[position.plane][0]


def _display(stored: np.ndarray, affine_ras: Matrix, position: SlicePosition) -> np.ndarray:
    """A view of the (n, m) stored slice in display orientation."""
    if position.plane == "image":
        return stored
    signs = [sign for index, (_, sign) in enumerate(_world_axes(affine_ras)) if index != position.axis]
    flipped = stored[tuple(slice(None, None, -1) if sign > 0 else slice(None) for sign in signs)]
    return flipped.T if _is_transposed(affine_ras, position) else flipped

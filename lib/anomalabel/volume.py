"""The image type that every part of the library speaks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from anomalabel.errors import ImageReadError

FloatArray = NDArray[np.float32]
Matrix = NDArray[np.float64]

LPS_FROM_RAS: Matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Flips the first two world axes; its own inverse."""

RELATIVE_SINGULAR_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Volume:
    """A scalar image with its place in the world; valid once constructed.

    Args:
        array: (Z, Y, X) float32 in the source's own units (after rescale slope and intercept);
            a 2-D image has Z = 1; voxels that hold no number are NaN.
        affine_ras: (4, 4) float64, takes the homogeneous index (i, j, k, 1) = (X, Y, Z, 1) to RAS millimetres.
        modality: DICOM's code ("MR", "CT", "US", "DX", ...), or "" where the file does not say.
        source: what the reader was given, for messages and reports.
        spacing_known: False where the file tells no spacing and 1 mm stands in.
        nonfinite_voxels: how many voxels of the source were NaN or infinite; all of them are NaN in `array`.
        spatial_dims: 2 for a picture or a single X-ray, 3 for a volume.

    Raises:
        ImageReadError: no voxel, not three axes, or an affine that has no inverse.
    """

    array: FloatArray
    affine_ras: Matrix
    modality: str = ""
    source: str = ""
    spacing_known: bool = True
    spatial_dims: int = 3
    nonfinite_voxels: int = field(init=False)

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32)
        affine = np.asarray(self.affine_ras, dtype=np.float64)
        if array.ndim != 3 or array.size == 0:
            raise ImageReadError(
                f"{self.source or 'The image'} has shape {array.shape}; a volume needs three axes, none of them empty.",
                "Give a 2-D image or a single 3-D volume.",
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or _is_singular(affine[:3, :3]):
            raise ImageReadError(
                f"{self.source or 'The image'} has a geometry that cannot be inverted: {affine.tolist()}.",
                "Export the image again with its spacing and orientation.",
            )
        seen = np.isfinite(array)
        missing = int(array.size - np.count_nonzero(seen))
        if missing and np.isinf(array).any():
            array = np.where(seen, array, np.float32(np.nan))
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "affine_ras", affine)
        object.__setattr__(self, "nonfinite_voxels", missing)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        z, y, x = self.array.shape
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (i, j, k), millimetres."""
        i, j, k = np.linalg.norm(self.affine_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, cubic millimetres; exact on sheared affines too."""
        return float(abs(np.linalg.det(self.affine_ras[:3, :3])))

    @property
    def affine_lps(self) -> Matrix:
        """(4, 4) float64, index (i, j, k, 1) to LPS millimetres, as DICOM and SimpleITK count."""
        return LPS_FROM_RAS @ self.affine_ras


def _is_singular(directions: Matrix) -> bool:
    """Whether three axes span no volume, judged independently of their lengths."""
    lengths = np.linalg.norm(directions, axis=0)
    if not (lengths > 0).all():
        return True
    return bool(abs(np.linalg.det(directions / lengths)) < RELATIVE_SINGULAR_TOLERANCE)

"""Where the voxels of an image lie, read without its voxels where the format allows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import nrrd
import numpy as np

from anomalabel.errors import ImageReadError
from anomalabel.io import nifti
from anomalabel.io import nrrd as nrrd_reader
from anomalabel.io.damage import parsing
from anomalabel.io.read import read_volume
from anomalabel.volume import Matrix, Volume

TOLERANCE_VOXELS = 0.1


@dataclass(frozen=True)
class Grid:
    """The voxels of an image without what they hold.

    Args:
        shape: (Z, Y, X); a 2-D image has Z = 1.
        affine_ras: (4, 4) index (i, j, k, 1) to RAS millimetres.
        spacing_known: False where the file tells no spacing and 1 mm stands in.
    """

    shape: tuple[int, int, int]
    affine_ras: Matrix
    spacing_known: bool = True

    @property
    def corners_ras(self) -> Matrix:
        """(8, 3) RAS millimetres of the centres of the corner voxels."""
        ends = [(0, length - 1) for length in self.shape[::-1]]
        indices = np.array([(*index, 1) for index in product(*ends)], dtype=np.float64)
        return np.asarray((indices @ self.affine_ras.T)[:, :3])

    def holds(self, other: Grid) -> bool:
        """Whether another grid is this one: as many voxels along each axis, and every corner at most a tenth of a
        voxel away. Where this image tells no spacing, the number of voxels alone decides."""
        if self.shape != other.shape:
            return False
        if not self.spacing_known:
            return True
        smallest_mm = float(np.linalg.norm(self.affine_ras[:3, :3], axis=0).min())
        apart_mm = np.linalg.norm(self.corners_ras - other.corners_ras, axis=1).max()
        return bool(apart_mm <= TOLERANCE_VOXELS * smallest_mm)


def grid_of(volume: Volume) -> Grid:
    """The grid of a volume that was read."""
    return Grid(volume.shape, volume.affine_ras, volume.spacing_known)


def read_grid(path: Path) -> Grid:
    """The grid of an image: of NRRD and NIfTI by the header alone, which says nothing about whether the voxels are
    whole; of any other format by reading the image.

    Args:
        path: as `read_volume` takes it.

    Raises:
        ImageReadError: as `read_volume`.
    """
    by_header = next((read for suffixes, read in HEADER_READERS if path.name.lower().endswith(suffixes)), None)
    if by_header is not None:
        # Whatever its name says, the content decides in the end, as it does where the image itself is read.
        with suppress(ImageReadError, OSError):
            return by_header(path)
    return grid_of(read_volume(path))


def _nrrd_grid(path: Path) -> Grid:
    with path.open("rb") as stream, parsing(path):
        header = nrrd.read_header(stream)
    with parsing(path):
        spatial = nrrd_reader._spatial_axes(header, path)
        affine, spacing_known = nrrd_reader._affine(header, spatial)
        x, y, z = (*(int(header["sizes"][axis]) for axis in spatial), 1)[:3]
    return Grid((z, y, x), affine, spacing_known)


def _nifti_grid(path: Path) -> Grid:
    with nifti._opened(path) as stream:
        header, version = nifti._header(stream, path)
    x, y, z = nifti._shape(header, path)
    affine, spacing_known = nifti._affine(header, version)
    return Grid((z, y, x), affine, spacing_known)


HEADER_READERS: tuple[tuple[tuple[str, ...], Callable[[Path], Grid]], ...] = (
    ((".nrrd", ".nhdr"), _nrrd_grid),
    ((".nii", ".nii.gz"), _nifti_grid),
)
"""By the ends of file names."""

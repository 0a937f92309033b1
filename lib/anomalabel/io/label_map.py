"""Label maps: a whole number for each voxel, 0 for nothing and 1, 2, ... for what was marked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anomalabel.errors import ImageReadError
from anomalabel.io.grid import Grid, grid_of
from anomalabel.io.read import read_volume
from anomalabel.io.write import _write_nrrd
from anomalabel.volume import Matrix

LabelArray = NDArray[np.uint8] | NDArray[np.int16]
LARGEST_BYTE = int(np.iinfo(np.uint8).max)
LARGEST_LABEL = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class LabelMap:
    """Labels and where they lie.

    Args:
        labels: (Z, Y, X), uint8, or int16 where a label is above 255.
        grid: of the file.
    """

    labels: LabelArray
    grid: Grid


def read_label_map(path: Path) -> LabelMap:
    """Read a label map of any format that `read_volume` reads.

    Raises:
        ImageReadError: it cannot be read, or holds something else than whole numbers from 0 to 32767.
    """
    volume = read_volume(path)
    values = volume.array
    if volume.nonfinite_voxels or (values < 0).any() or (values > LARGEST_LABEL).any() or (values % 1 != 0).any():
        raise ImageReadError(
            f"{path} is no label map: it holds other values than whole numbers from 0 to {LARGEST_LABEL}.",
            "Save the mask as uint8 or int16.",
        )
    labels = values.astype(np.int16)
    return LabelMap(labels if labels.max() > LARGEST_BYTE else labels.astype(np.uint8), grid_of(volume))


def write_label_map(path: Path, labels: LabelArray, affine_ras: Matrix) -> None:
    """Write a label map as gzipped NRRD in LPS space, whole or not at all.

    Args:
        path: ends in .nrrd; an existing file is replaced in one step.
        labels: (Z, Y, X), uint8 or int16.
        affine_ras: (4, 4) index (i, j, k) to RAS millimetres.

    Raises:
        OutputError: the folder or file cannot be written.
    """
    _write_nrrd(path, labels, affine_ras)

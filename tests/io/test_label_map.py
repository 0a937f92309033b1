"""Label maps come back as they were written, and nothing else is taken for one."""

from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from anomalabel.errors import ImageReadError
from anomalabel.io.label_map import read_label_map, write_label_map

OBLIQUE = np.array([[-1.5, 0.1, 0, 10], [0.1, 2.0, 0.2, -20], [0, -0.2, 3.0, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.int16), (32767, np.int16)])
def test_labels_come_back_on_their_grid_and_as_small_as_they_fit(
    tmp_path: Path, largest: int, dtype: type[np.generic]
) -> None:
    labels = np.zeros((4, 3, 2), np.int16)
    labels[3, 1, 0], labels[0, 2, 1] = 1, largest
    write_label_map(tmp_path / "a.nrrd", labels, OBLIQUE)
    assert nrrd.read_header(str(tmp_path / "a.nrrd"))["type"] == "int16"
    read = read_label_map(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read.labels, labels)
    assert (read.labels.dtype, read.grid.shape) == (dtype, (4, 3, 2))
    np.testing.assert_allclose(read.grid.affine_ras, OBLIQUE, atol=1e-12)


@pytest.mark.parametrize("value", [-1, 0.5, 32768, np.nan, np.inf])
def test_other_values_are_refused(tmp_path: Path, value: float) -> None:
    voxels = np.zeros((2, 3, 4), np.float32)
    voxels[1, 1, 1] = value
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageReadError, match="whole numbers from 0 to 32767"):
        read_label_map(tmp_path / "a.nii")

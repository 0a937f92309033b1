"""The image type: what it accepts, counts and derives."""

from __future__ import annotations

import numpy as np
import pytest

from anomalabel.errors import ImageReadError
from anomalabel.volume import Volume

OBLIQUE = np.array([[0.48, -0.1176, 0.56, -50], [0.14, 0.4032, -1.92, 20], [0, 0.56, 1.5, 7], [0, 0, 0, 1]])


def test_spacing_and_voxel_volume_of_an_oblique_affine():
    volume = Volume(np.zeros((2, 3, 4)), OBLIQUE)
    np.testing.assert_allclose(volume.spacing_mm, (0.5, 0.7, 2.5), atol=1e-9)
    assert volume.voxel_volume_mm3 == pytest.approx(0.5 * 0.7 * 2.5)
    assert (volume.shape, volume.array.dtype, volume.affine_ras.dtype) == ((2, 3, 4), np.float32, np.float64)


def test_voxel_volume_of_a_sheared_affine_is_smaller_than_the_product_of_spacings():
    sheared = np.array([[1.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    assert Volume(np.zeros((1, 1, 1)), sheared).voxel_volume_mm3 == pytest.approx(2.0)


def test_lps_flips_the_first_two_world_axes():
    np.testing.assert_array_equal(Volume(np.zeros((1, 1, 1)), OBLIQUE).affine_lps, OBLIQUE * [[-1], [-1], [1], [1]])


def test_everything_that_is_no_number_becomes_nan_and_is_counted():
    source = np.array([[[1.0, np.nan], [np.inf, -np.inf]]])
    volume = Volume(source, np.eye(4))
    np.testing.assert_array_equal(volume.array, [[[1, np.nan], [np.nan, np.nan]]])
    assert volume.nonfinite_voxels == 3
    assert np.isinf(source).sum() == 2


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4), (0, 3, 4), ()])
def test_not_three_axes_with_voxels(shape):
    with pytest.raises(ImageReadError, match="three axes"):
        Volume(np.zeros(shape), np.eye(4), source="a.nii")


@pytest.mark.parametrize(
    "affine",
    [
        np.eye(3),
        np.diag([1.0, 1, 0, 1]),
        np.diag([1.0, np.nan, 1, 1]),
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    ],
)
def test_geometry_without_inverse(affine):
    with pytest.raises(ImageReadError, match=r"a\.nii has a geometry"):
        Volume(np.zeros((1, 2, 3)), affine, source="a.nii")


def test_tiny_spacing_is_a_geometry():
    assert Volume(np.zeros((1, 2, 3)), np.diag([1e-4, 1e-4, 1e-4, 1])).voxel_volume_mm3 == pytest.approx(1e-12)

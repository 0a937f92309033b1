"""Slices in display orientation, and back."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from anomalabel.preprocessing.slices import (
    SlicePosition,
    acquisition_axis,
    extract_slice,
    slice_positions,
    slice_spacing_mm,
)
from anomalabel.volume import Volume

SIGNED_PERMUTATIONS = [
    np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((-1.0, 1.0), repeat=3)
]
WORLD_AXES_BY_PLANE = {"axial": (1, 0), "coronal": (2, 0), "sagittal": (2, 1)}


def affine_of(directions: np.ndarray, spacing_mm=(1.0, 1.0, 1.0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing_mm)
    affine[:3, 3] = (-10, 20, 30)
    return affine


def world_volume(affine: np.ndarray, shape=(5, 6, 7)) -> dict[int, Volume]:
    """Three volumes whose values are the voxel's R, A and S coordinate."""
    k, j, i = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    coordinates = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ affine.T
    return {axis: Volume(coordinates[..., axis], affine) for axis in range(3)}


@pytest.mark.parametrize("directions", SIGNED_PERMUTATIONS)
def test_rows_and_columns_run_as_a_radiologist_expects(directions):
    volumes = world_volume(affine_of(directions))
    seen = np.ones((5, 6, 7), bool)
    positions = slice_positions(volumes[0], "all", seen, 0.0)
    assert len(positions) == 5 + 6 + 7
    assert {position.plane for position in positions} == {"axial", "coronal", "sagittal"}
    for position in positions:
        down, along = WORLD_AXES_BY_PLANE[position.plane]
        rows = extract_slice(volumes[down].array, volumes[down].affine_ras, position)
        columns = extract_slice(volumes[along].array, volumes[along].affine_ras, position)
        assert (np.diff(rows, axis=0) == -1).all()
        assert (np.diff(columns, axis=1) == -1).all()
        assert (np.diff(rows, axis=1) == 0).all()


def test_marked_corners():
    """A cube whose voxels nearest to right, anterior and superior are marked, stored as left-posterior-superior."""
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 0], array[1, 0, 1], array[2, 1, 1] = 1, 2, 3
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    axial = extract_slice(array, affine, SlicePosition(0, 1, "axial"))
    coronal = extract_slice(array, affine, SlicePosition(1, 1, "coronal"))
    sagittal = extract_slice(array, affine, SlicePosition(2, 1, "sagittal"))
    np.testing.assert_array_equal(axial, [[0, 2, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(coronal, [[0, 3, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(sagittal, [[0, 3, 0], [2, 0, 0], [0, 0, 0]])


def test_picture_stays_as_stored():
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    volume = Volume(array, np.diag([-1.0, -1, 1, 1]), spatial_dims=2)
    (position,) = slice_positions(volume, "all", np.ones(array.shape, bool), 0.0)
    assert position == SlicePosition(0, 0, "image")
    np.testing.assert_array_equal(extract_slice(array, volume.affine_ras, position), array[0])
    assert slice_spacing_mm(np.diag([0.5, 0.75, 1, 1]), position) == (0.75, 0.5)


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    mirrored=st.booleans(),
    spacing=st.tuples(*[st.floats(0.2, 6)] * 3),
    shape=st.tuples(*[st.integers(2, 6)] * 3),
)
def test_insert_is_the_inverse_of_extract_on_any_affine(angles, mirrored, spacing, shape):
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * (-1 if mirrored else 1)
    affine = affine_of(directions, spacing)
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    positions = slice_positions(Volume(array, affine), "all", np.ones(shape, bool), 0.0)
    assert {position.plane for position in positions} == {"axial", "coronal", "sagittal"}
    for axis in range(3):
        target = np.full(shape, np.nan, np.float32)
        for position in (position for position in positions if position.axis == axis):
            extract_slice(target, affine, position)[...] = extract_slice(array, affine, position).copy()
        np.testing.assert_array_equal(target, array)


def test_spacing_follows_the_displayed_rows_and_columns():
    # i runs superior to inferior at 3 mm, j right to left at 0.5 mm, k posterior to anterior at 2 mm.
    directions = np.array([[0, -1.0, 0], [0, 0, 1.0], [-1.0, 0, 0]])
    affine = affine_of(directions, (3.0, 0.5, 2.0))
    assert slice_spacing_mm(affine, SlicePosition(0, 0, "coronal")) == (3.0, 0.5)
    assert slice_spacing_mm(affine, SlicePosition(1, 0, "sagittal")) == (3.0, 2.0)
    assert slice_spacing_mm(affine, SlicePosition(2, 0, "axial")) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("spacing", "shape", "axis"),
    [
        ((1, 1, 1), (9, 9, 9), 0),
        ((1, 1, 5), (9, 9, 9), 0),
        ((1, 5, 1), (9, 9, 9), 1),
        ((5, 1, 1), (9, 9, 9), 2),
        ((1.15, 1, 1), (9, 9, 9), 0),
        ((0.5, 0.5, 3), (9, 1, 9), 1),
    ],
)
def test_acquisition_axis(spacing, shape, axis):
    assert acquisition_axis(Volume(np.zeros(shape), np.diag([*map(float, spacing), 1.0]))) == axis


def test_sagittal_series_gives_sagittal_slices():
    # A sagittal DICOM series: i runs to posterior, j to inferior, k to the left.
    directions = np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, -1.0, 0]])
    volume = Volume(np.zeros((3, 8, 8)), affine_of(directions, (1, 1, 4.0)))
    positions = slice_positions(volume, "acquisition", np.ones((3, 8, 8), bool), 0.0)
    assert positions == tuple(SlicePosition(0, index, "sagittal") for index in range(3))


def test_slices_with_little_body_are_left_out_but_never_all():
    volume = Volume(np.zeros((4, 10, 10)), np.diag([1.0, 1, 3, 1]))
    seen = np.zeros((4, 10, 10), bool)
    seen[1, :5], seen[2, 0, :3] = True, True
    assert [position.index for position in slice_positions(volume, "acquisition", seen, 0.03)] == [1, 2]
    assert [position.index for position in slice_positions(volume, "acquisition", seen, 0.04)] == [1]
    assert [position.index for position in slice_positions(volume, "acquisition", seen, 0.9)] == [1]
    assert slice_positions(volume, "all", np.zeros_like(seen), 0.0) == ()

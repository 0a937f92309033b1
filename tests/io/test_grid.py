"""The grid of an image is the one its voxels are read on, and needs no voxels where the format allows."""

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from anomalabel.errors import ImageReadError
from anomalabel.io import grid as grid_module
from anomalabel.io.grid import Grid, read_grid
from anomalabel.io.read import read_volume
from anomalabel.io.write import write_heatmap

OBLIQUE = np.array([[-1.5, 0.1, 0, 10], [0.1, 2.0, 0.2, -20], [0, -0.2, 3.0, 5], [0, 0, 0, 1]])
VOXELS = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)


def oblique_nifti(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(VOXELS, OBLIQUE), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def flat_nifti(folder: Path) -> Path:
    image = nibabel.Nifti2Image(VOXELS[..., 0], OBLIQUE)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, folder / "a.nii")
    return folder / "a.nii"


def oblique_nrrd(folder: Path) -> Path:
    write_heatmap(folder / "a.nrrd", VOXELS, OBLIQUE)
    return folder / "a.nrrd"


def colour_nrrd(folder: Path) -> Path:
    header = {"kinds": ["RGB-color", "domain", "domain"], "spacings": [np.nan, 0.5, 0.25]}
    nrrd.write(str(folder / "a.nrrd"), np.zeros((3, 4, 5), np.uint8), header)
    return folder / "a.nrrd"


BY_HEADER = (oblique_nifti, flat_nifti, oblique_nrrd, colour_nrrd)


def picture(folder: Path) -> Path:
    Image.fromarray(np.zeros((4, 9), np.uint8)).save(folder / "a.png")
    return folder / "a.png"


def dicom_file(folder: Path) -> Path:
    return Path(get_testdata_file("CT_small.dcm"))


def misnamed(folder: Path) -> Path:
    return oblique_nrrd(folder).rename(folder / "a.nii.gz")


@pytest.mark.parametrize("made", [*BY_HEADER, picture, dicom_file, misnamed], ids=lambda made: made.__name__)
def test_the_grid_is_that_of_the_volume(tmp_path: Path, made: Any) -> None:
    path = made(tmp_path)
    grid, volume = read_grid(path), read_volume(path)
    assert grid.shape == volume.shape
    np.testing.assert_array_equal(grid.affine_ras, volume.affine_ras)
    assert grid.spacing_known == volume.spacing_known


@pytest.mark.parametrize("made", BY_HEADER, ids=lambda made: made.__name__)
def test_no_voxel_is_read_where_the_header_is_enough(
    tmp_path: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path)
    shape = read_volume(path).shape

    def read(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(grid_module, "read_volume", read)
    assert read_grid(path).shape == shape


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.png"])
def test_what_cannot_be_read_has_no_grid(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageReadError, match="does not exist"):
        read_grid(tmp_path / name)
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ImageReadError):
        read_grid(tmp_path / name)


def moved(by_mm: float) -> Grid:
    affine = OBLIQUE.copy()
    affine[0, 3] += by_mm
    return Grid((7, 6, 5), affine)


def test_a_grid_holds_another_within_a_tenth_of_a_voxel() -> None:
    # The shortest axis is i: |(-1.5, 0.1, 0)| = 1.5033 mm.
    assert moved(0).holds(moved(0.150))
    assert not moved(0).holds(moved(0.151))
    assert not moved(0).holds(Grid((5, 6, 7), OBLIQUE))
    flipped = OBLIQUE @ np.diag([-1, 1, 1, 1])
    assert not moved(0).holds(Grid((7, 6, 5), flipped))


def test_a_single_slice_is_held_whatever_its_thickness() -> None:
    thick = OBLIQUE @ np.diag([1, 1, 5, 1])
    assert Grid((1, 6, 5), OBLIQUE).holds(Grid((1, 6, 5), thick))
    assert not Grid((2, 6, 5), OBLIQUE).holds(Grid((2, 6, 5), thick))


def test_where_no_spacing_is_known_the_number_of_voxels_decides() -> None:
    assert Grid((1, 6, 5), np.eye(4), spacing_known=False).holds(Grid((1, 6, 5), OBLIQUE))
    assert not Grid((1, 6, 5), np.eye(4), spacing_known=False).holds(Grid((1, 5, 6), np.eye(4)))


def test_corners_are_the_centres_of_the_outermost_voxels() -> None:
    corners = Grid((2, 1, 3), np.diag([1.0, 2.0, 3.0, 1.0])).corners_ras
    assert sorted(set(map(tuple, corners.tolist()))) == [(0, 0, 0), (0, 0, 3), (2, 0, 0), (2, 0, 3)]


def test_a_header_that_ends_early_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\ntype: uint8\n")
    with pytest.raises(ImageReadError, match="truncated or corrupt"):
        read_grid(tmp_path / "a.nrrd")

"""NRRD against SimpleITK and pynrrd, and what must be refused."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest
import SimpleITK

from anomalabel.errors import ImageReadError
from anomalabel.io.read import read_volume

VALUES = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
DIRECTIONS = np.array([[0.48, 0.14, 0.0], [-0.1176, 0.4032, -0.56], [-0.56, 1.92, 1.5]])


def saved(path, array=VALUES, index_order="C", **header):
    fields = {"space": "LPS", "space directions": DIRECTIONS, "space origin": [-3.0, 4.5, 9.0], **header}
    nrrd.write(str(path), array, {k: v for k, v in fields.items() if v is not None}, index_order=index_order)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "ascii"])
def test_encodings(tmp_path, encoding):
    volume = read_volume(saved(tmp_path / "a.nrrd", np.round(VALUES, 3), encoding=encoding))
    np.testing.assert_array_equal(volume.array, np.round(VALUES, 3))
    np.testing.assert_allclose(volume.affine_lps[:3, :3], DIRECTIONS.T)


@pytest.mark.parametrize(
    "space", ["left-posterior-superior", "LPS", "RAS", "right-anterior-superior", "LAS", "scanner-xyz"]
)
def test_affine_agrees_with_simpleitk(tmp_path, space, itk_affine_lps):
    path = saved(tmp_path / "a.nrrd", space=space)
    volume, image = read_volume(path), SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)
    np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayFromImage(image))
    assert volume.spacing_known
    assert volume.spatial_dims == 3


def test_written_by_simpleitk(tmp_path, itk_affine_lps):
    image = SimpleITK.GetImageFromArray((VALUES * 100).astype(np.int16))
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetDirection((0.96, -0.168, 0.224, 0.28, 0.576, -0.768, 0.0, 0.8, 0.6))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"), useCompression=True)
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)
    np.testing.assert_array_equal(volume.array, (VALUES * 100).astype(np.int16))


def test_plane_agrees_with_simpleitk(tmp_path, itk_affine_lps):
    image = SimpleITK.GetImageFromArray(VALUES[0])
    image.SetSpacing((0.5, 0.75))
    image.SetOrigin((3.0, -2.0))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    assert (volume.shape, volume.spatial_dims) == ((1, 5, 6), 2)
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)


def test_spacings_without_space(tmp_path):
    plain = {"space": None, "space directions": None, "space origin": None}
    volume = read_volume(saved(tmp_path / "a.nrrd", spacings=[0.5, 0.75, 2.0], **plain))
    np.testing.assert_allclose(volume.affine_lps, np.diag([0.5, 0.75, 2, 1]))
    assert volume.spacing_known
    assert not read_volume(saved(tmp_path / "b.nrrd", **plain)).spacing_known


def test_colour_axis_becomes_luminance(tmp_path):
    colour = np.zeros((4, 5, 6, 3), np.uint8)
    colour[1, 2, 3] = (100, 0, 0)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    assert volume.shape == (4, 5, 6)
    assert volume.array[1, 2, 3] == pytest.approx(29.9)
    assert np.count_nonzero(volume.array) == 1


def test_time_axis_is_refused(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((2, 4, 5, 6)), {"kinds": ["domain"] * 3 + ["list"]}, index_order="C")
    with pytest.raises(ImageReadError, match="two or three spatial axes"):
        read_volume(tmp_path / "a.nrrd")


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_detached_header(tmp_path, encoding):
    saved(tmp_path / "a.nhdr", encoding=encoding)
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nhdr").array, VALUES)


def test_detached_header_may_not_reach_other_folders(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.raw").write_bytes(VALUES.tobytes())
    header = saved(tmp_path / "inside" / "a.nhdr", encoding="raw")
    header.write_text(header.read_text().replace("data file: a.raw", "data file: ../secret.raw"))
    assert "../secret.raw" in header.read_text()
    with pytest.raises(ImageReadError, match="outside its own folder"):
        read_volume(header)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("kept_share", [0.02, 0.3, 0.7, 0.97])
def test_truncated(tmp_path, encoding, kept_share):
    path = saved(tmp_path / "a.nrrd", encoding=encoding)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept_share)])
    with pytest.raises(ImageReadError):
        read_volume(path)


def test_lost_checksum(tmp_path):
    path = saved(tmp_path / "a.nrrd", encoding="gzip")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ImageReadError, match="truncated or corrupt"):
        read_volume(path)


def test_header_that_claims_more_than_memory(tmp_path):
    path = saved(tmp_path / "a.nrrd", encoding="raw")
    path.write_bytes(path.read_bytes().replace(b"sizes: 6 5 4", b"sizes: 60000 50000 40000"))
    with pytest.raises(ImageReadError, match="claims 120,000,000,000,000 voxels"):
        read_volume(path)


def test_no_voxel(tmp_path):
    path = saved(tmp_path / "a.nrrd", encoding="raw")
    path.write_bytes(path.read_bytes().replace(b"sizes: 6 5 4", b"sizes: 6 0 4"))
    with pytest.raises(ImageReadError, match=r"\[6, 0, 4\]"):
        read_volume(path)

"""NIfTI against nibabel and SimpleITK, and what must be refused."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK

from anomalabel.errors import ImageReadError
from anomalabel.io.read import read_volume

OBLIQUE = np.array([[0.8, -0.36, 0.3, -12.5], [0.6, 0.48, -0.4, 30.25], [0, 0.8, 1.5, 7], [0, 0, 0, 1]])
VALUES = np.random.default_rng(1).integers(-900, 900, (6, 5, 4)).astype(np.int16)


def saved(path, array, affine=OBLIQUE, kind=nibabel.Nifti1Image, **header):
    image = kind(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_agrees_with_nibabel(tmp_path, name, kind):
    path = saved(tmp_path / name, VALUES, kind=kind)
    volume, image = read_volume(path), nibabel.load(path)
    np.testing.assert_allclose(volume.affine_ras, image.affine, atol=1e-5)
    np.testing.assert_array_equal(volume.array, image.get_fdata().T)
    assert (volume.modality, volume.spacing_known, volume.spatial_dims) == ("", True, 3)


def test_agrees_with_simpleitk(tmp_path, itk_affine_lps):
    turned = SimpleITK.GetImageFromArray(VALUES)
    turned.SetSpacing((0.5, 0.75, 2.0))
    turned.SetOrigin((-3.0, 4.5, 9.0))
    turned.SetDirection((0.96, -0.168, 0.224, 0.28, 0.576, -0.768, 0.0, 0.8, 0.6))
    SimpleITK.WriteImage(turned, str(tmp_path / "a.nii.gz"))
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(turned), atol=1e-5)
    np.testing.assert_array_equal(volume.array, VALUES)


def test_real_volume_agrees_with_nibabel_and_simpleitk(shared_data, itk_affine_lps):
    path = shared_data / "open_ms" / "patient19" / "flair.nii.gz"
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine_ras, nibabel.load(path).affine, atol=1e-5)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)
    np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayFromImage(image))


def test_slope_and_intercept(tmp_path):
    image = nibabel.Nifti1Image(VALUES.astype(np.float64) * 0.25 + 3, OBLIQUE)
    image.header.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    assert nibabel.load(tmp_path / "a.nii").dataobj.slope != 1
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array, (VALUES * 0.25 + 3).T, atol=0.01)


def test_big_endian(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nibabel.save(nibabel.Nifti1Image(VALUES, OBLIQUE, header), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, VALUES.T)


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
def test_pair_of_files(tmp_path, suffix):
    nibabel.save(nibabel.Nifti1Pair(VALUES, OBLIQUE), tmp_path / "a.img")
    volume = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.array, VALUES.T)
    np.testing.assert_allclose(volume.affine_ras, OBLIQUE, atol=1e-5)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 1e-3), ("meter", 1e3), ("unknown", 1)])
def test_units_become_millimetres(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").affine_ras[:3], OBLIQUE[:3] * factor, rtol=1e-6)


@pytest.mark.parametrize(("pixdim", "known"), [((1, 1, 1), False), ((0, 0, 0), False), ((1, 2, 1), True)])
def test_spacing_is_unknown_without_codes_and_sizes(tmp_path, pixdim, known):
    image = nibabel.Nifti1Image(VALUES, None)
    image.header["pixdim"][1:4] = pixdim
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing_known is known
    assert volume.spacing_mm == tuple(max(length, 1) for length in pixdim)


def test_trailing_axis_of_length_one_is_dropped(tmp_path):
    volume = read_volume(saved(tmp_path / "a.nii", VALUES[..., np.newaxis, np.newaxis]))
    np.testing.assert_array_equal(volume.array, VALUES.T)


def test_plane_is_a_picture(tmp_path):
    volume = read_volume(saved(tmp_path / "a.nii", VALUES[:, :, 0]))
    assert (volume.shape, volume.spatial_dims) == ((1, 5, 6), 2)


def test_colour_becomes_luminance(tmp_path):
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["R"][0, 1, 0], colour["G"][1, 1, 1] = 100, 200
    volume = read_volume(saved(tmp_path / "a.nii", colour))
    assert volume.array[0, 1, 0] == pytest.approx(29.9)
    assert volume.array[1, 1, 1] == pytest.approx(117.4)


def test_not_a_number_and_infinity_are_counted(tmp_path):
    values = VALUES.astype(np.float32)
    values[0, 0, 0], values[1, 2, 3], values[2, 2, 2] = np.nan, np.inf, -np.inf
    volume = read_volume(saved(tmp_path / "a.nii.gz", values))
    assert volume.nonfinite_voxels == 3
    assert np.isnan(volume.array[[0, 3, 2], [0, 2, 2], [0, 1, 2]]).all()


@pytest.mark.parametrize("kept_share", [0.01, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated(tmp_path, name, kept_share):
    path = saved(tmp_path / name, np.random.default_rng(2).integers(0, 999, (20, 20, 20)).astype(np.int16))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept_share)])
    with pytest.raises(ImageReadError):
        read_volume(path)


def test_lost_checksum(tmp_path):
    path = saved(tmp_path / "a.nii.gz", VALUES)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ImageReadError, match="truncated"):
        read_volume(path)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_flipped_bit_in_a_compressed_file(tmp_path, place):
    path = saved(tmp_path / "a.nii.gz", np.random.default_rng(3).normal(size=(20, 20, 20)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match="truncated or corrupt"):
        read_volume(path)


def test_text_named_nifti(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).write_text("this is no image\n" * 100)
        with pytest.raises(ImageReadError, match="known contents"):
            read_volume(tmp_path / name)


def test_compressed_text_named_nifti(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"this is no image\n" * 100))
    with pytest.raises(ImageReadError, match="known contents"):
        read_volume(tmp_path / "a.nii.gz")


def test_four_axes_name_the_shape(tmp_path):
    with pytest.raises(ImageReadError, match=r"\(6, 5, 2, 2\)"):
        read_volume(saved(tmp_path / "a.nii", VALUES.reshape(6, 5, 2, 2)))


def changed_header(path, **fields):
    content = bytearray(path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    for key, value in fields.items():
        header[key] = value
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("dim", [[3, 0, 5, 4, 1, 1, 1, 1], [3, 6, -5, 4, 1, 1, 1, 1]])
def test_no_voxel(tmp_path, dim):
    with pytest.raises(ImageReadError, match="holds no voxel"):
        read_volume(changed_header(saved(tmp_path / "a.nii", VALUES), dim=dim))


def test_header_that_claims_more_than_memory(tmp_path):
    path = changed_header(saved(tmp_path / "a.nii", VALUES), dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    with pytest.raises(ImageReadError, match="claims 27,000,000,000,000 voxels"):
        read_volume(path)


def test_header_that_claims_more_than_the_file(tmp_path):
    path = changed_header(saved(tmp_path / "a.nii", VALUES), dim=[3, 60, 50, 40, 1, 1, 1, 1])
    with pytest.raises(ImageReadError, match="claims 240,352 bytes and the file has 592"):
        read_volume(path)


def test_complex_voxels(tmp_path):
    with pytest.raises(ImageReadError, match="complex"):
        read_volume(saved(tmp_path / "a.nii", VALUES.astype(np.complex64)))


def test_singular_affine(tmp_path):
    path = changed_header(saved(tmp_path / "a.nii", VALUES), srow_x=[0, 0, 0, 0], sform_code=1)
    with pytest.raises(ImageReadError, match="geometry"):
        read_volume(path)

"""DICOM series, single images and multi-frame objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from anomalabel.errors import ImageReadError
from anomalabel.io.dicom_series import list_series
from anomalabel.io.read import read_volume

STACK = (np.arange(6 * 5 * 4).reshape(6, 5, 4) * 3).astype(np.int16)
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"


def read_with_itk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_series_is_sorted_rescaled_and_placed_as_simpleitk_does(tmp_path, write_series, itk_affine_lps):
    folder = write_series(tmp_path / "series", STACK, RescaleSlope="2", RescaleIntercept="-1000")
    volume = read_volume(folder)
    image = read_with_itk(folder)
    np.testing.assert_array_equal(volume.array, STACK * 2.0 - 1000)
    np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayFromImage(image))
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)
    np.testing.assert_allclose(volume.spacing_mm, (0.5, 0.7, 2.5), atol=1e-6)
    assert (volume.modality, volume.spacing_known, volume.spatial_dims) == ("CT", True, 3)


def test_real_series_agrees_with_simpleitk(shared_data, itk_affine_lps):
    volume = read_volume(shared_data / "dicom_t1")
    image = read_with_itk(shared_data / "dicom_t1")
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(image), atol=1e-5)
    np.testing.assert_array_equal(volume.array, SimpleITK.GetArrayFromImage(image))
    assert volume.modality == "MR"


def test_monochrome1_is_inverted_within_its_stored_bits_before_rescaling(tmp_path, write_dicom):
    pixels = np.array([[0, 1], [4094, 4095]], np.uint16)
    path = write_dicom(
        tmp_path / "m1.dcm",
        pixels,
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
        RescaleSlope="2",
        RescaleIntercept="10",
    )
    np.testing.assert_array_equal(read_volume(path).array[0], [[8200, 8198], [12, 10]])


def test_signed_monochrome1(tmp_path, write_dicom):
    pixels = np.array([[-32768, -1], [0, 32767]], np.int16)
    path = write_dicom(tmp_path / "m1.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_volume(path).array[0], [[32767, 0], [-1, -32768]])


def test_colour_becomes_luminance(tmp_path, write_dicom):
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [100, 100, 100]]], np.uint8)
    volume = read_volume(write_dicom(tmp_path / "colour.dcm", pixels, Modality="US"))
    np.testing.assert_allclose(volume.array[0], [[76.245, 149.685], [29.07, 100]], rtol=1e-5)


def test_xray_takes_the_detector_spacing_and_is_a_picture(tmp_path, write_dicom, itk_affine_lps):
    path = write_dicom(
        tmp_path / "dx.dcm",
        np.arange(12, dtype=np.uint16).reshape(3, 4),
        SOPClassUID=DIGITAL_XRAY,
        Modality="DX",
        ImagerPixelSpacing=[0.2, 0.1],
        PixelSpacing=[0.4, 0.2],
    )
    volume = read_volume(path)
    assert (volume.spatial_dims, volume.spacing_known, volume.modality) == (2, True, "DX")
    np.testing.assert_allclose(volume.affine_ras, np.diag([-0.1, -0.2, 1, 1]))
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(SimpleITK.ReadImage(str(path))), atol=1e-5)


@pytest.mark.parametrize(("second_delta_cm", "known"), [(0.02, True), (0.05, False)])
def test_ultrasound_spacing_comes_from_its_regions_where_they_agree(tmp_path, write_dicom, second_delta_cm, known):
    regions = []
    for delta_cm in (0.02, second_delta_cm):
        region = Dataset()
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, delta_cm
        regions.append(region)
    pixels = np.zeros((4, 5), np.uint8)
    path = write_dicom(tmp_path / "us.dcm", pixels, Modality="US", SequenceOfUltrasoundRegions=Sequence(regions))
    volume = read_volume(path)
    assert volume.spacing_known is known
    np.testing.assert_allclose(volume.spacing_mm, (0.1, 0.2, 1) if known else (1, 1, 1))


def test_image_without_spacing_says_so(tmp_path, write_dicom):
    volume = read_volume(write_dicom(tmp_path / "sc.dcm", np.eye(3, dtype=np.uint8)))
    assert (volume.spacing_known, volume.spacing_mm) == (False, (1, 1, 1))


def test_single_slice_of_a_series_keeps_its_place(tmp_path, write_series, itk_affine_lps):
    folder = write_series(tmp_path / "series", STACK[:1], SpacingBetweenSlices=2.5)
    path = next(folder.iterdir())
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(SimpleITK.ReadImage(str(path))), atol=1e-5)
    assert volume.spatial_dims == 3
    np.testing.assert_array_equal(read_volume(folder).array, volume.array)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_lossless_compression(tmp_path, compressor):
    pixels = (np.arange(600).reshape(20, 30) * 7).astype(np.uint16)
    path = tmp_path / "compressed.dcm"
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(SimpleITK.GetImageFromArray(pixels[np.newaxis]))
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_volume(path).array[0], pixels)


def enhanced_groups(depths_mm: list[float], **per_frame: float) -> tuple[Sequence, Sequence]:
    def item(**elements) -> Dataset:
        dataset = Dataset()
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        return dataset

    shared = item(
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1])]),
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.7, 0.5], SliceThickness=2)]),
        PixelValueTransformationSequence=Sequence([item(RescaleSlope=3, RescaleIntercept=-7, RescaleType="US")]),
    )
    frames = [item(PlanePositionSequence=Sequence([item(ImagePositionPatient=[10, depth, 30])])) for depth in depths_mm]
    return Sequence([shared]), Sequence(frames)


def test_enhanced_multi_frame(tmp_path, write_dicom):
    shared, frames = enhanced_groups([4.0, 0.0, 2.0])
    path = write_dicom(
        tmp_path / "enhanced.dcm",
        STACK[:3],
        SOPClassUID=ENHANCED_MR,
        Modality="MR",
        SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=frames,
    )
    volume = read_volume(path)
    # The normal of row x and column -z is +y: depth grows with y.
    np.testing.assert_array_equal(volume.array, STACK[[1, 2, 0]] * 3.0 - 7)
    expected_lps = [[0.5, 0, 0, 10], [0, 0, 2, 0], [0, -0.7, 0, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine_lps, expected_lps, atol=1e-9)


def test_enhanced_multi_frame_with_two_frames_at_one_position(tmp_path, write_dicom):
    shared, frames = enhanced_groups([0.0, 2.0, 2.0])
    path = write_dicom(
        tmp_path / "e.dcm",
        STACK[:3],
        SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=frames,
    )
    with pytest.raises(ImageReadError, match=r"frame 2 and frame 3|frame 3 and frame 2"):
        read_volume(path)


def test_plain_multi_frame(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "m.dcm", STACK, PixelSpacing=[0.7, 0.5], SliceThickness=3)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, STACK)
    np.testing.assert_allclose(volume.affine_lps, np.diag([0.5, 0.7, 3, 1]))
    assert volume.spatial_dims == 3


def test_missing_slice_says_where(tmp_path, write_series):
    folder = write_series(tmp_path / "series", STACK, left_out=(3,))
    with pytest.raises(ImageReadError, match=r"5\.000 mm between .* where 2\.500 mm is usual"):
        read_volume(folder)


def test_every_second_slice_is_refused_where_the_spacing_is_stated(tmp_path, write_series):
    folder = write_series(tmp_path / "series", STACK, left_out=(1, 3, 5), SpacingBetweenSlices=2.5)
    with pytest.raises(ImageReadError, match=r"states 2\.500 mm between slices and has 5\.000 mm"):
        read_volume(folder)


def test_stated_gap_between_slice_borders_is_accepted(tmp_path, write_series):
    folder = write_series(tmp_path / "series", STACK, gap_mm=6.0, SliceThickness=5, SpacingBetweenSlices=1)
    assert read_volume(folder).spacing_mm[2] == pytest.approx(6.0, abs=1e-6)


def test_duplicated_position(tmp_path, write_series, write_dicom):
    folder = write_series(tmp_path / "series", STACK)
    copy = pydicom.dcmread(next(folder.iterdir()))
    copy.save_as(folder / "again.dcm")
    with pytest.raises(ImageReadError, match="two slices at one position"):
        read_volume(folder)


def test_several_series_are_listed_and_chosen_from(tmp_path, write_series):
    folder = write_series(tmp_path / "study", STACK, SeriesDescription="thin")
    write_series(folder, STACK[:3] + 1, SeriesInstanceUID="1.2.4", SeriesDescription="thick")
    with pytest.raises(ImageReadError, match=r"1\.2\.3 \(CT, 'thin', 6 images\); 1\.2\.4 \(CT, 'thick', 3 images\)"):
        read_volume(folder)
    np.testing.assert_array_equal(read_volume(folder, "1.2.4").array, STACK[:3] + 1)
    assert [(series.uid, series.images) for series in list_series(folder)] == [("1.2.3", 6), ("1.2.4", 3)]
    with pytest.raises(ImageReadError, match=r"no series 9\.9"):
        read_volume(folder, "9.9")


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "different orientation"),
        ({"Rows": 4}, "mixes images of"),
        ({"ImagePositionPatient": None}, "1 tell no position"),
    ],
)
def test_one_series_uid_over_unlike_slices(tmp_path, write_series, elements, message):
    folder = write_series(tmp_path / "series", STACK)
    changed = sorted(folder.iterdir())[-1]
    dataset = pydicom.dcmread(changed)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(changed)
    with pytest.raises(ImageReadError, match=message):
        read_volume(folder)


def test_reports_and_other_files_beside_a_series_are_left_out(tmp_path, write_series, write_dicom):
    folder = write_series(tmp_path / "series", STACK)
    write_dicom(folder / "report.dcm", STACK[0], Rows=None, Columns=None, PixelData=None, SeriesInstanceUID="1.9")
    (folder / "notes.txt").write_text("nothing")
    np.testing.assert_array_equal(read_volume(folder).array, STACK)


def test_no_pixel_data(tmp_path, write_dicom):
    with pytest.raises(ImageReadError, match="without pixel data"):
        read_volume(write_dicom(tmp_path / "report.dcm", STACK[0], PixelData=None))


@pytest.mark.parametrize("kept_share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_truncated_file(tmp_path, write_dicom, kept_share):
    path = write_dicom(tmp_path / "whole.dcm", np.ones((64, 64), np.int16))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept_share)])
    with pytest.raises(ImageReadError):
        read_volume(path)


def test_header_that_claims_more_than_memory(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "huge.dcm", np.ones((4, 4), np.int16), Rows=65535, Columns=65535, NumberOfFrames=9999)
    with pytest.raises(ImageReadError, match="claims 42,9"):
        read_volume(path)


def test_folder_without_images(tmp_path):
    with pytest.raises(ImageReadError, match="holds no DICOM image"):
        read_volume(tmp_path)

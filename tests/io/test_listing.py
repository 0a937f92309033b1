"""Which files are images, and what lies beside them."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from anomalabel.errors import ConfigError
from anomalabel.io.listing import image_stem, list_images
from anomalabel.io.read import read_volume


def picture(path, value=0, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)
    return path


def dicom_slice(path, series, z_mm=None, modality="CT"):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    header.Rows, header.Columns, header.BitsAllocated, header.BitsStored, header.HighBit = 4, 4, 16, 16, 15
    header.SamplesPerPixel, header.PixelRepresentation, header.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    header.Modality, header.SeriesInstanceUID, header.PixelSpacing = modality, series, [1, 1]
    if z_mm is not None:
        header.ImagePositionPatient, header.ImageOrientationPatient = [0, 0, z_mm], [1, 0, 0, 0, 1, 0]
    header.PixelData = np.zeros((4, 4), np.uint16).tobytes()
    pydicom.dcmwrite(path, header, write_like_original=False)


def test_images_of_all_formats_with_their_masks_and_boxes(tmp_path):
    picture(tmp_path / "b.png")
    picture(tmp_path / "b_mask.png")
    picture(tmp_path / "below" / "a.jpg")
    (tmp_path / "below" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "c.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "c_mask.nii.gz")
    picture(tmp_path / "d.tif").rename(tmp_path / "d")
    (tmp_path / "README.txt").write_text("not boxes")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    listed = {image.image.relative_to(tmp_path).as_posix(): image for image in list_images(tmp_path)}
    assert list(listed) == ["b.png", "below/a.jpg", "c.nii.gz", "d"]
    assert listed["b.png"].mask == tmp_path / "b_mask.png"
    assert listed["c.nii.gz"].mask == tmp_path / "c_mask.nii.gz"
    assert listed["below/a.jpg"].boxes == tmp_path / "below" / "a.txt"
    assert listed["below/a.jpg"].mask is listed["d"].mask is listed["b.png"].boxes is None


def test_everything_listed_can_be_read_and_a_pair_is_listed_once(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "pair.hdr")
    (tmp_path / "not_an_image.gz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(bytes(range(256)) * 9)[:40])
    assert [image.image.name for image in list_images(tmp_path)] == ["pair.hdr"]
    assert read_volume(tmp_path / "pair.hdr").shape == (6, 5, 4)


def test_a_damaged_image_is_listed(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert len(list_images(tmp_path)) == 2


def test_a_dicom_stack_is_one_image_and_projections_are_one_each(tmp_path):
    for name in ("ct", "xray"):
        (tmp_path / name).mkdir()
    for number in range(3):
        dicom_slice(tmp_path / "ct" / f"{number}.dcm", "1.2.3", z_mm=2.0 * number)
        dicom_slice(tmp_path / "xray" / f"{number}.dcm", "1.2.4", modality="DX")
    names = [image.image.relative_to(tmp_path).as_posix() for image in list_images(tmp_path)]
    assert names == ["ct", "xray/0.dcm", "xray/1.dcm", "xray/2.dcm"]
    assert read_volume(tmp_path / "ct").shape == (3, 4, 4)


def test_two_stacks_in_one_folder(tmp_path):
    for number in range(4):
        dicom_slice(tmp_path / f"{number}.dcm", f"1.2.{number % 2 + 1}", z_mm=2.0 * number)
    with pytest.raises(ConfigError, match="2 DICOM series"):
        list_images(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "holds no image"),
        (("a.txt",), "1 other files"),
        (("a.png", "b_mask.png"), "no image b lies beside it"),
        (("a.png", "a_mask.png", "a_mask_1.png"), "2 masks: a_mask.png, a_mask_1.png"),
    ],
)
def test_folders_that_make_no_sense(tmp_path, files, message):
    for name in files:
        if name.endswith("png"):
            picture(tmp_path / name)
        else:
            (tmp_path / name).write_text("text")
    with pytest.raises(ConfigError, match=message):
        list_images(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        list_images(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.NII.GZ", "a"), ("a.b.png", "a.b"), ("1.2.840.10008", "1.2.840.10008"), ("a_mask.PNG", "a_mask")],
)
def test_image_stem(tmp_path, name, stem):
    assert image_stem(tmp_path / name) == stem

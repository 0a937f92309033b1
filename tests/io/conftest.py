"""Files that the readers are tried on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
OBLIQUE_ROW = np.array([0.96, 0.28, 0.0])
OBLIQUE_COLUMN = np.array([-0.168, 0.576, -0.8])
OBLIQUE_NORMAL = np.cross(OBLIQUE_ROW, OBLIQUE_COLUMN)

DicomWriter = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images that is not part of the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("ANOMALABEL_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the folder of real images is not here; name it in ANOMALABEL_SHARED_DATA")
    return folder


@pytest.fixture
def write_dicom() -> DicomWriter:
    """Writes one DICOM file of the given pixels; further keywords become elements, None removes one."""

    def write(path: Path, pixels: np.ndarray, **elements: Any) -> Path:
        dataset = Dataset()
        dataset.SOPClassUID = elements.pop("SOPClassUID", CT_IMAGE)
        dataset.SOPInstanceUID = "1.2.3.4"
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.StudyInstanceUID = "1.2"
        dataset.Modality = "CT"
        colour = pixels.ndim > 2 and pixels.shape[-1] == 3
        frames = pixels[..., 0] if colour else pixels
        dataset.Rows, dataset.Columns = frames.shape[-2:]
        if frames.ndim == 3:
            dataset.NumberOfFrames = len(frames)
        dataset.SamplesPerPixel = 3 if colour else 1
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            dataset.PlanarConfiguration = 0
        bits = 8 * pixels.dtype.itemsize
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
        pydicom.dcmwrite(path, dataset, write_like_original=False)
        return path

    return write


@pytest.fixture
def write_series(write_dicom: DicomWriter) -> Callable[..., Path]:
    """Writes (Z, Y, X) pixels as an oblique series, file names in random order; `left_out` slices are missing."""

    def write(folder: Path, array: np.ndarray, gap_mm: float = 2.5, left_out: tuple[int, ...] = (), **elements: Any):
        folder.mkdir(exist_ok=True)
        names = np.random.default_rng(5).permutation(len(array))
        for index, plane in enumerate(array):
            if index in left_out:
                continue
            position = np.array([-50.0, 20.0, 7.0]) + index * gap_mm * OBLIQUE_NORMAL
            placed = {
                "ImagePositionPatient": [f"{value:.9g}" for value in position],
                "ImageOrientationPatient": [f"{value:.9g}" for value in (*OBLIQUE_ROW, *OBLIQUE_COLUMN)],
                "PixelSpacing": [0.7, 0.5],
                "SliceThickness": gap_mm,
                "InstanceNumber": index + 1,
            }
            file_name = f"{elements.get('SeriesInstanceUID', '1.2.3')}_{names[index]:03d}.dcm"
            write_dicom(folder / file_name, plane, **{**placed, **elements})
        return folder

    return write


@pytest.fixture(scope="session")
def itk_affine_lps() -> Callable[[SimpleITK.Image], np.ndarray]:
    """(4, 4) index to LPS of a SimpleITK image; a 2-D one lies in the plane z = 0."""

    def affine(image: SimpleITK.Image) -> np.ndarray:
        dimension = image.GetDimension()
        matrix = np.eye(4)
        direction = np.array(image.GetDirection()).reshape(dimension, dimension)
        matrix[:dimension, :dimension] = direction * np.array(image.GetSpacing())
        matrix[:dimension, 3] = image.GetOrigin()
        return matrix

    return affine

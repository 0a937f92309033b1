"""The pixels of one DICOM file: decoded, grey, bright = dense, in rescaled units."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from anomalabel.errors import ImageReadError
from anomalabel.io.colour import luminance
from anomalabel.io.damage import parsing
from anomalabel.io.limits import require_memory
from anomalabel.volume import FloatArray

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
LAYOUT_KEYWORDS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


def read_frames(path: Path) -> FloatArray:
    """Pixels of one DICOM file.

    MONOCHROME1 is inverted within the range of its stored bits, so that bright stays bright across a series; colour
    becomes luminance; rescale slope and intercept, or the modality table, are applied.

    Returns:
        (frames, rows, columns) float32; a single-frame file has one frame.

    Raises:
        ImageReadError: no pixel data, truncated, or compressed in a way that no decoder here reads.
    """
    with parsing(path):
        return _frames(_whole_dataset(path), path)


def _frames(dataset: Dataset, path: Path) -> FloatArray:
    stored, photometric = _decoded(dataset, path)
    colour = int(dataset.get("SamplesPerPixel", 1)) > 1
    if photometric == "PALETTE COLOR":
        stored, colour, photometric = apply_color_lut(stored, dataset), True, "RGB"
    frames = stored if stored.ndim == (4 if colour else 3) else stored[np.newaxis]
    if colour:
        is_luma = photometric in {"YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"}
        return frames[..., 0].astype(np.float32) if is_luma else luminance(frames)
    if photometric == "MONOCHROME1":
        frames = _inverted(frames, dataset)
    return _rescaled(frames, dataset)


def _whole_dataset(path: Path) -> Dataset:
    dataset = pydicom.dcmread(path, force=True)
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        raise ImageReadError(f"{path} is a DICOM file without pixel data.", "Give a DICOM image.")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    pixels = frames * int(dataset.get("Rows", 0)) * int(dataset.get("Columns", 0))
    require_memory(pixels * int(dataset.get("SamplesPerPixel", 1)), int(dataset.get("BitsAllocated", 8)) // 8, path)
    return dataset


def _decoded(dataset: Dataset, path: Path) -> tuple[np.ndarray, str]:
    """Stored values and their photometric interpretation; GDCM inside SimpleITK serves where pydicom has no decoder."""
    compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        return dataset.pixel_array, photometric
    except (NotImplementedError, RuntimeError):
        if not compressed:
            raise
        return _decoded_by_gdcm(dataset, path), "RGB" if photometric.startswith("YBR") else photometric


def _decoded_by_gdcm(dataset: Dataset, path: Path) -> np.ndarray:
    """Decode a copy that carries the pixels alone, so that GDCM returns them as stored, without rescaling."""
    bare = Dataset()
    for keyword in LAYOUT_KEYWORDS:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    if bare.PhotometricInterpretation == "MONOCHROME1":
        bare.PhotometricInterpretation = "MONOCHROME2"
    bare.SOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = generate_uid()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    bare.is_little_endian, bare.is_implicit_VR = True, False
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "pixels.dcm"
        bare.save_as(copy, write_like_original=False)
        try:
            frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(copy), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            raise ImageReadError(
                f"{path} is compressed as {dataset.file_meta.TransferSyntaxUID.name}, which could not be decoded.",
                f"Store it as {ExplicitVRLittleEndian.name}, or check that the file is complete.",
            ) from error
    return frames


def _inverted(frames: np.ndarray, dataset: Dataset) -> np.ndarray:
    if frames.dtype.kind == "f":
        return frames.max() + frames.min() - frames
    if int(dataset.get("PixelRepresentation", 0)):
        return np.int32(-1) - frames.astype(np.int32)
    return np.int32(2 ** int(dataset.BitsStored) - 1) - frames.astype(np.int32)


def _rescaled(frames: np.ndarray, dataset: Dataset) -> FloatArray:
    """Apply the rescale of the dataset, or frame by frame that of an enhanced object's functional groups."""
    if "ModalityLUTSequence" in dataset or "RescaleSlope" in dataset:
        return apply_modality_lut(frames, dataset).astype(np.float32)
    values = frames.astype(np.float32)
    shared = _transformation(dataset.get("SharedFunctionalGroupsSequence"), 0)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    for frame in range(len(values)):
        transformation = _transformation(per_frame, frame) or shared
        if transformation is not None:
            values[frame] *= np.float32(transformation.RescaleSlope)
            values[frame] += np.float32(transformation.RescaleIntercept)
    return values


def _transformation(groups: pydicom.Sequence | None, index: int) -> Dataset | None:
    if not groups or index >= len(groups):
        return None
    sequence = groups[index].get("PixelValueTransformationSequence")
    return sequence[0] if sequence else None

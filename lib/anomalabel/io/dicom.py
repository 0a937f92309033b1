"""DICOM: a folder with a series, a single image, or a multi-frame object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from anomalabel.errors import ImageReadError
from anomalabel.io.damage import parsing
from anomalabel.io.dicom_geometry import (
    PixelSpacing,
    PlanePlacement,
    pixel_spacing,
    placement,
    require_stated_gap,
    slice_distance_mm,
    sorted_by_position,
    stack_affine_ras,
)
from anomalabel.io.dicom_pixels import read_frames
from anomalabel.io.dicom_series import DicomFile, files_of_series, read_header
from anomalabel.io.limits import require_memory
from anomalabel.io.picture import picture_affine_ras
from anomalabel.volume import LPS_FROM_RAS, Matrix, Volume


def read_dicom_folder(folder: Path, series_uid: str | None = None) -> Volume:
    """Read one series of a folder, slices sorted by position; modality is DICOM's.

    Raises:
        ImageReadError: no image, several series and none chosen, a slice missing or twice there, slices of different
            size or orientation, truncated files.
    """
    files = files_of_series(folder, series_uid)
    # pydicom parses values when they are first used, anywhere below.
    with parsing(folder):
        return _read_single(files[0]) if len(files) == 1 else _read_stack(files, str(folder))


def read_dicom_file(path: Path, series_uid: str | None = None) -> Volume:
    """Read one DICOM file: a slice, an X-ray, or a multi-frame object.

    Raises:
        ImageReadError: damaged, without pixels, frames unevenly spaced, or not of the series asked for.
    """
    header = read_header(path)
    if series_uid is not None and str(header.get("SeriesInstanceUID", "")) != series_uid:
        raise ImageReadError(f"{path} is not of the series {series_uid}.", "Give the folder that holds the series.")
    with parsing(path):
        return _read_single(DicomFile(path, header))


def _read_stack(files: list[DicomFile], source: str) -> Volume:
    _require_one_kind(files, source)
    first = files[0].header
    planes = [plane for file in files if (plane := placement([file.header], file.path.name)) is not None]
    if len(planes) < len(files):
        raise ImageReadError(
            f"{source} holds {len(files)} images of one series, of which {len(files) - len(planes)} tell no position.",
            "Give one of the files.",
        )
    modality = str(first.get("Modality", ""))
    order = sorted_by_position(planes, source)
    planes = [planes[index] for index in order]
    _require_whole(planes, [first], source)
    rows, columns = int(first.Rows), int(first.Columns)
    require_memory(len(files) * rows * columns, 0, files[0].path.parent)
    array = np.empty((len(files), rows, columns), dtype=np.float32)
    for target, index in zip(array, order, strict=True):
        target[...] = read_frames(files[index].path)[0]
    spacing = pixel_spacing([first], modality)
    return Volume(
        array=array,
        affine_ras=stack_affine_ras(planes, spacing, slice_distance_mm([first])),
        modality=modality,
        source=source,
        spacing_known=spacing.known,
    )


def _require_one_kind(files: list[DicomFile], source: str) -> None:
    first = files[0]
    for file in files:
        if int(file.header.get("NumberOfFrames", 1) or 1) > 1:
            raise ImageReadError(f"{source} holds several multi-frame files of one series.", "Give one of the files.")
        if (file.header.Rows, file.header.Columns) != (first.header.Rows, first.header.Columns):
            raise ImageReadError(
                f"{source} mixes images of {first.header.Rows} x {first.header.Columns} ({first.path.name}) and "
                f"{file.header.Rows} x {file.header.Columns} pixels ({file.path.name}).",
                "Give one stack of slices of one size.",
            )


def _require_whole(planes: list[PlanePlacement], groups: list[Dataset], source: str) -> None:
    if len(planes) > 1:
        extent = (planes[-1].position_lps_mm - planes[0].position_lps_mm) @ planes[0].normal_lps
        require_stated_gap(float(extent) / (len(planes) - 1), groups, source)


def _read_single(file: DicomFile) -> Volume:
    header = file.header
    frames = read_frames(file.path)
    modality = str(header.get("Modality", ""))
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())
    per_frame = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    groups = [*per_frame[:1], *shared, header]
    spacing = pixel_spacing(groups, modality)
    planes = [
        plane
        for index in range(len(per_frame) or 1)
        if (plane := placement([*per_frame[index : index + 1], *shared, header], f"frame {index + 1}")) is not None
    ]
    placed = len(planes) == len(frames)
    if placed:
        order = sorted_by_position(planes, str(file.path))
        planes, frames = [planes[index] for index in order], frames[order]
        _require_whole(planes, groups, str(file.path))
        affine = stack_affine_ras(planes, spacing, slice_distance_mm(groups))
    else:
        affine = _affine_without_positions(planes, spacing, slice_distance_mm(groups), len(frames))
    return Volume(
        array=frames,
        affine_ras=affine,
        modality=modality,
        source=str(file.path),
        spacing_known=spacing.known,
        spatial_dims=3 if placed or len(frames) > 1 else 2,
    )


def _affine_without_positions(
    planes: list[PlanePlacement], spacing: PixelSpacing, slice_mm: float, frames: int
) -> Matrix:
    """A picture's affine, or a stack that starts at the one stated plane (or the origin) with the stated spacing."""
    if planes:
        return stack_affine_ras(planes[:1], spacing, slice_mm)
    if frames == 1:
        return picture_affine_ras(spacing.row_mm, spacing.column_mm)
    return LPS_FROM_RAS @ np.diag([spacing.column_mm, spacing.row_mm, slice_mm, 1.0])

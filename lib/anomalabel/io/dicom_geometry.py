"""Where DICOM slices lie: their order, their affine, and whether one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from anomalabel.errors import ImageReadError
from anomalabel.volume import LPS_FROM_RAS, Matrix

GAP_TOLERANCE = 0.1
"""A gap between neighbouring slices may differ from the median gap by this share of it."""

DUPLICATE_TOLERANCE = 0.01
"""Slices closer than this share of the median gap lie at one position."""

ORIENTATION_TOLERANCE = 1e-3
"""Direction cosines of one series may differ by this much."""

CENTIMETRES = 3
"""DICOM's code for the unit of an ultrasound region."""

PROJECTION_MODALITIES = {"CR", "DX", "MG", "RG", "XA", "RF", "IO", "PX"}


@dataclass(frozen=True)
class PlanePlacement:
    """One slice in the world: `position_lps_mm` (3,) of its first pixel's centre, `row_lps` and `column_lps` (3,) unit
    directions along a row (growing column index) and along a column, `label` for messages."""

    position_lps_mm: NDArray[np.float64]
    row_lps: NDArray[np.float64]
    column_lps: NDArray[np.float64]
    label: str

    @property
    def normal_lps(self) -> NDArray[np.float64]:
        return np.cross(self.row_lps, self.column_lps)


@dataclass(frozen=True)
class PixelSpacing:
    """Distance between pixel centres: between rows, between columns and, where it is told, between slices."""

    row_mm: float
    column_mm: float
    known: bool


def placement(groups: list[Dataset], label: str) -> PlanePlacement | None:
    """The placement of one slice, from the first of `groups` (per frame, shared, dataset) that tells it."""
    position = _first(groups, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _first(groups, "PlaneOrientationSequence", "ImageOrientationPatient")
    if position is None or orientation is None:
        return None
    cosines = np.asarray(orientation, dtype=np.float64)
    coordinates = np.asarray(position, dtype=np.float64)
    if cosines.shape != (6,) or coordinates.shape != (3,):
        return None
    return PlanePlacement(coordinates, cosines[:3], cosines[3:], label)


def pixel_spacing(groups: list[Dataset], modality: str) -> PixelSpacing:
    """Pixel spacing of one slice; a projection's is that of its detector first, as ITK and Slicer take it.

    1 mm stands in where the file tells none.
    """
    spacing = _first(groups, "PixelMeasuresSequence", "PixelSpacing")
    if modality in PROJECTION_MODALITIES:
        spacing = _first(groups, "", "ImagerPixelSpacing") or spacing
    spacing = spacing or _first(groups, "", "NominalScannedPixelSpacing") or _ultrasound_spacing(groups)
    if spacing is None or len(spacing) != 2 or not all(float(value) > 0 for value in spacing):
        return PixelSpacing(1.0, 1.0, known=False)
    return PixelSpacing(float(spacing[0]), float(spacing[1]), known=True)


def slice_distance_mm(groups: list[Dataset]) -> float:
    """Stated distance between slices, for a single slice or frames without positions; 1 mm where none is told."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        value = _first(groups, "PixelMeasuresSequence", name)
        if value is not None and float(value) != 0:
            return abs(float(value))
    return 1.0


def sorted_by_position(planes: list[PlanePlacement], source: str) -> list[int]:
    """The order of parallel slices along their normal.

    Raises:
        ImageReadError: not parallel, two at one position, or one missing; says where.
    """
    first = planes[0]
    for plane in planes:
        turned = np.abs(np.r_[plane.row_lps - first.row_lps, plane.column_lps - first.column_lps]).max()
        if turned > ORIENTATION_TOLERANCE:
            raise ImageReadError(
                f"{source} mixes slices of different orientation: {first.label} and {plane.label}.",
                "Give one stack of parallel slices.",
            )
    depths = np.array([plane.position_lps_mm @ first.normal_lps for plane in planes])
    order = [int(index) for index in np.argsort(depths, kind="stable")]
    if len(order) > 1:
        _require_even_gaps([planes[index] for index in order], depths[order], source)
    return order


def _require_even_gaps(planes: list[PlanePlacement], depths: NDArray[np.float64], source: str) -> None:
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    closest = int(np.argmin(gaps))
    if gaps[closest] <= DUPLICATE_TOLERANCE * usual or usual == 0:
        raise ImageReadError(
            f"{source} has two slices at one position, {depths[closest]:.3f} mm along the stack: "
            f"{planes[closest].label} and {planes[closest + 1].label}.",
            "Give one volume (one time point, one echo, one reconstruction).",
        )
    uneven = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[uneven] - usual) > GAP_TOLERANCE * usual:
        raise ImageReadError(
            f"{source} has unevenly spaced slices: {gaps[uneven]:.3f} mm between {planes[uneven].label} and "
            f"{planes[uneven + 1].label}, where {usual:.3f} mm is usual; a slice is missing.",
            "Fetch the whole series again.",
        )


def require_stated_gap(usual_mm: float, groups: list[Dataset], source: str) -> None:
    """Refuse a stack of which only every second (third, ...) slice is there: its gaps are even, but not as stated.

    Some scanners state the empty space between thick slices as their spacing; such stacks are accepted.

    Raises:
        ImageReadError: names both distances.
    """
    stated = abs(float(_first(groups, "PixelMeasuresSequence", "SpacingBetweenSlices") or 0))
    thickness = float(_first(groups, "PixelMeasuresSequence", "SliceThickness") or 0)
    if stated == 0:
        return
    is_empty_space = stated < thickness and abs(usual_mm - stated - thickness) <= GAP_TOLERANCE * usual_mm
    multiple = round(usual_mm / stated)
    if multiple > 1 and abs(usual_mm / stated - multiple) < GAP_TOLERANCE and not is_empty_space:
        raise ImageReadError(
            f"{source} states {stated:.3f} mm between slices and has {usual_mm:.3f} mm: slices are missing.",
            "Fetch the whole series again.",
        )


def stack_affine_ras(planes: list[PlanePlacement], spacing: PixelSpacing, slice_mm: float) -> Matrix:
    """(4, 4) index (i, j, k) to RAS of sorted slices; `slice_mm` serves a single slice. A tilted gantry gives shear."""
    affine_lps = np.eye(4)
    first = planes[0]
    affine_lps[:3, 0] = first.row_lps * spacing.column_mm
    affine_lps[:3, 1] = first.column_lps * spacing.row_mm
    if len(planes) > 1:
        affine_lps[:3, 2] = (planes[-1].position_lps_mm - first.position_lps_mm) / (len(planes) - 1)
    else:
        affine_lps[:3, 2] = first.normal_lps * slice_mm
    affine_lps[:3, 3] = first.position_lps_mm
    return LPS_FROM_RAS @ affine_lps


def _ultrasound_spacing(groups: list[Dataset]) -> tuple[float, float] | None:
    """Rows and columns of a scan whose ultrasound regions all share one scale in centimetres."""
    regions = _first(groups, "", "SequenceOfUltrasoundRegions") or ()
    scales = {
        (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10)
        for region in regions
        if region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == CENTIMETRES
    }
    return scales.pop() if len(scales) == 1 else None


def _first(groups: list[Dataset], sequence: str, keyword: str) -> Any:
    """A value from the first functional group that holds it, inside `sequence` or at its top."""
    for group in groups:
        inner = group.get(sequence) if sequence else None
        for holder in (*(inner or ()), group):
            value = holder.get(keyword)
            if value is not None and value != "":
                return value
    return None

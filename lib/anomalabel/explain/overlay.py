"""A picture of the heatmap over the image, with boxes, for people who would rather look than read."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from anomalabel.finding import Finding, FindingsReport
from anomalabel.io.write import replacing
from anomalabel.preprocessing.slices import (
    Plane,
    SlicePosition,
    acquisition_axis,
    extract_slice,
    slice_positions,
    slice_spacing_mm,
)
from anomalabel.volume import FloatArray, Volume

COLOUR_MAP = "inferno"
OPACITY = 0.55
CALIBRATED_RANGE = 2.0
"""Of the threshold: where the brightest colour of a calibrated map lies, the same for all images of a model, so that a
faint finding looks faint, in whatever unit."""

SMALLEST_SPAN = 1e-6

CHARACTERS_AN_INCH = 13
"""Of the title, so that the picture of a single slice does not cut it off."""

SHOWN_BOXES = 5
"""Boxes drawn: the highest-scoring ones that the shown slice cuts."""


def write_overlay(path: Path, volume: Volume, anomaly_map: FloatArray, report: FindingsReport) -> None:
    """Write a PNG: each plane through the map's peak, the image alone above, heatmap and boxes below.

    A 2-D image has one column. Only what lies above the threshold is coloured; the scale is the map's own, or the
    same for all images where the report is calibrated.
    """
    positions = positions_through_peak(volume, anomaly_map)
    figure = Figure(figsize=(4.2 * len(positions), 8.6), facecolor="black", layout="constrained")
    axes = figure.subplots(2, len(positions), squeeze=False)
    for column, position in enumerate(positions):
        _draw(axes[0, column], volume, None, report, position)
        _draw(axes[1, column], volume, anomaly_map, report, position)
    finish(figure, report, path)


def finish(figure: Figure, report: FindingsReport, path: Path) -> None:
    """Put the title on a picture of one image, and write it as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    width = int(CHARACTERS_AN_INCH * figure.get_figwidth())
    told = f"{Path(report.image).name}: {report.method}, {report.model.name}, {report.config}"
    lines = (*wrap(told, width), *wrap(f"{verdict(report)}; not for clinical use", width))
    figure.suptitle("\n".join(lines), color="white", fontsize=10, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png", facecolor="black")


def verdict(report: FindingsReport) -> str:
    """The image score in words, beside its threshold where the method has one."""
    score = f"image score {report.image_score:.2f}"
    if report.image_threshold is None:
        return f"{score}, {'calibrated' if report.calibrated else 'not calibrated'}"
    limit = report.image_threshold.value
    above = report.image_score > limit
    return f"{score}, {'ABOVE' if above else 'not above'} the healthy images' threshold of {limit:.2f}"


def brightest(report: FindingsReport) -> float:
    """The map value of the brightest colour."""
    if report.calibrated:
        limit = report.threshold.value
        return limit + (CALIBRATED_RANGE - 1) * max(abs(limit), SMALLEST_SPAN)
    return max(report.heatmap.max, report.threshold.value)


def positions_through_peak(volume: Volume, anomaly_map: FloatArray) -> list[SlicePosition]:
    """The slices through a map's highest value, the acquisition plane first; a 2-D image has one."""
    peak = [int(index) for index in np.unravel_index(int(np.nanargmax(anomaly_map)), anomaly_map.shape)]
    if volume.spatial_dims == 2 or 1 in volume.shape:
        axis = acquisition_axis(volume)
        return [SlicePosition(axis, peak[axis], "image" if volume.spatial_dims == 2 else _plane(volume, axis))]
    first = acquisition_axis(volume)
    return [
        SlicePosition(axis, peak[axis], _plane(volume, axis))
        for axis in (first, *(other for other in range(3) if other != first))
    ]


def _plane(volume: Volume, axis: int) -> Plane:
    one = np.zeros(volume.shape, dtype=bool)
    one[tuple(length // 2 for length in volume.shape)] = True
    return next(position.plane for position in slice_positions(volume, "all", one, 0.0) if position.axis == axis)


def _draw(
    axes: Axes, volume: Volume, anomaly_map: FloatArray | None, report: FindingsReport, position: SlicePosition
) -> None:
    image = extract_slice(volume.array, volume.affine_ras, position)
    row_mm, column_mm = slice_spacing_mm(volume.affine_ras, position)
    low, high = np.nanpercentile(image, [0.5, 99.5])
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=row_mm / column_mm)
    axes.set_axis_off()
    axes.set_title(f"{position.plane} {position.index}", color="white", fontsize=9)
    if anomaly_map is None:
        return
    values = extract_slice(anomaly_map, volume.affine_ras, position)
    shown = np.ma.masked_where(~(np.nan_to_num(values, nan=-np.inf) > report.threshold.value), values)
    axes.imshow(
        shown,
        cmap=COLOUR_MAP,
        vmin=report.threshold.value,
        vmax=brightest(report),
        alpha=OPACITY,
        aspect=row_mm / column_mm,
    )
    draw_boxes(axes, volume, report, position)


def draw_boxes(axes: Axes, volume: Volume, report: FindingsReport, position: SlicePosition) -> None:
    """Draw the highest-scoring findings that a displayed slice cuts."""
    cut = [finding for finding in report.findings if _cuts(finding, position)]
    for finding in cut[:SHOWN_BOXES]:
        axes.add_patch(_rectangle(finding, volume, position))


def _cuts(finding: Finding, position: SlicePosition) -> bool:
    component = 2 - position.axis
    return finding.index_min[component] <= position.index <= finding.index_max[component]


def _rectangle(finding: Finding, volume: Volume, position: SlicePosition) -> Rectangle:
    """The finding's box on a displayed slice, found by marking its corners in an index image."""
    z, y, x = np.meshgrid(*(np.arange(length) for length in volume.shape), indexing="ij", sparse=True)
    (i0, j0, k0), (i1, j1, k1) = finding.index_min, finding.index_max
    inside = (x >= i0) & (x <= i1) & (y >= j0) & (y <= j1) & (z >= k0) & (z <= k1)
    marked = extract_slice(inside, volume.affine_ras, position)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    width, height = float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)
    corner = (float(columns[0]) - 0.5, float(rows[0]) - 0.5)
    return Rectangle(corner, width, height, fill=False, edgecolor="cyan", linewidth=1.2)
